/* Calls every function of the table in a thread that Python has never seen and that has a small stack.
 *
 *     every_function STACK_BYTES
 *
 * C99 and C++11. Prints the name of each function and its results, in hexadecimal.
 */
#include <softmax_cy.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 2, LENGTH = 3 };

static int failed = 0;

#define SAY(NAME, REAL, STATUS, RESULTS)                                                                               \
    do {                                                                                                               \
        int status = (STATUS);                                                                                         \
        size_t k;                                                                                                      \
        failed |= status;                                                                                              \
        printf("%s", NAME);                                                                                            \
        for (k = 0; k < sizeof(RESULTS) / sizeof(REAL); k++)                                                           \
            printf(" %a", (double)((const REAL *)RESULTS)[k]);                                                         \
        printf("\n");                                                                                                  \
    } while (0)

#define IN(MATRIX) &MATRIX[0][0], LENGTH, 1

#define EVERY_FUNCTION(SUFFIX, REAL)                                                                                   \
    static void every_##SUFFIX(void) {                                                                                 \
        const REAL x[ROWS][LENGTH] = {{1, 2, 3}, {0, -5, 5}};                                                          \
        const REAL v[ROWS][LENGTH] = {{1, 0, -1}, {2, 1, 0}};                                                          \
        const int64_t target[ROWS] = {2, 0};                                                                           \
        REAL y[ROWS][LENGTH], log_y[ROWS][LENGTH], out[ROWS][LENGTH], matrices[ROWS][LENGTH][LENGTH], one[ROWS];       \
        SAY("softmax_" #SUFFIX, REAL, softmax_cy->softmax_##SUFFIX(ROWS, LENGTH, IN(x), IN(y), 1), y);                 \
        SAY("log_softmax_" #SUFFIX, REAL, softmax_cy->log_softmax_##SUFFIX(ROWS, LENGTH, IN(x), IN(log_y), 1), log_y); \
        SAY("logsumexp_" #SUFFIX, REAL, softmax_cy->logsumexp_##SUFFIX(ROWS, LENGTH, IN(x), one, 1, 1), one);          \
        SAY("softmax_vjp_" #SUFFIX, REAL, softmax_cy->softmax_vjp_##SUFFIX(ROWS, LENGTH, IN(v), IN(y), IN(out), 1),    \
            out);                                                                                                      \
        SAY("softmax_jvp_" #SUFFIX, REAL, softmax_cy->softmax_jvp_##SUFFIX(ROWS, LENGTH, IN(v), IN(y), IN(out), 1),    \
            out);                                                                                                      \
        SAY("log_softmax_vjp_" #SUFFIX, REAL,                                                                          \
            softmax_cy->log_softmax_vjp_##SUFFIX(ROWS, LENGTH, IN(v), IN(log_y), IN(out), 1), out);                    \
        SAY("log_softmax_jvp_" #SUFFIX, REAL,                                                                          \
            softmax_cy->log_softmax_jvp_##SUFFIX(ROWS, LENGTH, IN(v), IN(log_y), IN(out), 1), out);                    \
        SAY("softmax_jacobian_" #SUFFIX, REAL,                                                                         \
            softmax_cy->softmax_jacobian_##SUFFIX(ROWS, LENGTH, IN(y), &matrices[0][0][0], LENGTH * LENGTH, LENGTH, 1, \
                                                  1),                                                                  \
            matrices);                                                                                                 \
        SAY("log_softmax_jacobian_" #SUFFIX, REAL,                                                                     \
            softmax_cy->log_softmax_jacobian_##SUFFIX(ROWS, LENGTH, IN(log_y), &matrices[0][0][0], LENGTH * LENGTH,    \
                                                      LENGTH, 1, 1),                                                   \
            matrices);                                                                                                 \
        SAY("cross_entropy_and_grad_" #SUFFIX, REAL,                                                                   \
            softmax_cy->cross_entropy_and_grad_##SUFFIX(ROWS, LENGTH, IN(x), target, 1, one, 1, IN(out), 1), one);     \
        SAY("cross_entropy_and_grad_" #SUFFIX, REAL, 0, out);                                                          \
    }

EVERY_FUNCTION(f32, float)
EVERY_FUNCTION(f64, double)

/* Longer rows and strided ones take more of the stack. */
static void larger(void) {
    const ptrdiff_t rows = 40, lengths[3] = {7, 100, 5000};
    int i;
    for (i = 0; i < 3; i++) {
        const ptrdiff_t n = lengths[i];
        float *x = (float *)calloc((size_t)(rows * n), sizeof *x), *y = (float *)malloc((size_t)(rows * n) * sizeof *y);
        float one[40];
        int64_t target[40] = {0};
        if (x == NULL || y == NULL)
            abort();
        /* As rows, and as columns. */
        failed |= softmax_cy->softmax_f32(rows, n, x, n, 1, y, n, 1, 1);
        failed |= softmax_cy->softmax_f32(rows, n, x, 1, rows, y, 1, rows, 1);
        failed |= softmax_cy->softmax_f32(rows, n, x, n, 1, y, 1, rows, 1);
        failed |= softmax_cy->log_softmax_f32(rows, n, x, 1, rows, y, n, 1, 1);
        failed |= softmax_cy->logsumexp_f32(rows, n, x, 1, rows, one, 1, 1);
        failed |= softmax_cy->softmax_vjp_f32(rows, n, x, 1, rows, x, n, 1, y, n, 1, 1);
        failed |= softmax_cy->log_softmax_jvp_f32(rows, n, x, 1, rows, x, n, 1, y, 1, rows, 1);
        failed |= softmax_cy->cross_entropy_and_grad_f32(rows, n, x, n, 1, target, 1, one, 1, y, n, 1, 1);
        failed |= softmax_cy->cross_entropy_and_grad_f32(rows, n, x, 1, rows, target, 1, one, 1, y, 1, rows, 1);
        failed |= softmax_cy->cross_entropy_and_grad_f32(rows, n, x, 1, rows, target, 1, one, 1, y, n, 1, 1);
        free(x);
        free(y);
    }
}

static void *work(void *unused) {
    every_f32();
    every_f64();
    larger();
    return unused;
}

int main(int argc, char **argv) {
    pthread_t thread;
    pthread_attr_t attributes;
    PyThreadState *python;
    Py_Initialize();
    if (softmax_cy_import() < 0) {
        PyErr_Print();
        return 1;
    }
    python = PyEval_SaveThread();
    pthread_attr_init(&attributes);
    if (argc != 2 || pthread_attr_setstacksize(&attributes, (size_t)atol(argv[1])) != 0 ||
        pthread_create(&thread, &attributes, work, NULL) != 0)
        return 2;
    pthread_join(thread, NULL);
    PyEval_RestoreThread(python);
    return Py_FinalizeEx() < 0 || failed;
}
