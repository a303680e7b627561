/* Calls every function of the table in a thread that Python has never seen and that has a small stack.
 *
 *     every_function STACK_BYTES
 *
 * C99 and C++11. Prints the name of each function and its results, in hexadecimal. The calls are in every_call.h, which
 * the test that compiles this writes from the list of operations.
 */
#include <softmax_cy.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 2, LENGTH = 3, MANY = 40, LONG = 5000, CUT = 3000 };

static int failed = 0;

#define SAY(NAME, REAL, RESULTS) SAY_SOME(NAME, REAL, RESULTS, sizeof(RESULTS) / sizeof(REAL))
#define SAY_BYTES(NAME, STATE, SIZE) SAY_SOME(NAME, unsigned char, STATE, (size_t)(SIZE))
#define SAY_SOME(NAME, REAL, RESULTS, COUNT)                                                                           \
    do {                                                                                                               \
        size_t k;                                                                                                      \
        printf("%s", NAME);                                                                                            \
        for (k = 0; k < COUNT; k++)                                                                                    \
            printf(" %a", (double)((const REAL *)RESULTS)[k]);                                                         \
        printf("\n");                                                                                                  \
    } while (0)

/* An array with its strides: a number a row, rows, and matrices. */
#define ONES(A) A, 1
#define MATRIX(A) &A[0][0], LENGTH, 1
#define MATRICES(A) &A[0][0][0], LENGTH *LENGTH, LENGTH, 1

#define INPUTS(REAL)                                                                                                   \
    const REAL logits[ROWS][LENGTH] = {{1, 2, 3}, {0, -5, 5}};                                                         \
    const REAL vector[ROWS][LENGTH] = {{1, 0, -1}, {2, 1, 0}};                                                         \
    const int64_t target[ROWS] = {2, 0};

#include "every_call.h"

/* The functions for states are no operations of the list. Doubles are aligned as states must be. */
#define CALL_STATES(SUFFIX, REAL)                                                                                      \
    static void call_states_##SUFFIX(void) {                                                                           \
        static REAL x[LONG], y[LONG];                                                                                  \
        static double first[LONG + 16], second[LONG + 16], merged[LONG + 16];                                          \
        ptrdiff_t sizes[2];                                                                                            \
        REAL one[1];                                                                                                   \
        int i;                                                                                                         \
        for (i = 0; i < LONG; i++)                                                                                     \
            x[i] = (REAL)(i % 7);                                                                                      \
        failed |= softmax_cy->softmax_state_size_##SUFFIX(0, CUT, LONG, 1, &sizes[0]);                                 \
        failed |= softmax_cy->softmax_state_size_##SUFFIX(CUT, LONG - CUT, LONG, 1, &sizes[1]);                        \
        SAY("softmax_state_size_" #SUFFIX, ptrdiff_t, sizes);                                                          \
        failed |= softmax_cy->softmax_state_##SUFFIX(0, CUT, LONG, 1, x, 1, first, 1);                                 \
        failed |= softmax_cy->softmax_state_##SUFFIX(CUT, LONG - CUT, LONG, 1, x + CUT, 1, second, 1);                 \
        SAY_BYTES("softmax_state_" #SUFFIX, second, sizes[1]);                                                         \
        failed |= softmax_cy->merge_states_##SUFFIX(first, second, merged);                                            \
        failed |= softmax_cy->softmax_state_size_##SUFFIX(0, LONG, LONG, 1, &sizes[0]);                                \
        SAY_BYTES("merge_states_" #SUFFIX, merged, sizes[0]);                                                          \
        failed |= softmax_cy->logsumexp_of_state_##SUFFIX(merged, one);                                                \
        SAY("logsumexp_of_state_" #SUFFIX, REAL, one);                                                                 \
        failed |= softmax_cy->softmax_of_part_##SUFFIX(0, CUT, merged, x, 1, y, 1);                                    \
        failed |= softmax_cy->softmax_of_part_##SUFFIX(CUT, LONG - CUT, merged, x + CUT, 1, y + CUT, 1);               \
        SAY("softmax_of_part_" #SUFFIX, REAL, y);                                                                      \
        failed |= softmax_cy->log_softmax_of_part_##SUFFIX(0, CUT, merged, x, 1, y, 1);                                \
        failed |= softmax_cy->log_softmax_of_part_##SUFFIX(CUT, LONG - CUT, merged, x + CUT, 1, y + CUT, 1);           \
        SAY("log_softmax_of_part_" #SUFFIX, REAL, y);                                                                  \
    }

CALL_STATES(f32, float)
CALL_STATES(f64, double)

/* Longer rows and strided ones take more of the stack. */
static void larger(void) {
    const ptrdiff_t lengths[3] = {7, 100, 5000};
    int i;
    for (i = 0; i < 3; i++) {
        const ptrdiff_t n = lengths[i];
        float *x = (float *)calloc((size_t)(MANY * n), sizeof *x), *y = (float *)malloc((size_t)(MANY * n) * sizeof *y);
        if (x == NULL || y == NULL)
            abort();
        /* As rows, as columns, and from either to the other. */
        call_larger(n, x, n, 1, y, n, 1);
        call_larger(n, x, 1, MANY, y, 1, MANY);
        call_larger(n, x, n, 1, y, 1, MANY);
        call_larger(n, x, 1, MANY, y, n, 1);
        free(x);
        free(y);
    }
}

static void *work(void *unused) {
    call_f32();
    call_f64();
    call_states_f32();
    call_states_f64();
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
