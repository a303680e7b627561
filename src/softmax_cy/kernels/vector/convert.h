/* Elements of any kind to reals, and reals to 16-bit floats.
 *
 * Only the float kernels have 16-bit results. Where nothing better is at hand a 16-bit float is taken apart with
 * integer operations that any instruction set has and that compilers turn into vectors.
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

/* The same for bfloat16, whose bits are the upper half. A NaN among results has the one payload (sums.h), which rounding
 * leaves as it is. */
INLINE chunk_of_32_bits chunk_to_bfloat(chunk_of_32_bits bits) { return (bits + 0x7fff + (bits >> 16 & 1)) >> 16; }

/* CHUNK elements of one kind to another, at any address: loaded before anything is stored. Where the hardware converts,
 * it does so to the same bits; its conversion to bfloat16 does not (it flushes subnormal numbers to 0). */

INLINE void floats_from_halves(const char *from, char *to) {
#if defined(__AVX512F__)
    _mm512_storeu_ps(to, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from)));
#elif defined(__F16C__)
    __m256 low = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
    __m256 high = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from + 1));
    _mm256_storeu_ps((float *)to, low);
    _mm256_storeu_ps((float *)to + 8, high);
#else
    chunk_of_16_bits halves;
    memcpy(&halves, from, sizeof halves);
    chunk_of_32_bits floats = chunk_from_half(__builtin_convertvector(halves, chunk_of_32_bits));
    memcpy(to, &floats, sizeof floats);
#endif
}

INLINE void floats_from_bfloats(const char *from, char *to) {
#if defined(__AVX512BW__)
    /* Every number twice, and zeros in the place of the first. */
    /* clang-format off */
    static const uint16_t twice[32] __attribute__((aligned(64))) = {
        0, 0, 1, 1, 2,  2,  3,  3,  4,  4,  5,  5,  6,  6,  7,  7,
        8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15};
    /* clang-format on */
    __m512i bfloats = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)from));
    _mm512_storeu_si512(to, _mm512_maskz_permutexvar_epi16(0xaaaaaaaa, _mm512_load_si512(twice), bfloats));
#elif defined(__AVX2__)
    __m256i low = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from));
    __m256i high = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from + 1));
    _mm256_storeu_si256((__m256i *)to, _mm256_slli_epi32(low, 16));
    _mm256_storeu_si256((__m256i *)to + 1, _mm256_slli_epi32(high, 16));
#else
    chunk_of_16_bits bfloats;
    memcpy(&bfloats, from, sizeof bfloats);
    chunk_of_32_bits floats = __builtin_convertvector(bfloats, chunk_of_32_bits) << 16;
    memcpy(to, &floats, sizeof floats);
#endif
}

INLINE void halves_from_floats(const char *from, char *to) {
#if defined(__AVX512F__)
    enum { ROUNDING = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph(_mm512_loadu_ps(from), ROUNDING));
#elif defined(__F16C__)
    enum { ROUNDING = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    __m128i low = _mm256_cvtps_ph(_mm256_loadu_ps((const float *)from), ROUNDING);
    __m128i high = _mm256_cvtps_ph(_mm256_loadu_ps((const float *)from + 8), ROUNDING);
    _mm_storeu_si128((__m128i *)to, low);
    _mm_storeu_si128((__m128i *)to + 1, high);
#else
    chunk_of_32_bits floats;
    memcpy(&floats, from, sizeof floats);
    chunk_of_16_bits halves = __builtin_convertvector(chunk_to_half(floats), chunk_of_16_bits);
    memcpy(to, &halves, sizeof halves);
#endif
}

#if defined(__AVX512BW__)
enum { BFLOATS_AT_ONCE = 2 * CHUNK };

INLINE __m512i sixteen_to_bfloat(const char *from) {
    __m512i bits = _mm512_loadu_si512(from), rounded = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
    __mmask16 odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000));
    return _mm512_mask_add_epi32(rounded, odd, rounded, _mm512_set1_epi32(1));
}

INLINE void bfloats_from_floats(const char *from, char *to) {
    /* clang-format off */
    static const uint16_t upper_halves[32] __attribute__((aligned(64))) = {
        1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
        33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    /* clang-format on */
    __m512i low = sixteen_to_bfloat(from), high = sixteen_to_bfloat(from + 4 * CHUNK);
    _mm512_storeu_si512(to, _mm512_permutex2var_epi16(low, _mm512_load_si512(upper_halves), high));
}
#else
enum { BFLOATS_AT_ONCE = CHUNK };

#if defined(__AVX2__)
INLINE __m256i eight_to_bfloat(__m256i bits) {
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
}
#endif

INLINE void bfloats_from_floats(const char *from, char *to) {
#if defined(__AVX2__)
    __m256i low = eight_to_bfloat(_mm256_loadu_si256((const __m256i *)from));
    __m256i high = eight_to_bfloat(_mm256_loadu_si256((const __m256i *)from + 1));
    /* Packed half by half, and put in order. */
    _mm256_storeu_si256((__m256i *)to, _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8));
#else
    chunk_of_32_bits floats;
    memcpy(&floats, from, sizeof floats);
    chunk_of_16_bits bfloats = __builtin_convertvector(chunk_to_bfloat(floats), chunk_of_16_bits);
    memcpy(to, &bfloats, sizeof bfloats);
#endif
}
#endif

