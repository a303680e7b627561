"""What a wheel must hold, need and weigh before a stranger installs it."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from elftools.elf.dynamic import DynamicSection, DynamicTag
from elftools.elf.elffile import ELFFile

MOST_BYTES = 2_000_000
# glibc's and musl's, and their loaders.
ALLOWED = re.compile(r"(libc|ld-linux[\w-]*|libc\.musl-\w+)\.so(\.\d+)?")


def dynamic_tags(module: bytes) -> list[DynamicTag]:
    """List what an extension module tells the loader."""
    sections = ELFFile(io.BytesIO(module)).iter_sections()
    return [tag for section in sections if isinstance(section, DynamicSection) for tag in section.iter_tags()]


def needed_libraries(module: bytes) -> set[str]:
    """Return the libraries that it is linked with."""
    return {tag.needed for tag in dynamic_tags(module) if tag.entry.d_tag == "DT_NEEDED"}


def search_paths(module: bytes) -> set[str]:
    """Return the folders that it makes the loader search."""
    names = {"DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}
    return {getattr(tag, names[kind]) for tag in dynamic_tags(module) if (kind := tag.entry.d_tag) in names}


def faults(wheel: Path) -> Iterator[str]:
    """Say what is wrong with a wheel."""
    if (size := wheel.stat().st_size) > MOST_BYTES:
        yield f"{size:,} bytes are more than {MOST_BYTES:,}"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        modules = [name for name in names if name.endswith(".so")]
        if not modules:
            yield "it holds no extension module"
        for name in modules:
            module = archive.read(name)
            for library in sorted(needed_libraries(module)):
                if not ALLOWED.fullmatch(library):
                    yield f"{name} is linked with {library}"
            for path in sorted(search_paths(module)):
                yield f"{name} looks for libraries in {path}"
    if any(".libs/" in name for name in names):
        yield "libraries were copied into it"
    if tests := [name for name in names if "/kernels/" in name and "_on_" in name]:
        yield f"it holds kernels that only the repository's tests use: {', '.join(tests)}"
    if "softmax_cy/tests/digests.json" not in names:
        yield "it lacks the core of the tests"
