/* Elements of any kind to reals, and reals to 16-bit floats.
 *
 * Only the float kernels have 16-bit results. A 16-bit float is taken apart with integer operations that any instruction set has and that compilers turn into vectors.
 */
#ifndef SOFTMAX_CY_CONVERT_H
#define SOFTMAX_CY_CONVERT_H

#include "kinds.h"
#include "simd.h"

#if SOFTMAX_CY_REAL_BITS == 32
#define KIND_REAL KIND_FLOAT32
#else
#define KIND_REAL KIND_FLOAT64
#endif

/* Sixteen at a time, whatever the target: the compiler splits what is wider than its registers. */
enum { CHUNK = 16 };
typedef uint16_t chunk_of_16_bits __attribute__((vector_size(2 * CHUNK)));
typedef uint32_t chunk_of_32_bits __attribute__((vector_size(4 * CHUNK)));
typedef float chunk_of_floats __attribute__((vector_size(4 * CHUNK)));

/* Where `yes` has all bits set, a; where it has none, b. */
INLINE chunk_of_32_bits chunk_select(chunk_of_32_bits yes, chunk_of_32_bits a, chunk_of_32_bits b) {
    return (yes & a) | (~yes & b);
}

/* The exponent of a half counts from 15 and that of a float from 127: as a float, a half is 2**112 too small. */
INLINE chunk_of_32_bits chunk_from_half(chunk_of_32_bits half) {
    chunk_of_32_bits sign = (half & 0x8000) << 16, magnitude = (half & 0x7fff) << 13;
    chunk_of_32_bits finite = (chunk_of_32_bits)((chunk_of_floats)magnitude * 0x1p112f);
    return sign | chunk_select((chunk_of_32_bits)(magnitude >= 0x7c00 << 13), magnitude | 0x7f800000, finite);
}

/* Rounded to the nearest, ties to even. */
INLINE chunk_of_32_bits chunk_to_half(chunk_of_32_bits bits) {
    chunk_of_32_bits sign = bits & 0x80000000, magnitude = bits ^ sign;
    chunk_of_32_bits normal = (magnitude + 0xfff + (magnitude >> 13 & 1) - (112u << 23)) >> 13;
    /* 0.5 has the ulp of the subnormal halves: adding it rounds. */
    chunk_of_32_bits subnormal = (chunk_of_32_bits)((chunk_of_floats)magnitude + 0.5f) - 0x3f000000;
    chunk_of_32_bits half = chunk_select((chunk_of_32_bits)(magnitude < 113u << 23), subnormal, normal);
    half = chunk_select((chunk_of_32_bits)(magnitude >= 0x477ff000), (chunk_of_32_bits){0} + 0x7c00, half); /* 65520 */
    half = chunk_select((chunk_of_32_bits)(magnitude > 0x7f800000), (chunk_of_32_bits){0} + 0x7e00, half);
    return sign >> 16 | half;
}

INLINE chunk_of_32_bits chunk_to_bfloat(chunk_of_32_bits bits) {
    chunk_of_32_bits rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return chunk_select((chunk_of_32_bits)((bits & 0x7fffffff) > 0x7f800000), bits >> 16 | 0x40, rounded);
}

#if defined(__AVX512F__)
/* The hardware's own, to the same bits. */
INLINE chunk_of_floats floats_from_halves(chunk_of_16_bits halves) {
    return (chunk_of_floats)_mm512_cvtph_ps((__m256i)halves);
}