/* Reads and writes AT_ONCE elements, or as many as are left: no byte beyond them. CONVERT(from, to) takes so many. */
#define EACH_CHUNK(AT_ONCE, FROM_BYTES, TO_BYTES, CONVERT)                                                             \
    for (ptrdiff_t i = 0; i < count; i += (AT_ONCE)) {                                                                 \
        if (count - i >= (AT_ONCE)) {                                                                                  \
            CONVERT(from + i * (FROM_BYTES), to + i * (TO_BYTES));                                                     \
        } else {                                                                                                       \
            char before[(AT_ONCE) * (FROM_BYTES)] = {0}, after[(AT_ONCE) * (TO_BYTES)];                                \
            memcpy(before, from + i * (FROM_BYTES), (size_t)(count - i) * (FROM_BYTES));                               \
            CONVERT(before, after);                                                                                    \
            memcpy(to + i * (TO_BYTES), after, (size_t)(count - i) * (TO_BYTES));                                      \
        }                                                                                                              \
    }                                                                                                                  \
    return;

#if SOFTMAX_CY_REAL_BITS == 32
#define REALS_FROM(KIND) EACH_CHUNK(CHUNK, 2, 4, floats_from_##KIND)
#else
#define DOUBLES_FROM(NAME, CONVERT)                                                                                    \
    INLINE void NAME(const char *from, char *to) {                                                                     \
        float floats[CHUNK];                                                                                           \
        double wide[CHUNK];                                                                                            \
        CONVERT(from, (char *)floats);                                                                                 \
        for (int j = 0; j < CHUNK; j++)                                                                                \
            wide[j] = floats[j];                                                                                       \
        memcpy(to, wide, sizeof wide);                                                                                 \
    }
DOUBLES_FROM(doubles_from_halves, floats_from_halves)
DOUBLES_FROM(doubles_from_bfloats, floats_from_bfloats)
#define REALS_FROM(KIND) EACH_CHUNK(CHUNK, 2, 8, doubles_from_##KIND)
#endif
#define NUMBERS_FROM(TYPE, TRUTH)                                                                                      \
    for (ptrdiff_t i = 0; i < count; i++) {                                                                            \
        TYPE number;                                                                                                   \
        memcpy(&number, from + i * (ptrdiff_t)sizeof number, sizeof number);                                           \
        real converted = (real)(TRUTH number);                                                                         \
        memcpy(to + i * (ptrdiff_t)sizeof converted, &converted, sizeof converted);                                    \
    }                                                                                                                  \
    return;

/* `count` elements side by side, in the byte order of the machine, to reals. */
static void widen(const char *restrict from, int kind, char *restrict to, ptrdiff_t count) {
    switch (kind & ~KIND_SWAPPED) {
    case KIND_FLOAT16:
        REALS_FROM(halves)
    case KIND_BFLOAT16:
        REALS_FROM(bfloats)
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

/* widen for 16-bit floats, and the largest of `top` and those that are not NaN: a pass less over what is in the cache. */
static real widen_to_max(const char *restrict from, int kind, char *restrict to, ptrdiff_t count, real top) {
    vreal tops = v_set(top);
    ptrdiff_t done = 0;
#if SOFTMAX_CY_REAL_BITS == 32
#define EACH_WHOLE_CHUNK(CONVERT)                                                                                      \
    for (; done + CHUNK <= count; done += CHUNK) {                                                                     \
        CONVERT(from + done * 2, to + done * 4);                                                                       \
        tops = v_max(v_load(to + done * 4), tops);                                                                     \
    }
    if (kind == KIND_FLOAT16) {
        EACH_WHOLE_CHUNK(floats_from_halves)
    } else {
        EACH_WHOLE_CHUNK(floats_from_bfloats)
    }
#undef EACH_WHOLE_CHUNK
#endif
    widen(from + done * 2, kind, to + done * (ptrdiff_t)sizeof(real), count - done);
    for (; done < count; done += LANES) {
        ptrdiff_t lanes = count - done < LANES ? count - done : LANES;
        tops = v_max(v_load_first(to + done * (ptrdiff_t)sizeof(real), lanes, top), tops);
    }
    return v_max_across(tops);
}

/* `count` reals side by side to the kind of a result; in place, if need be. */
static void narrow(const char *from, int kind, char *to, ptrdiff_t count) {
#if SOFTMAX_CY_REAL_BITS == 32
    if (kind == KIND_FLOAT16) {
        EACH_CHUNK(CHUNK, 4, 2, halves_from_floats)
    }
    EACH_CHUNK(BFLOATS_AT_ONCE, 4, 2, bfloats_from_floats)
#else
    (void)from, (void)kind, (void)to, (void)count; /* only float kernels have 16-bit results */
#endif
}

#endif
