/* Scratch memory: some buffers for each thread, from the heap and not from the stack.
 *
 * A thread may have little stack (64 KB are common where there are thousands), so no kernel keeps more than a few KB
 * there. The buffers are thread-local: the C library allocates them on the first call in a thread, and frees them when
 * the thread ends. No kernel allocates, locks or fails.
 *
 * Each buffer has one user at a time. A kernel that calls another leaves to it the buffers that that one uses.
 */
#ifndef SOFTMAX_CY_SCRATCH_H
#define SOFTMAX_CY_SCRATCH_H

#include "simd.h"

enum {
    BLOCK_BYTES = 16384, /* part of the meaning of a sum: sums.h, point b. Fits a first-level cache twice. */
    CACHE_LINE = 64,
    BETWEEN_BUFFERS = 5 * CACHE_LINE, /* so that their beginnings do not compete for the same lines of a cache */
};

enum buffer {
    KERNEL_BUFFER,   /* what a kernel works in */
    TILE_BUFFER,     /* walks/tiles.pxi; the sums of a group in product_groups.pxi; the weights of a block in
                      * loss_slice.pxi; a line of the result in jacobian.pxi */
    GATHERED_BUFFER, /* walks/gathered.pxi; columns that were turned into rows in loss_lanes.pxi */
    SPARE_BUFFER,    /* walks/panels.pxi, for slices that are done again; the columns in loss_lanes.pxi; what the
                      * diagonal needs in jacobian.pxi */
    UNITS_BUFFER,    /* the units of the blocks of a slice: walks/summaries.pxi, walks/long_columns.pxi */
    BUFFERS
};

static _Thread_local char buffers[BUFFERS][BLOCK_BYTES + BETWEEN_BUFFERS] __attribute__((aligned(CACHE_LINE)));

/* BLOCK_BYTES of this thread, from the beginning of a cache line on: no vector in it straddles two lines. */
INLINE char *thread_buffer(enum buffer which) {
    char *buffer = buffers[which];
    /* Or gcc looks the address up again, by a call, wherever it is used. */
    __asm__("" : "+r"(buffer));
    return buffer;
}

#endif
