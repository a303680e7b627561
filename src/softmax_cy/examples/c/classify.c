/* Reads rows of logits from standard input and prints the likeliest class of each, its probability and the entropy.
 *
 *     classify COLUMNS < logits.txt
 *
 * Python is started once, to fetch the table. From then on nobody holds the GIL, and the work is done by a thread that
 * Python has never seen.
 */
#include <softmax_cy.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct job {
    ptrdiff_t columns;
    int failed;
};

/* The next row; whether there was one. */
static int read_row(double *row, ptrdiff_t columns) {
    for (ptrdiff_t j = 0; j < columns; j++)
        if (scanf("%lf", &row[j]) != 1)
            return 0;
    return 1;
}

static void *classify(void *argument) {
    struct job *job = argument;
    ptrdiff_t columns = job->columns;
    double *logits = malloc(columns * sizeof *logits);
    double *log_y = malloc(columns * sizeof *log_y);
    double *y = malloc(columns * sizeof *y);
    job->failed = !logits || !log_y || !y;
    while (!job->failed && read_row(logits, columns)) {
        double entropy = 0;
        ptrdiff_t best = 0;
        int status = softmax_cy->log_softmax_f64(1, columns, logits, columns, 1, log_y, columns, 1, 1.0);
        if (status == SOFTMAX_CY_OK)
            status = softmax_cy->softmax_f64(1, columns, logits, columns, 1, y, columns, 1, 1.0);
        if (status != SOFTMAX_CY_OK) {
            fprintf(stderr, "%s\n", softmax_cy_status_message(status));
            job->failed = 1;
            break;
        }
        for (ptrdiff_t j = 0; j < columns; j++) {
            best = y[j] > y[best] ? j : best;
            entropy -= y[j] > 0 ? y[j] * log_y[j] : 0;
        }
        printf("%td %.6f %.6f\n", best, y[best], entropy);
    }
    free(logits);
    free(log_y);
    free(y);
    return NULL;
}

int main(int argc, char **argv) {
    struct job job = {argc == 2 ? atoi(argv[1]) : 0, 0};
    pthread_t thread;
    PyThreadState *python;

    if (job.columns < 1) {
        fprintf(stderr, "usage: %s COLUMNS < logits.txt\n", argv[0]);
        return 2;
    }
    Py_Initialize();
    if (softmax_cy_import() < 0) {
        PyErr_Print();
        return 1;
    }
    python = PyEval_SaveThread();
    if (pthread_create(&thread, NULL, classify, &job) != 0)
        return 1;
    pthread_join(thread, NULL);
    PyEval_RestoreThread(python);
    return Py_FinalizeEx() < 0 || job.failed;
}
