"""This module decides how many threads a call uses, and cuts work for them. The threads themselves are in pool.h.

Design:
1. Work is a range of items. Threads take contiguous parts of it; no item is ever shared, so a result cannot depend on
   the number of threads.
2. Threads are used where they pay. The estimated time of the call decides that, not its number of rows. What would be
   over before a sleeping thread has woken up stays on the caller's thread.
3. The size of a part follows from its time, too. It is long enough that claiming one costs nothing, and short enough
   that nobody waits long for the last one.
"""

import os

from softmax_cy import _cpus

from cpython.number cimport PyIndex_Check

cdef extern from "Python.h":
    # cpython.number has no way to pass NULL, which clips what does not fit.
    Py_ssize_t PyNumber_AsSsize_t(object number, void *overflow) except? -1

cdef extern from "pool.h" nogil:
    void pool_run(Task task, const void *context, Py_ssize_t items, Py_ssize_t chunk, int threads)
    int pool_workers()
    int pool_watch_forks()
    void pool_may_use(int cpu)

cdef enum:
    MAX_THREADS = 1024

cdef double WORTH_A_THREAD = 2e4        # nanoseconds of work for each thread

cdef double CHUNK = 2.5e4               # nanoseconds of work that a thread claims at a time
cdef Py_ssize_t PANEL = 64              # items: chunks are multiples of it where they are longer, for kernels' groups

cdef int chosen_threads = 0             # by set_num_threads; 0: nobody chose
cdef int limit_of_threads = MAX_THREADS     # by threadpoolctl

if pool_watch_forks():
    raise MemoryError("no memory to watch for forks")
for cpu in _cpus.bound_by_openmp():
    pool_may_use(cpu)


cdef int check_threads(object num_threads, str name) except -1:
    """Return a number of threads as the caller gave it. This runs code of `num_threads`."""
    cdef Py_ssize_t threads
    if not PyIndex_Check(num_threads):
        raise TypeError(f"{name} must be an integer or None, got {num_threads!r}")
    threads = PyNumber_AsSsize_t(num_threads, NULL)
    if threads < 1:
        raise ValueError(f"{name} must be at least 1, got {num_threads}")
    return <int> min(threads, MAX_THREADS)


def _find_default():
    """Return the number of threads that a call may use if nobody has said anything."""
    for name in ("SOFTMAX_CY_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()
        if text:
            try:
                return check_threads(int(text), name)
            except ValueError:
                if name.startswith("SOFTMAX_CY"):
                    raise ImportError(f"{name} must be an integer of at least 1, got {text!r}") from None
    return min(_cpus.available_cpus(), MAX_THREADS)


cdef int default_threads = _find_default()


def set_num_threads(num_threads):
    """Choose how many threads a call may use when it does not say so itself.

    Parameters
    ----------
    num_threads : int or None
        The number, at least 1. None goes back to the default: that is ``SOFTMAX_CY_NUM_THREADS``, else
        ``OMP_NUM_THREADS``, else the number of CPUs that the process may use.

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
    chosen_threads = 0 if num_threads is None else check_threads(num_threads, "num_threads")


def get_num_threads():
    """Return the number of threads that a call may use when it does not say so itself.

    Returns
    -------
    int
        What `set_num_threads` has set, or else the default. It is never above a limit that threadpoolctl has set.

    Examples
    --------
    >>> import softmax_cy
    >>> softmax_cy.get_num_threads() >= 1
    True
    """
    return read_threads(None)


def limit_num_threads(num_threads):
    """Let no call use more threads than this, whatever it asks for. The default number or more lifts the limit.

    This is what threadpoolctl calls.
    """
    global limit_of_threads
    cdef int threads = check_threads(num_threads, "num_threads")
    limit_of_threads = MAX_THREADS
    if threads < read_threads(None):
        limit_of_threads = threads


def workers():
    """Return the number of threads that this process has started to help."""
    return pool_workers()


cdef int read_threads(object num_threads) except -1:
    """Return how many threads a call may use. This runs code of `num_threads`."""
    cdef int threads
    if num_threads is not None:
        threads = check_threads(num_threads, "num_threads")
    else:
        threads = chosen_threads if chosen_threads else default_threads
    return min(threads, limit_of_threads)


cdef int limit_to_worthwhile(int threads, Py_ssize_t items, double nanoseconds) noexcept nogil:
    """Return how many of the threads pay for items that one thread would compute in about `nanoseconds`."""
    if threads > nanoseconds / WORTH_A_THREAD:
        threads = <int> (nanoseconds / WORTH_A_THREAD)
    return <int> min(<Py_ssize_t> threads, items)


cdef Py_ssize_t choose_chunk(Py_ssize_t items, int threads, double nanoseconds) noexcept nogil:
    """Return how many items a thread claims at a time. There is at least one chunk for each thread."""
    cdef Py_ssize_t chunks = <Py_ssize_t> max(nanoseconds / CHUNK, <double> threads)
    cdef Py_ssize_t chunk = (items + chunks - 1) // chunks
    return chunk if chunk < PANEL else chunk - chunk % PANEL


cdef void run(Task task, const void *context, Py_ssize_t items, int threads, double nanoseconds) noexcept:
    """Run the task over all items, which one thread would compute in about `nanoseconds`."""
    if nanoseconds < RELEASE_GIL_ABOVE:
        task(context, 0, items)
        return
    with nogil:
        share_out(task, context, items, threads, nanoseconds)


cdef void share_out(
    Task task, const void *context, Py_ssize_t items, int threads, double nanoseconds
) noexcept nogil:
    """Do the same for a caller without the GIL."""
    threads = limit_to_worthwhile(threads, items, nanoseconds)
    if threads <= 1:
        task(context, 0, items)
    else:
        pool_run(task, context, items, choose_chunk(items, threads, nanoseconds), threads)
