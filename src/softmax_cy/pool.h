/* Threads that help with a job while somebody waits for it, and sleep otherwise.

Design:
1. A job is a range of items, cut into chunks, and a counter. Whoever is awake claims the next chunk; the caller is one
   of them. When no chunk is left the caller waits for those who are inside one, never for a thread that has yet to
   start: on a busy machine a thread that was woken may not run for milliseconds, and by then the caller is done.
2. Chunks are the same whoever computes them, and no item is in two of them: no result depends on the threads.
3. There is one job at a time. Whoever calls meanwhile computes alone, so that each caller makes progress.
4. A worker that finds nothing to do keeps looking for some tens of microseconds, as calls may follow each other. Then it
   sleeps on a lock of its own, its bell.
5. Workers are started when they are first needed and never end. They hold no Python object, so that a process may exit
   or fork at any time. A child of a fork begins with an empty pool.
6. Workers compute in the caller's floating-point mode (rounding, subnormal numbers), and leave signals to others.
7. Locks and threads are CPython's, which it has on every system. None of this needs the GIL.

Protocol. All of it hangs on one word, the gate:

                 0 -----------------> BUSY -----------------> BUSY, seats, n inside ----------> BUSY, n inside ----> 0
    the caller     exchanges: acquire      opens: seq_cst           closes: acq_rel                  n == 0: release
                   (else works alone)      rings the bells          after the last chunk             waits for that
    a worker                                                  enters: n + 1, seats - 1: acquire
                                                              leaves: n - 1: release

    The job is written while BUSY without seats, and read by those inside: entering acquires what opening released, and
    the caller's wait acquires what leaving released. A worker that comes late finds no seat, or a seat in the next job,
    which is as good. What a worker reads before it has entered are atomics alone.

    A caller that has waited long enough adds WAITING to the gate, if somebody is still inside, and sleeps. Who leaves
    last and finds WAITING wakes it.

    A worker goes to sleep in two steps: it says so, then looks at the gate once more. The caller opens the gate, then
    looks who sleeps. All four are seq_cst: one of the two sees the other. `asleep` goes from 1 to 0 by an exchange, so
    that either the worker takes it back or one other thread rings, and each ring is heard once.

    The counter of chunks is relaxed: it hands out numbers, and orders nothing.

tests/test_pool_model.py goes through every interleaving of this. */

#ifndef SOFTMAX_CY_POOL_H
#define SOFTMAX_CY_POOL_H

#include "Python.h"
#include "pythread.h"
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifndef _WIN32
#include <pthread.h>
#include <signal.h>
#endif
#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { POOL_MAX_WORKERS = 1023 };

#define POOL_BUSY ((uint32_t)1 << 31)
#define POOL_WAITING ((uint32_t)1 << 30)
#define POOL_SEAT ((uint32_t)1 << 10)
#define POOL_INSIDE (POOL_SEAT - 1)
#define POOL_SEATS (POOL_INSIDE << 10)

/* Some tens of microseconds, by the pause of most CPUs. */
enum { POOL_SPINS = 2000 };

typedef void (*pool_task)(const void *context, Py_ssize_t begin, Py_ssize_t end);

typedef struct {
    _Alignas(64) _Atomic int asleep;
    PyThread_type_lock bell; /* held, but from a ring until it is heard */
    /* For Linux: the thread's number, 0 before it runs, and 1 + the CPU that it was sent away from last. */
    _Atomic int id, away;
} pool_worker;

static struct {
    _Alignas(64) _Atomic uint32_t gate;
    /* The job. */
    pool_task task;
    const void *context;
    Py_ssize_t items, chunk;
    uint64_t mode;
    PyThread_type_lock done; /* held, but when the last to leave wakes the caller */
    _Alignas(64) _Atomic Py_ssize_t next;
    _Atomic int workers;                      /* changed by the caller whose job it is */
    pool_worker worker[POOL_MAX_WORKERS + 1]; /* the last is never started */
} pool;

static inline void pool_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

/* How the calling thread rounds and takes subnormal numbers. Not by fenv.h, which needs another library than libc. */
static inline uint64_t pool_mode(void) {
    uint64_t mode = 0;
#if defined(__SSE__)
    mode = __builtin_ia32_stmxcsr();
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
#endif
    return mode;
}

