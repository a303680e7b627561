/* What an element of an array can be, and what the layers above the kernels need to know of it. */
#ifndef SOFTMAX_CY_KINDS_H
#define SOFTMAX_CY_KINDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    KIND_BOOL,
    KIND_INT8,
    KIND_INT16,
    KIND_INT32,
    KIND_INT64,
    KIND_UINT8,
    KIND_UINT16,
    KIND_UINT32,
    KIND_UINT64,
    KIND_FLOAT16,
    KIND_BFLOAT16,
    KIND_FLOAT32,
    KIND_FLOAT64,
    KIND_SWAPPED = 64, /* added: the other byte order */
};

static inline size_t kind_size(int kind) {
    switch (kind & ~KIND_SWAPPED) {
    case KIND_BOOL:
    case KIND_INT8:
    case KIND_UINT8:
        return 1;
    case KIND_INT16:
    case KIND_UINT16:
    case KIND_FLOAT16:
    case KIND_BFLOAT16:
        return 2;
    case KIND_INT32:
    case KIND_UINT32:
    case KIND_FLOAT32:
        return 4;
    default:
        return 8;
    }
}

/* Turn round the bytes of each of `count` elements. */
static inline void swap_bytes(char *elements, size_t size, ptrdiff_t count) {
#define SWAP(TYPE, SWAPPED)                                                                                            \
    for (ptrdiff_t i = 0; i < count; i++) {                                                                            \
        TYPE a;                                                                                                        \
        memcpy(&a, elements + i * (ptrdiff_t)sizeof a, sizeof a);                                                      \
        a = SWAPPED(a);                                                                                                \
        memcpy(elements + i * (ptrdiff_t)sizeof a, &a, sizeof a);                                                      \
    }
    if (size == 2)
        SWAP(uint16_t, __builtin_bswap16)
    else if (size == 4)
        SWAP(uint32_t, __builtin_bswap32)
    else if (size == 8)
        SWAP(uint64_t, __builtin_bswap64)
#undef SWAP
}

/* An element of an integer kind. One that is too large for an int64 wraps round: it is negative. */
static inline int64_t integer_at(const char *element, int kind) {
    char bytes[8];
    size_t size = kind_size(kind);
    int64_t integer;
    memcpy(bytes, element, size);
    if (kind & KIND_SWAPPED)
        swap_bytes(bytes, size, 1);
#define INTEGER(KIND, TYPE)                                                                                            \
    case KIND: {                                                                                                       \
        TYPE value;                                                                                                    \
        memcpy(&value, bytes, sizeof value);                                                                           \
        integer = (int64_t)value;                                                                                      \
        break;                                                                                                         \
    }
    switch (kind & ~KIND_SWAPPED) {
        INTEGER(KIND_BOOL, uint8_t)
        INTEGER(KIND_INT8, int8_t)
        INTEGER(KIND_INT16, int16_t)
        INTEGER(KIND_INT32, int32_t)
        INTEGER(KIND_UINT8, uint8_t)
        INTEGER(KIND_UINT16, uint16_t)
        INTEGER(KIND_UINT32, uint32_t)
    default:
        memcpy(&integer, bytes, sizeof integer);
    }
#undef INTEGER
    /* The compiler must not read the element again once a caller has checked it: another thread may have written it. */
    __asm__("" : "+r"(integer));
    return integer;
}

/* An element of any kind. */
static inline double real_at(const char *element, int kind) {
    char bytes[8];
    size_t size = kind_size(kind);
    uint32_t word;
    float single;
    double value;
    memcpy(bytes, element, size);
    if (kind & KIND_SWAPPED)
        swap_bytes(bytes, size, 1);
    switch (kind & ~KIND_SWAPPED) {
    case KIND_FLOAT64:
        memcpy(&value, bytes, sizeof value);
        return value;
    case KIND_FLOAT32:
        memcpy(&single, bytes, sizeof single);
        return single;
    case KIND_FLOAT16:
    case KIND_BFLOAT16:
        break;
    case KIND_UINT64:
        return (double)(uint64_t)integer_at(element, kind);
    default:
        return (double)integer_at(element, kind);
    }
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    word = (uint32_t)half << 16;
    if ((kind & ~KIND_SWAPPED) == KIND_FLOAT16)
        word = (half & 0x7fffu) >= 0x7c00 ? 0x7f800000 | (half & 0x3ffu) << 13 : (half & 0x7fffu) << 13;
    memcpy(&single, &word, sizeof single);
    value = single;
    if ((kind & ~KIND_SWAPPED) == KIND_FLOAT16)
        value = half & 0x8000 ? -value * 0x1p112 : value * 0x1p112;
    return value;
}

#endif
