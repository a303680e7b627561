"""Describe what the numbers were measured on and with; without that they mean nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

import softmax_cy
from benchmarks.peers import LIMIT, OURS, Peer

BUSY = 0.7  # CPUs
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def describe(peers: Iterable[Peer]) -> dict[str, str]:
    """Describe everything that decides how fast this machine and these builds are, as lines of text."""
    config = softmax_cy.show_config(mode="dicts")
    variant = config["variant"]
    versions = {peer.name: peer.version() for peer in peers if peer.name not in (OURS, LIMIT)}
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": cpu_model(),
        "caches": ", ".join(caches()) or "unknown",
        "CPUs": f"{usable_cpus()} usable of {os.cpu_count()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "softmax_cy": f"{config['version']}, variant {variant}",
        "compiler": str(config["compiler"]),
        "flags": f"{config['flags']} {config['variant flags'][variant]}".strip(),
        "peers": ", ".join(f"{name} {version}" for name, version in versions.items()) or "none",
    }


def warnings() -> list[str]:
    """List reasons why the numbers may mean less than they seem to."""
    load = os.getloadavg()[0]
    if load < BUSY:
        return []
    return [
        f"busy: others used {load:.1f} CPUs in the minute before; do not trust the cases with threads, nor near ties"
    ]


def usable_cpus() -> int:
    """Count the CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """Return the name of the CPU, if the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    fields = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    numbers = "family {cpu family}, model {model}, stepping {stepping}".format_map(
        {name.strip(): value.strip() for name, value in fields.items()}
    )
    return f"{fields['model name'].strip()} ({numbers})"


def caches() -> list[str]:
    """Describe the caches of the first CPU, if the system tells."""

    def line(cache: Path) -> str:
        level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
        return f"L{level} {kind.lower()} {size}"

    try:
        return [line(cache) for cache in sorted(CACHES.glob("index*"))]
    except OSError:
        return []
