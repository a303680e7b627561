/* An extension module: a pool of threads that normalises rows from a ring buffer while Python runs.
 *
 *     pool = row_pool.Pool(threads, slots, length)
 *     pool.put(row)           length float32, copied into the ring; waits while that is full
 *     pool.take(row)          the oldest row, normalised; waits until it is
 *
 * Rows come out in the order in which they went in. The threads are plain pthreads: they call softmax_f32 without ever
 * holding the GIL, and those who wait in put and take do not hold it either.
 */
#include <softmax_cy.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    PyObject_HEAD Py_ssize_t slots, length;
    float *rows;   /* slots x length */
    int *finished; /* of each slot, 1 + the status of its row, or 0 */
    /* Rows are counted from the first on; row i is in slot i % slots. tail <= next <= head <= tail + slots. */
    Py_ssize_t head; /* the row that will be put next */
    Py_ssize_t next; /* the row that a thread will work on next */
    Py_ssize_t tail; /* the row that will be taken next */
    int closing;
    pthread_mutex_t mutex;
    pthread_cond_t room, work, done;
    pthread_t *threads;
    Py_ssize_t running;
} Pool;

static void *worker(void *argument) {
    Pool *pool = argument;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        Py_ssize_t slot;
        float *row;
        int status;
        while (pool->next == pool->head && !pool->closing)
            pthread_cond_wait(&pool->work, &pool->mutex);
        if (pool->closing)
            break;
        slot = pool->next++ % pool->slots;
        row = pool->rows + slot * pool->length;
        pthread_mutex_unlock(&pool->mutex);
        status = softmax_cy->softmax_f32(1, pool->length, row, pool->length, 1, row, pool->length, 1, 1.0);
        pthread_mutex_lock(&pool->mutex);
        pool->finished[slot] = 1 + status;
        pthread_cond_broadcast(&pool->done);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static PyObject *pool_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    Py_ssize_t threads, slots, length;
    Pool *pool;
    if (!PyArg_ParseTuple(args, "nnn:Pool", &threads, &slots, &length))
        return NULL;
    if (threads < 1 || slots < 1 || length < 1 || slots > PY_SSIZE_T_MAX / (Py_ssize_t)sizeof(float) / length) {
        PyErr_SetString(PyExc_ValueError, "threads, slots and length must be positive, and no larger than memory");
        return NULL;
    }
    pool = (Pool *)type->tp_alloc(type, 0);
    if (pool == NULL)
        return NULL;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->room, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->slots = slots;
    pool->length = length;
    pool->rows = malloc(slots * length * sizeof *pool->rows);
    pool->finished = calloc(slots, sizeof *pool->finished);
    pool->threads = calloc(threads, sizeof *pool->threads);
    if (pool->rows == NULL || pool->finished == NULL || pool->threads == NULL) {
        Py_DECREF(pool);
        return PyErr_NoMemory();
    }
    for (; pool->running < threads; pool->running++)
        if (pthread_create(&pool->threads[pool->running], NULL, worker, pool) != 0) {
            Py_DECREF(pool);
            return PyErr_Format(PyExc_OSError, "no more than %zd threads", pool->running);
        }
    return (PyObject *)pool;
}

static void pool_dealloc(PyObject *self) {
    Pool *pool = (Pool *)self;
    PyTypeObject *type = Py_TYPE(self);
    pthread_mutex_lock(&pool->mutex);
    pool->closing = 1;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    Py_BEGIN_ALLOW_THREADS while (pool->running > 0) pthread_join(pool->threads[--pool->running], NULL);
    Py_END_ALLOW_THREADS pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->room);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->rows);
    free(pool->finished);
    free(pool->threads);
    type->tp_free(self);
}

/* A view of a row's bytes, or an exception. */
static int row_buffer(const Pool *pool, PyObject *row, int flags, Py_buffer *view) {
    if (PyObject_GetBuffer(row, view, flags) < 0)
        return -1;
    if (view->len == pool->length * (Py_ssize_t)sizeof(float))
        return 0;
    PyErr_Format(PyExc_ValueError, "a row has %zd bytes, expected %zd float32", view->len, pool->length);
    PyBuffer_Release(view);
    return -1;
}

static PyObject *pool_put(PyObject *self, PyObject *row) {
    Pool *pool = (Pool *)self;
    Py_buffer view;
    if (row_buffer(pool, row, PyBUF_C_CONTIGUOUS, &view) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS pthread_mutex_lock(&pool->mutex);
    while (pool->head - pool->tail == pool->slots)
        pthread_cond_wait(&pool->room, &pool->mutex);
    memcpy(pool->rows + pool->head % pool->slots * pool->length, view.buf, view.len);
    pool->head++;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    Py_END_ALLOW_THREADS PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static PyObject *pool_take(PyObject *self, PyObject *row) {
    Pool *pool = (Pool *)self;
    Py_buffer view;
    int status;
    if (row_buffer(pool, row, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE, &view) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS pthread_mutex_lock(&pool->mutex);
    while (!pool->finished[pool->tail % pool->slots])
        pthread_cond_wait(&pool->done, &pool->mutex);
    status = pool->finished[pool->tail % pool->slots] - 1;
    pool->finished[pool->tail % pool->slots] = 0;
    memcpy(view.buf, pool->rows + pool->tail % pool->slots * pool->length, view.len);
    pool->tail++;
    pthread_cond_signal(&pool->room);
    pthread_mutex_unlock(&pool->mutex);
    Py_END_ALLOW_THREADS PyBuffer_Release(&view);
    if (status != SOFTMAX_CY_OK)
        return PyErr_Format(PyExc_ValueError, "%s", softmax_cy_status_message(status));
    Py_RETURN_NONE;
}

static PyMethodDef pool_methods[] = {
    {"put", pool_put, METH_O, "Copy a row into the ring."},
    {"take", pool_take, METH_O, "Copy the oldest row, normalised, out of the ring."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject pool_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "row_pool.Pool",
    .tp_basicsize = sizeof(Pool),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Pool(threads, slots, length): threads that normalise rows of so many float32.",
    .tp_new = pool_new,
    .tp_dealloc = pool_dealloc,
    .tp_methods = pool_methods,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "row_pool", NULL, -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_row_pool(void);

PyMODINIT_FUNC PyInit_row_pool(void) {
    PyObject *self;
    if (softmax_cy_import() < 0 || PyType_Ready(&pool_type) < 0)
        return NULL;
    self = PyModule_Create(&module);
    if (self == NULL || PyModule_AddObjectRef(self, "Pool", (PyObject *)&pool_type) < 0) {
        Py_XDECREF(self);
        return NULL;
    }
    return self;
}
