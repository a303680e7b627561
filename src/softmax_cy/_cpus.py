"""The CPUs that this process may use: by its affinity, by its control group, and by what OpenMP has made of them."""

import os

# Any of these has OpenMP bind threads to CPUs, the first thread too, as soon as it is loaded.
BINDS = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
OPENMP = ("/libgomp", "/libomp", "/libiomp")


def bound_by_openmp() -> set[int]:
    """The CPUs that an OpenMP, loaded before, binds threads to; none where it leaves threads alone.

    The affinity of the first thread is then one CPU, and no longer what the process was given. Linux alone has this.
    """
    cpus: set[int] = set()
    if any(name in os.environ for name in BINDS):
        for path in loaded_openmp():
            # Not before it is needed: an import that takes longer than this package.
            import ctypes

            library = ctypes.CDLL(path)
            try:
                if library.omp_get_proc_bind():
                    cpus |= places(library)
            except AttributeError:
                # An OpenMP older than 4.5 does not tell.
                continue
    return cpus


def loaded_openmp() -> list[str]:
    """The paths of the OpenMP libraries in this process."""
    try:
        with open("/proc/self/maps") as file:  # noqa: PTH123  # pathlib takes longer to import than this package
            paths = {line.split(maxsplit=5)[-1].strip() for line in file if any(name in line for name in OPENMP)}
    except OSError:
        return []
    return sorted(paths)


def places(library) -> set[int]:
    """The CPUs of all places of a ctypes library with OpenMP; none if they are more than it was given."""
    import ctypes

    cpus: set[int] = set()
    for place in range(library.omp_get_num_places()):
        ids = (ctypes.c_int * library.omp_get_place_num_procs(place))()
        library.omp_get_place_proc_ids(place, ids)
        cpus.update(ids)
    # GOMP_CPU_AFFINITY may name CPUs that there are not, and others that the process may not use.
    cpus &= set(range(os.cpu_count() or 1))
    return cpus if len(cpus) <= library.omp_get_num_procs() else set()


def quota() -> float:
    """How many CPUs' time the control group allows."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:  # noqa: PTH123
            allowed, period = file.read().split()[:2]
        return float(allowed) / float(period) if allowed != "max" else float("inf")
    except (OSError, ValueError, ZeroDivisionError):
        return float("inf")


def available_cpus() -> int:
    """The number of threads that can run at once."""
    cpus = len(bound_by_openmp())
    if not cpus:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = quota()
    return cpus if allowed >= cpus else max(1, -int(-allowed // 1))
