"""How many threads a call uses, and the one loop that uses them.

Design:
1. Work is a range of items. Threads take contiguous parts of it; no item is ever shared, so a result cannot depend on
   the number of threads.
2. Threads are used where they pay, judged by the estimated time of the call, not by its number of rows. What would be
   over before a sleeping thread has woken up stays on the caller's.
3. libgomp hangs in a forked child whose parent had started its threads, for whichever library. Forked children are
   serial.
4. Where OpenMP binds threads to CPUs, the affinity of the calling thread is one CPU: counted are all it binds to.
5. A limit that threadpoolctl sets lowers what OpenMP reports; a report below the one at import is therefore obeyed.
"""

import os

from softmax_cy._process import FORKED_WITH_OPENMP

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.number cimport PyIndex_Check
from cython.parallel cimport prange

cdef extern from "Python.h":
    # cpython.number has no way to pass NULL, which clips what does not fit.
    Py_ssize_t PyNumber_AsSsize_t(object number, void *overflow) except? -1

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define SOFTMAX_CY_OPENMP 1
    #else
    #define SOFTMAX_CY_OPENMP 0
    #define omp_get_max_threads() 1
    #endif
    #if defined(_OPENMP) && _OPENMP >= 201511
    static int binds_threads(void) { return omp_get_proc_bind() != omp_proc_bind_false; }
    #else
    #define binds_threads() 0
    #define omp_get_num_procs() 0
    #define omp_get_num_places() 0
    #define omp_get_place_num_procs(place) ((void)(place), 0)
    #define omp_get_place_proc_ids(place, cpus) ((void)(place), (void)(cpus))
    #endif

    static int softmax_cy_forked = 0;
    #ifdef _WIN32
    #define watch_forks() 0
    #else
    #include <pthread.h>
    static void softmax_cy_after_fork(void) { softmax_cy_forked = 1; }
    /* Unlike os.register_at_fork this sees what C forks, too. */
    static int watch_forks(void) { return pthread_atfork(NULL, NULL, softmax_cy_after_fork); }
    #endif
    """
    const bint SOFTMAX_CY_OPENMP
    bint forked "softmax_cy_forked"
    int watch_forks()
    int omp_get_max_threads() noexcept nogil
    int omp_get_num_procs()
    bint binds_threads()
    int omp_get_num_places()
    int omp_get_place_num_procs(int place)
    void omp_get_place_proc_ids(int place, int *cpus)

cdef enum:
    MAX_THREADS = 1024

cdef double RELEASE_GIL_ABOVE = 2e3     # nanoseconds of work
cdef double WORTH_A_THREAD = 2e4        # nanoseconds of work for each thread

cdef int openmp_limit_at_import = omp_get_max_threads()
cdef int chosen_threads = 0     # by set_num_threads; 0: nobody chose

forked = FORKED_WITH_OPENMP
if watch_forks():
    raise MemoryError("no memory to watch for forks")


cdef int checked(object num_threads, str name) except -1:
    cdef Py_ssize_t threads
    if not PyIndex_Check(num_threads):
        raise TypeError(f"{name} must be an integer or None, got {num_threads!r}")
    threads = PyNumber_AsSsize_t(num_threads, NULL)
    if threads < 1:
        raise ValueError(f"{name} must be at least 1, got {num_threads}")
    return <int> min(threads, MAX_THREADS)


cdef int bound_cpus() except -1:
    """The number of CPUs to which OpenMP binds threads, or 0 where it leaves them alone."""
    cdef int place, size, i
    cdef int *ids
    if not binds_threads():
        return 0
    cpus = set()
    for place in range(omp_get_num_places()):
        size = omp_get_place_num_procs(place)
        ids = <int *> PyMem_Malloc(size * sizeof(int))
        if ids == NULL:
            raise MemoryError
        omp_get_place_proc_ids(place, ids)
        cpus.update([ids[i] for i in range(size)])
        PyMem_Free(ids)
    # GOMP_CPU_AFFINITY may name CPUs that there are not.
    return min(len(cpus), omp_get_num_procs())


def available_cpus():
    """The number of CPUs that this process may use, by its affinity and its control group's quota."""
    try:
        cpus = bound_cpus() or len(os.sched_getaffinity(0))
    except AttributeError:
        cpus = os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()[:2]
        if quota != "max":
            cpus = min(cpus, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass
    return cpus


def _default_threads():
    for name in ("SOFTMAX_CY_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()
        if text:
            try:
                return checked(int(text), name)
            except ValueError:
                if name.startswith("SOFTMAX_CY"):
                    raise ImportError(f"{name} must be an integer of at least 1, got {text!r}") from None
    return min(available_cpus(), MAX_THREADS)


cdef int default_threads = _default_threads()


def set_num_threads(num_threads):
    """Choose how many threads a call may use when it does not say so itself.

    Parameters
    ----------
    num_threads : int or None
        At least 1. None goes back to the default: ``SOFTMAX_CY_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the number
        of CPUs that the process may use.

    Raises
    ------
    TypeError, ValueError
        If `num_threads` is not an integer, or less than 1.

    Examples
    --------
    >>> import softmax_cy
    >>> softmax_cy.set_num_threads(1)
    >>> softmax_cy.get_num_threads()
    1
    >>> softmax_cy.set_num_threads(None)
    """
    global chosen_threads
    chosen_threads = 0 if num_threads is None else checked(num_threads, "num_threads")


def get_num_threads():
    """The number of threads that a call may use when it does not say so itself.

    Returns
    -------
    int
        As set by `set_num_threads`, or the default, within the limits that threadpoolctl set and the build allows.

    Examples
    --------
    >>> import softmax_cy
    >>> softmax_cy.get_num_threads() >= 1
    True
    """
    return requested_threads(None)


def openmp():
    """Whether this build can use more than one thread."""
    return bool(SOFTMAX_CY_OPENMP)


cdef int requested_threads(object num_threads) except -1:
    cdef int threads, limit
    if num_threads is not None:
        threads = checked(num_threads, "num_threads")
    else:
        threads = chosen_threads if chosen_threads else default_threads
    if not SOFTMAX_CY_OPENMP or forked:
        return 1
    if threads > 1:
        limit = omp_get_max_threads()
        if limit < openmp_limit_at_import:
            threads = min(threads, limit)
    return threads


cdef int worthwhile(int threads, Py_ssize_t items, double nanoseconds) noexcept:
    """How many of the threads pay, for items that one thread would take about `nanoseconds` for."""
    if threads > nanoseconds / WORTH_A_THREAD:
        threads = <int> (nanoseconds / WORTH_A_THREAD)
    return <int> min(<Py_ssize_t> threads, items)


cdef void run(Task task, const void *context, Py_ssize_t items, int threads, double nanoseconds) noexcept:
    """Run the task over all items, which one thread would take about `nanoseconds` for."""
    cdef int part
    if nanoseconds < RELEASE_GIL_ABOVE:
        task(context, 0, items)
        return
    threads = worthwhile(threads, items, nanoseconds)
    if threads <= 1:
        with nogil:
            task(context, 0, items)
        return
    with nogil:
        for part in prange(threads, num_threads=threads, schedule="static", chunksize=1):
            task(context, share(items, part, threads), share(items, part + 1, threads))


cdef inline Py_ssize_t share(Py_ssize_t items, int part, int parts) noexcept nogil:
    """Where part `part` of `parts` begins; no product that could overflow."""
    cdef Py_ssize_t whole = items // parts
    cdef Py_ssize_t rest = items % parts
    return whole * part + (part if part < rest else rest)