static inline void pool_set_mode(uint64_t mode) {
#if defined(__SSE__)
    __builtin_ia32_ldmxcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

static void pool_claim_chunks(void) {
    Py_ssize_t begin;
    while ((begin = atomic_fetch_add_explicit(&pool.next, pool.chunk, memory_order_relaxed)) < pool.items)
        pool.task(pool.context, begin, pool.items - begin < pool.chunk ? pool.items : begin + pool.chunk);
}

#ifdef __linux__
static cpu_set_t pool_cpus;

/* For callers that OpenMP has bound to one CPU: workers may use these. */
static void pool_may_use(int cpu) {
    if (cpu >= 0 && cpu < CPU_SETSIZE)
        CPU_SET(cpu, &pool_cpus);
}

/* Let a sleeping worker wake on another CPU than the one that wakes it. Left to itself, Linux 6.18 in a virtual machine
   queues it behind that thread, where it runs 1.8 ms later, while the other CPUs sleep. */
static void pool_send_away(pool_worker *worker) {
    cpu_set_t cpus = pool_cpus;
    int here = sched_getcpu(), id = atomic_load_explicit(&worker->id, memory_order_relaxed);
    if (id == 0 || here < 0 || atomic_exchange_explicit(&worker->away, here + 1, memory_order_relaxed) == here + 1)
        return;
    if (CPU_COUNT(&cpus) == 0 && sched_getaffinity(0, sizeof cpus, &cpus) != 0)
        return;
    CPU_CLR(here, &cpus);
    if (CPU_COUNT(&cpus) > 0)
        sched_setaffinity(id, sizeof cpus, &cpus);
}

static void pool_record_id(pool_worker *self) {
    atomic_store_explicit(&self->id, (int)syscall(SYS_gettid), memory_order_relaxed);
}
#else
#define pool_may_use(cpu) ((void)(cpu))
#define pool_send_away(worker) ((void)(worker))
#define pool_record_id(self) ((void)(self))
#endif

/* Wake as many as there are seats that nobody awake could take, but two at most: they wake others in turn. */
static void pool_ring(void) {
    uint32_t gate = atomic_load_explicit(&pool.gate, memory_order_seq_cst);
    int workers = atomic_load_explicit(&pool.workers, memory_order_relaxed), asleep = 0, wanted, i;
    for (i = 0; i < workers; i++)
        asleep += atomic_load_explicit(&pool.worker[i].asleep, memory_order_seq_cst);
    wanted = (int)((gate & POOL_SEATS) / POOL_SEAT) - (workers - asleep - (int)(gate & POOL_INSIDE));
    if (wanted > 2)
        wanted = 2;
    for (i = 0; i < workers && wanted > 0; i++) {
        int sleeps = 1;
        if (atomic_compare_exchange_strong_explicit(&pool.worker[i].asleep, &sleeps, 0, memory_order_seq_cst,
                                                    memory_order_relaxed)) {
            pool_send_away(&pool.worker[i]);
            PyThread_release_lock(pool.worker[i].bell);
            wanted--;
        }
    }
}

static int pool_enter(void) {
    uint32_t gate = atomic_load_explicit(&pool.gate, memory_order_relaxed);
    while (gate & POOL_SEATS)
        if (atomic_compare_exchange_weak_explicit(&pool.gate, &gate, gate - POOL_SEAT + 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return 1;
    return 0;
}

static void pool_leave(void) {
    if (atomic_fetch_sub_explicit(&pool.gate, 1, memory_order_release) == (POOL_BUSY | POOL_WAITING | 1))
        PyThread_release_lock(pool.done);
}

static void pool_sleep(pool_worker *self) {
    int sleeps = 1;
    atomic_store_explicit(&self->asleep, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&pool.gate, memory_order_seq_cst) & POOL_SEATS &&
        atomic_compare_exchange_strong_explicit(&self->asleep, &sleeps, 0, memory_order_seq_cst, memory_order_relaxed))
        return;
    PyThread_acquire_lock(self->bell, WAIT_LOCK);
}

static void pool_work(void *self) {
    int spins = 0;
    pool_record_id((pool_worker *)self);
    for (;;) {
        if (pool_enter()) {
            pool_ring();
            pool_set_mode(pool.mode);
            pool_claim_chunks();
            pool_leave();
            spins = 0;
        } else if (spins < POOL_SPINS) {
            spins++;
            pool_pause();
        } else {
            pool_sleep((pool_worker *)self);
            spins = 0;
        }
    }
}

/* What a thread has from the one that starts it: which signals it blocks, and on Linux the CPUs that it may use. */
typedef struct {
#ifndef _WIN32
    sigset_t signals;
#endif
#ifdef __linux__
    cpu_set_t cpus;
#endif
    int has_cpus;
} pool_inheritance;

/* On Linux a mask is a thread's by either name, and one of them would ask for glibc 2.32. */
#ifdef __linux__
#define pool_change_signals sigprocmask
#else
#define pool_change_signals pthread_sigmask
#endif

static void pool_bequeath(pool_inheritance *own) {
#ifndef _WIN32
    sigset_t all;
    sigfillset(&all);
    pool_change_signals(SIG_BLOCK, &all, &own->signals);
#endif
    own->has_cpus = 0;
#ifdef __linux__
    own->has_cpus = CPU_COUNT(&pool_cpus) > 0 && sched_getaffinity(0, sizeof own->cpus, &own->cpus) == 0 &&
                    sched_setaffinity(0, sizeof pool_cpus, &pool_cpus) == 0;
#endif
}

static void pool_take_back(const pool_inheritance *own) {
#ifdef __linux__
    if (own->has_cpus)
        sched_setaffinity(0, sizeof own->cpus, &own->cpus);
#endif
#ifndef _WIN32
    pool_change_signals(SIG_SETMASK, &own->signals, NULL);
#endif
}

/* A lock that is held, or NULL. */
static PyThread_type_lock pool_lock(void) {
    PyThread_type_lock lock = PyThread_allocate_lock();
    if (lock)
        PyThread_acquire_lock(lock, WAIT_LOCK);
    return lock;
}

/* Start workers until there are so many, or as many as can be had. */
static void pool_hire(int wanted) {
    int workers = atomic_load_explicit(&pool.workers, memory_order_relaxed);
    pool_inheritance own;
    if (workers >= wanted || (!pool.done && !(pool.done = pool_lock())))
        return;
    pool_bequeath(&own);
    while (workers < wanted) {
        pool_worker *worker = &pool.worker[workers];
        if (!worker->bell && !(worker->bell = pool_lock()))
            break;
        if (PyThread_start_new_thread(pool_work, worker) == PYTHREAD_INVALID_THREAD_ID)
            break;
        /* At once: a child that another thread forks meanwhile must know which workers to forget. */
        atomic_store_explicit(&pool.workers, ++workers, memory_order_relaxed);
    }
    pool_take_back(&own);
}

/* Wait for those who are inside. */
static void pool_wait(void) {
    int spins;
    uint32_t gate = 0;
    for (spins = 0; spins < POOL_SPINS; spins++) {
        gate = atomic_load_explicit(&pool.gate, memory_order_acquire);
        if (!(gate & POOL_INSIDE))
            return;
        pool_pause();
    }
    while (gate & POOL_INSIDE)
        if (atomic_compare_exchange_weak_explicit(&pool.gate, &gate, gate | POOL_WAITING, memory_order_acquire,
                                                  memory_order_acquire)) {
            PyThread_acquire_lock(pool.done, WAIT_LOCK);
            /* Whoever rang has left, and who left before released to it. */
            (void)atomic_load_explicit(&pool.gate, memory_order_acquire);
            return;
        }
}

/* Run the task over items 0 to `items`, in chunks of `chunk`, on at most `threads` threads. When it returns all is done. */
static void pool_run(pool_task task, const void *context, Py_ssize_t items, Py_ssize_t chunk, int threads) {
    uint32_t idle = 0;
    int workers;
    if (threads < 2 || !atomic_compare_exchange_strong_explicit(&pool.gate, &idle, POOL_BUSY, memory_order_acquire,
                                                                memory_order_relaxed)) {
        task(context, 0, items);
        return;
    }
    if (threads > POOL_MAX_WORKERS + 1)
        threads = POOL_MAX_WORKERS + 1;
    pool_hire(threads - 1);
    workers = atomic_load_explicit(&pool.workers, memory_order_relaxed);
    pool.task = task;
    pool.context = context;
    pool.items = items;
    pool.chunk = chunk;
    pool.mode = pool_mode();
    atomic_store_explicit(&pool.next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.gate, POOL_BUSY + POOL_SEAT * (uint32_t)(workers < threads - 1 ? workers : threads - 1),
                          memory_order_seq_cst);
    pool_ring();
    pool_claim_chunks();
    atomic_fetch_and_explicit(&pool.gate, ~POOL_SEATS, memory_order_acq_rel);
    pool_wait();
    atomic_store_explicit(&pool.gate, 0, memory_order_release);
}

/* How many workers there are. */
static int pool_workers(void) { return atomic_load_explicit(&pool.workers, memory_order_relaxed); }

/* By this name threadpoolctl knows the library. */
#ifndef _WIN32
__attribute__((visibility("default")))
#endif
const int softmax_cy_pool = 1;

#ifdef _WIN32
#define pool_watch_forks() 0
#else
/* No thread of the parent is in the child, and a lock may be in any state. */
static void pool_after_fork(void) {
    int workers = atomic_load_explicit(&pool.workers, memory_order_relaxed);
    memset((void *)&pool, 0, offsetof(__typeof__(pool), worker) + (size_t)(workers + 1) * sizeof(pool_worker));
}

/* Unlike os.register_at_fork this sees what C forks, too. Returns 0, or an error number. */
static int pool_watch_forks(void) { return pthread_atfork(NULL, NULL, pool_after_fork); }
#endif

#endif
