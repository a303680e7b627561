# cython: freethreading_compatible=True
"""Jobs of random sizes for the pool of pool.h, and whether each item of each was computed once."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef extern from "pool.h" nogil:
    ctypedef void (*pool_task)(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil
    void pool_run(pool_task task, const void *context, Py_ssize_t items, Py_ssize_t chunk, int threads)
    void pool_pause()
    int pool_workers()
    int pool_watch_forks()

if pool_watch_forks():
    raise MemoryError


cdef struct Job:
    unsigned char *seen
    Py_ssize_t pauses


cdef void mark(const void *context, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    cdef const Job *job = <const Job *> context
    cdef Py_ssize_t i, k
    for i in range(begin, end):
        # No atomic: two threads in one item are a race that ThreadSanitizer reports.
        job.seen[i] += 1
        for k in range(job.pauses):
            pool_pause()


cdef inline uint64_t next_random(uint64_t *state) noexcept nogil:
    """George Marsaglia, Xorshift RNGs, Journal of Statistical Software 8 (2003)."""
    state[0] ^= state[0] << 13
    state[0] ^= state[0] >> 7
    state[0] ^= state[0] << 17
    return state[0]


def run(Py_ssize_t jobs, Py_ssize_t most_items, int most_threads, uint64_t seed):
    """The number of jobs in which some item was not computed exactly once before the call returned."""
    cdef Job job
    cdef uint64_t random = 2 * seed + 1
    cdef Py_ssize_t items, chunk, wrong = 0, j, i
    cdef int threads
    job.seen = <unsigned char *> calloc(most_items, 1)
    if job.seen == NULL:
        raise MemoryError
    with nogil:
        for j in range(jobs):
            items = next_random(&random) % most_items
            chunk = 1 + next_random(&random) % (items + 1)
            threads = 1 + next_random(&random) % most_threads
            # Now and then long enough for a caller to go to sleep.
            job.pauses = 300 if next_random(&random) % 8 == 0 else next_random(&random) % 4
            memset(job.seen, 0, items)
            pool_run(mark, &job, items, chunk, threads)
            for i in range(items):
                if job.seen[i] != 1:
                    wrong += 1
                    break
    free(job.seen)
    return wrong


def workers():
    """How many threads the pool has started."""
    return pool_workers()
