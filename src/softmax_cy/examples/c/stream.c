/* The softmax of more numbers than fit into memory: a file of doubles, read twice, a piece at a time.
 *
 *     stream FILE [RESULTS]
 *
 * The first time each piece leaves a state behind, and these are merged until one is that of the whole file. The second
 * time each piece is finished with it. Prints logsumexp, and the largest of the probabilities and where it is. Writes
 * the probabilities to the file RESULTS.
 */
#include <softmax_cy.h>

#include <stdio.h>
#include <stdlib.h>

/* Blocks of double have 2048 elements. A state keeps no elements of pieces of whole blocks. */
enum { PIECE = 8 * 2048 };

struct part {
    ptrdiff_t offset, count;
    void *state;
};

static void stop(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void check(int status) {
    if (status != SOFTMAX_CY_OK)
        stop(softmax_cy_status_message(status));
}

/* A part with memory for its state, which malloc aligns. */
static struct part make_part(ptrdiff_t offset, ptrdiff_t count, ptrdiff_t length) {
    struct part part = {offset, count, NULL};
    ptrdiff_t size;
    check(softmax_cy->softmax_state_size_f64(offset, count, length, 1, &size));
    part.state = malloc(size);
    if (part.state == NULL)
        stop("no memory for a state");
    return part;
}

/* Two neighbours as one. */
static struct part merge(struct part first, struct part second, ptrdiff_t length) {
    struct part merged = make_part(first.offset, first.count + second.count, length);
    check(softmax_cy->merge_states_f64(first.state, second.state, merged.state));
    free(first.state);
    free(second.state);
    return merged;
}

/* The state of the whole file. The last piece may be empty. */
static void *read_all(FILE *file, ptrdiff_t length, double *piece) {
    struct part parts[64]; /* each at least as long as the next */
    ptrdiff_t offset = 0, count, pieces = 0;
    int n = 0;
    do {
        count = fread(piece, sizeof *piece, PIECE, file);
        parts[n] = make_part(offset, count, length);
        check(softmax_cy->softmax_state_f64(offset, count, length, 1, piece, 1, parts[n].state, 1.0));
        n++;
        offset += count;
        /* States of equal lengths are merged: a merge copies, and so each state is copied only a few times. */
        for (ptrdiff_t left = ++pieces; left % 2 == 0; left /= 2, n--)
            parts[n - 2] = merge(parts[n - 2], parts[n - 1], length);
    } while (count == PIECE);
    for (; n > 1; n--)
        parts[n - 2] = merge(parts[n - 2], parts[n - 1], length);
    return parts[0].state;
}

int main(int argc, char **argv) {
    static double piece[PIECE];
    double logsumexp, largest = 0;
    ptrdiff_t length, offset = 0, count, where = 0;
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    FILE *results = argc > 2 ? fopen(argv[2], "wb") : NULL;
    void *state;

    if (file == NULL || (argc > 2 && results == NULL)) {
        fprintf(stderr, "usage: %s FILE [RESULTS]\n", argv[0]);
        return 2;
    }
    Py_Initialize();
    if (softmax_cy_import() < 0) {
        PyErr_Print();
        return 1;
    }
    fseek(file, 0, SEEK_END);
    length = ftell(file) / (long)sizeof *piece;
    rewind(file);
    state = read_all(file, length, piece);
    check(softmax_cy->logsumexp_of_state_f64(state, &logsumexp));
    rewind(file);
    while ((count = fread(piece, sizeof *piece, PIECE, file)) > 0) {
        check(softmax_cy->softmax_of_part_f64(offset, count, state, piece, 1, piece, 1));
        for (ptrdiff_t i = 0; i < count; i++)
            if (piece[i] > largest) {
                largest = piece[i];
                where = offset + i;
            }
        if (results != NULL && (ptrdiff_t)fwrite(piece, sizeof *piece, count, results) != count)
            stop("the results cannot be written");
        offset += count;
    }
    printf("%td numbers: logsumexp %.6f, largest probability %.6f at %td\n", length, logsumexp, largest, where);
    free(state);
    fclose(file);
    if (results != NULL && fclose(results) != 0)
        stop("the results cannot be written");
    return Py_FinalizeEx() < 0;
}
