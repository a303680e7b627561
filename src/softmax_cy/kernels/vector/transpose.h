/* Rows to columns and back: LANES slices, each side by side, to a vector for each of their elements.
 *
 * Both ways work on squares as wide as a 16-byte quarter of a vector. The last square of a row begins early enough to
 * end with it, so some elements are moved twice; rows shorter than a square go element by element.
 */
#ifndef SOFTMAX_CY_TRANSPOSE_H
#define SOFTMAX_CY_TRANSPOSE_H

#include "simd.h"

INLINE ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* `slices` of at most LANES rows, `next` bytes apart, to vectors `step` bytes apart. Lanes without a slice repeat the
 * last one. */
static void columns_from_rows(const char *rows, ptrdiff_t next, ptrdiff_t slices, ptrdiff_t length, char *columns,
                              ptrdiff_t step) {
    for (ptrdiff_t lane = 0; lane < LANES; lane += QUARTER_LANES) {
        const char *from[QUARTER_LANES];
        char *to = columns + lane * (ptrdiff_t)sizeof(real);
        for (ptrdiff_t j = 0; j < QUARTER_LANES; j++)
            from[j] = rows + smaller(lane + j, slices - 1) * next;
        if (length < QUARTER_LANES) {
            for (ptrdiff_t i = 0; i < length; i++)
                for (ptrdiff_t j = 0; j < QUARTER_LANES; j++)
                    memcpy(to + i * step + j * (ptrdiff_t)sizeof(real), from[j] + i * (ptrdiff_t)sizeof(real),
                           sizeof(real));
            continue;
        }
        for (ptrdiff_t i = 0; i < length; i += QUARTER_LANES) {
            quarter square[QUARTER_LANES];
            ptrdiff_t start = smaller(i, length - QUARTER_LANES);
            for (int j = 0; j < QUARTER_LANES; j++)
                memcpy(&square[j], from[j] + start * (ptrdiff_t)sizeof(real), sizeof(quarter));
            transpose_square(square);
            for (int j = 0; j < QUARTER_LANES; j++)
                memcpy(to + (start + j) * step, &square[j], sizeof(quarter));
        }
    }
}

/* The way back, for lanes that have a slice. */
static void rows_from_columns(const char *columns, ptrdiff_t step, ptrdiff_t slices, ptrdiff_t length, char *rows,
                              ptrdiff_t next) {
    for (ptrdiff_t lane = 0; lane < slices; lane += QUARTER_LANES) {
        const char *from = columns + lane * (ptrdiff_t)sizeof(real);
        char *to = rows + lane * next;
        ptrdiff_t some = smaller(slices - lane, QUARTER_LANES);
        if (length < QUARTER_LANES) {
            for (ptrdiff_t i = 0; i < length; i++)
                for (ptrdiff_t j = 0; j < some; j++)
                    memcpy(to + j * next + i * (ptrdiff_t)sizeof(real), from + i * step + j * (ptrdiff_t)sizeof(real),
                           sizeof(real));
            continue;
        }
        for (ptrdiff_t i = 0; i < length; i += QUARTER_LANES) {
            quarter square[QUARTER_LANES];
            ptrdiff_t start = smaller(i, length - QUARTER_LANES);
            for (int j = 0; j < QUARTER_LANES; j++)
                memcpy(&square[j], from + (start + j) * step, sizeof(quarter));
            transpose_square(square);
            if (some == QUARTER_LANES)
                for (int j = 0; j < QUARTER_LANES; j++)
                    memcpy(to + j * next + start * (ptrdiff_t)sizeof(real), &square[j], sizeof(quarter));
            else
                for (ptrdiff_t j = 0; j < some; j++)
                    memcpy(to + j * next + start * (ptrdiff_t)sizeof(real), &square[j], sizeof(quarter));
        }
    }
}

#endif