INLINE chunk_of_16_bits halves_from_floats(chunk_of_32_bits bits) {
    return (chunk_of_16_bits)_mm512_cvtps_ph((__m512)bits, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
#elif defined(__F16C__)
INLINE chunk_of_floats floats_from_halves(chunk_of_16_bits halves) {
    __m128i eight[2];
    __m256 floats[2];
    chunk_of_floats all;
    memcpy(eight, &halves, sizeof eight);
    floats[0] = _mm256_cvtph_ps(eight[0]);
    floats[1] = _mm256_cvtph_ps(eight[1]);
    memcpy(&all, floats, sizeof all);
    return all;
}

INLINE chunk_of_16_bits halves_from_floats(chunk_of_32_bits bits) {
    __m256 floats[2];
    __m128i eight[2];
    chunk_of_16_bits all;
    memcpy(floats, &bits, sizeof floats);
    eight[0] = _mm256_cvtps_ph(floats[0], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    eight[1] = _mm256_cvtps_ph(floats[1], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    memcpy(&all, eight, sizeof all);
    return all;
}
#else
INLINE chunk_of_floats floats_from_halves(chunk_of_16_bits halves) {
    return (chunk_of_floats)chunk_from_half(__builtin_convertvector(halves, chunk_of_32_bits));
}

INLINE chunk_of_16_bits halves_from_floats(chunk_of_32_bits bits) {
    return __builtin_convertvector(chunk_to_half(bits), chunk_of_16_bits);
}
#endif

INLINE chunk_of_floats floats_from_bfloats(chunk_of_16_bits bfloats) {
    return (chunk_of_floats)(__builtin_convertvector(bfloats, chunk_of_32_bits) << 16);
}

INLINE chunk_of_16_bits bfloats_from_floats(chunk_of_32_bits bits) {
    return __builtin_convertvector(chunk_to_bfloat(bits), chunk_of_16_bits);
}

/* Reads and writes CHUNK elements, or as many as are left: no byte beyond them. */
#define EACH_CHUNK(FROM, TO, STATEMENT)                                                                               \
    for (ptrdiff_t i = 0; i < count; i += CHUNK) {                                                                    \
        size_t some = (size_t)(count - i < CHUNK ? count - i : CHUNK);                                                \
        FROM before;                                                                                                  \
        TO after;                                                                                                     \
        if (some == CHUNK) {                                                                                          \
            memcpy(&before, from + i * (ptrdiff_t)(sizeof before / CHUNK), sizeof before);                            \
            STATEMENT                                                                                                 \
            memcpy(to + i * (ptrdiff_t)(sizeof after / CHUNK), &after, sizeof after);                                 \
        } else {                                                                                                      \
            memset(&before, 0, sizeof before);                                                                        \
            memcpy(&before, from + i * (ptrdiff_t)(sizeof before / CHUNK), some * (sizeof before / CHUNK));           \
            STATEMENT                                                                                                 \
            memcpy(to + i * (ptrdiff_t)(sizeof after / CHUNK), &after, some * (sizeof after / CHUNK));                \
        }                                                                                                             \
    }                                                                                                                 \
    return;

typedef real chunk_of_reals __attribute__((vector_size(CHUNK * sizeof(real))));

#define FLOATS_FROM(CONVERT)                                                                                          \
    EACH_CHUNK(chunk_of_16_bits, chunk_of_reals,                                                                      \
               after = __builtin_convertvector(CONVERT(before), chunk_of_reals);)
#define FLOATS_TO(CONVERT)                                                                                            \
    EACH_CHUNK(chunk_of_32_bits, chunk_of_16_bits, after = CONVERT(before);)
#define NUMBERS_FROM(TYPE, TRUTH)                                                                                          \
    {                                                                                                                 \
        struct {                                                                                                      \
            TYPE at[CHUNK];                                                                                           \
        } before;                                                                                                     \
        EACH_CHUNK(__typeof__(before), chunk_of_reals,                                                                \
                   for (int j = 0; j < CHUNK; j++) after[j] = (real)(TRUTH before.at[j]);)                             \
    }

/* `count` elements side by side, in the byte order of the machine, to reals. */
static void widen(const char *from, int kind, char *to, ptrdiff_t count) {
    switch (kind & ~KIND_SWAPPED) {
    case KIND_FLOAT16:
        FLOATS_FROM(floats_from_halves)
    case KIND_BFLOAT16:
        FLOATS_FROM(floats_from_bfloats)
    case KIND_FLOAT32:
        NUMBERS_FROM(float, )
    case KIND_FLOAT64:
        NUMBERS_FROM(double, )
    case KIND_BOOL:
        NUMBERS_FROM(uint8_t, 0 !=)
    case KIND_UINT8:
        NUMBERS_FROM(uint8_t, )
    case KIND_INT8:
        NUMBERS_FROM(int8_t, )
    case KIND_INT16:
        NUMBERS_FROM(int16_t, )
    case KIND_INT32:
        NUMBERS_FROM(int32_t, )
    case KIND_INT64:
        NUMBERS_FROM(int64_t, )
    case KIND_UINT16:
        NUMBERS_FROM(uint16_t, )
    case KIND_UINT32:
        NUMBERS_FROM(uint32_t, )
    case KIND_UINT64:
        NUMBERS_FROM(uint64_t, )
    }
}

/* `count` reals side by side to the kind of a result; in place, if need be. */
static void narrow(const char *from, int kind, char *to, ptrdiff_t count) {
#if SOFTMAX_CY_REAL_BITS == 32
    if (kind == KIND_FLOAT16) {
        FLOATS_TO(halves_from_floats)
    }
    FLOATS_TO(bfloats_from_floats)
#else
    (void)from, (void)kind, (void)to, (void)count; /* only float kernels have 16-bit results */
#endif
}

#endif
