/* The vector type that the kernels are written in, and the primitives on it.
 *
 * Design:
 * a) `real` is float or double (SOFTMAX_CY_REAL_BITS, set by setup.py): one kernel source serves both.
 * b) `vreal` is opaque and ALWAYS 64 bytes: LANES = 16 float or 8 double, whatever the instruction set. It is made of
 *    PARTS registers of SOFTMAX_CY_VECTOR_BYTES each: 1 with AVX-512, 2 with AVX2, 4 with SSE2 and NEON. A kernel that
 *    adds element i into lane i % LANES therefore adds in the same order everywhere: the same bits by construction.
 * c) Parts are GCC/Clang vector types, and any width compiles for any target (the compiler splits what is too wide),
 *    so the 512-bit kernels can be built and tested with AVX2 alone. Intrinsics stand only where they pay.
 * d) Everything is `static`: a function compiled for AVX-512 must never be merged by the linker into baseline code.
 * e) Where the target has FMA, v_fma and real_fma round once; elsewhere they round twice (the baseline's stated
 *    difference in bits).
 */
#ifndef SOFTMAX_CY_SIMD_H
#define SOFTMAX_CY_SIMD_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "constants.h"

#ifndef SOFTMAX_CY_VECTOR_BYTES
#if defined(__AVX512F__)
#define SOFTMAX_CY_VECTOR_BYTES 64
#elif defined(__AVX__)
#define SOFTMAX_CY_VECTOR_BYTES 32
#else
#define SOFTMAX_CY_VECTOR_BYTES 16
#endif
#endif

#if SOFTMAX_CY_REAL_BITS == 32
typedef float real;
typedef int32_t real_bits;
typedef uint32_t real_word;
#define MANTISSA_BITS 23
#define REAL_MIN FLT_MIN
#define scalar_fma __builtin_fmaf
#else
typedef double real;
typedef int64_t real_bits;
typedef uint64_t real_word;
#define MANTISSA_BITS 52
#define REAL_MIN DBL_MIN
#define scalar_fma __builtin_fma
#endif

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define HAS_FMA 1
#else
#define HAS_FMA 0
#endif

#define VREAL_BYTES 64
#define LANES ((ptrdiff_t)(VREAL_BYTES / sizeof(real)))
#define PART_LANES ((int)(SOFTMAX_CY_VECTOR_BYTES / sizeof(real)))
#define PARTS (VREAL_BYTES / SOFTMAX_CY_VECTOR_BYTES)
#define VECTOR_IS_LINE (PARTS == 1) /* where it straddles one, so does every load and store */
#define INLINE static inline __attribute__((always_inline, unused))

typedef real part __attribute__((vector_size(SOFTMAX_CY_VECTOR_BYTES)));
typedef real_bits part_bits __attribute__((vector_size(SOFTMAX_CY_VECTOR_BYTES)));

typedef struct {
    part part[PARTS];
} vreal;

/* Runs STATEMENT once a part with the constant P counting up. Written out, so that no pass of the compiler has to
 * unroll a loop before it may keep the parts in registers. */
/* clang-format off */
#define WITH_P(N, STATEMENT) { enum { P = N }; STATEMENT; }
/* clang-format on */
#if PARTS == 1
#define EACH_PART(STATEMENT) WITH_P(0, STATEMENT)
#elif PARTS == 2
#define EACH_PART(STATEMENT) WITH_P(0, STATEMENT) WITH_P(1, STATEMENT)
#elif PARTS == 4
#define EACH_PART(STATEMENT) WITH_P(0, STATEMENT) WITH_P(1, STATEMENT) WITH_P(2, STATEMENT) WITH_P(3, STATEMENT)
#else
#error "SOFTMAX_CY_VECTOR_BYTES is 16, 32 or 64"
#endif

INLINE void prefetch(const void *address) { __builtin_prefetch(address, 0, 3); }
INLINE void prefetch_to_write(const void *address) { __builtin_prefetch(address, 1, 3); }

/* ---- one part ---------------------------------------------------------------------------------------------- */

/* X86(max) is _mm256_max_ps or one of its five sisters, where the build's part is a register of the target. */
#if SOFTMAX_CY_VECTOR_BYTES == 64 && defined(__AVX512F__)
#define X86_PREFIX _mm512
#elif SOFTMAX_CY_VECTOR_BYTES == 32 && defined(__AVX__)
#define X86_PREFIX _mm256
#elif SOFTMAX_CY_VECTOR_BYTES == 16 && defined(__SSE2__)
#define X86_PREFIX _mm
#endif
#define PASTE(PREFIX, NAME, SUFFIX) PREFIX##_##NAME##_##SUFFIX
#define PASTE_EXPANDED(PREFIX, NAME, SUFFIX) PASTE(PREFIX, NAME, SUFFIX)
#if SOFTMAX_CY_REAL_BITS == 32
#define PASTE_REAL(PREFIX, NAME) PASTE_EXPANDED(PREFIX, NAME, ps)
#else
#define PASTE_REAL(PREFIX, NAME) PASTE_EXPANDED(PREFIX, NAME, pd)
#endif
#define X86(NAME) PASTE_REAL(X86_PREFIX, NAME)

/* X86_MASK(cmp) is _mm512_cmp_ps_mask or _mm512_cmp_pd_mask. */
#if SOFTMAX_CY_REAL_BITS == 32
#define PASTE_MASK(PREFIX, NAME) PASTE_EXPANDED(PREFIX, NAME, ps_mask)
#else
#define PASTE_MASK(PREFIX, NAME) PASTE_EXPANDED(PREFIX, NAME, pd_mask)
#endif
#define X86_MASK(NAME) PASTE_MASK(X86_PREFIX, NAME)

INLINE part part_fma(part a, part b, part c) {
#if HAS_FMA && defined(X86_PREFIX)
    return X86(fmadd)(a, b, c);
#elif HAS_FMA
    part r;
    for (int j = 0; j < PART_LANES; j++)
        r[j] = scalar_fma(a[j], b[j], c[j]);
    return r;
#else
    return a * b + c;
#endif
}

INLINE part part_select(part_bits mask, part yes, part no) {
    return (part)((mask & (part_bits)yes) | (~mask & (part_bits)no));
}

/* Whether any lane of a mask is set. */
INLINE int part_any(part_bits mask) {
#if SOFTMAX_CY_VECTOR_BYTES == 32 && defined(__AVX__)
    return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#elif SOFTMAX_CY_VECTOR_BYTES == 16 && defined(__SSE2__)
    return _mm_movemask_epi8((__m128i)mask) != 0;
#else
    int64_t words[sizeof mask / sizeof(int64_t)], any = 0;
    memcpy(words, &mask, sizeof mask);
    for (size_t j = 0; j < sizeof words / sizeof *words; j++)
        any |= words[j];
    return any != 0;
#endif
}

/* a > b ? a : b: where either is NaN the result is b. */
INLINE part part_max(part a, part b) {
#if defined(X86_PREFIX)
    return X86(max)(a, b);
#else
    part_bits greater = a > b;
    return (part)((greater & (part_bits)a) | (~greater & (part_bits)b));
#endif
}

/* a < b ? a : b: where either is NaN the result is b. */
INLINE part part_min(part a, part b) {
#if defined(X86_PREFIX)
    return X86(min)(a, b);
#else
    part_bits less = a < b;
    return (part)((less & (part_bits)a) | (~less & (part_bits)b));
#endif
}

/* ---- vreal ------------------------------------------------------------------------------------------------- */

INLINE vreal v_set(real value) {
    vreal r;
    EACH_PART(r.part[P] = value - (part){0})
    return r;
}

/* Loads and stores take any address. */
INLINE vreal v_load(const void *from) {
    vreal r;
    EACH_PART(memcpy(&r.part[P], (const char *)from + P * sizeof(part), sizeof(part)))
    return r;
}

INLINE void v_store(void *to, vreal a) { EACH_PART(memcpy((char *)to + P * sizeof(part), &a.part[P], sizeof(part))) }

/* Writes past the caches, for results that are larger than they are. `to` is a multiple of VREAL_BYTES; v_stream_end
 * comes before anybody else may read. */
INLINE void v_stream(void *to, vreal a) {
#if defined(X86_PREFIX)
    EACH_PART(X86(stream)((real *)to + P * PART_LANES, a.part[P]))
#else
    v_store(to, a);
#endif
}

INLINE void v_stream_end(void) {
#if defined(X86_PREFIX)
    _mm_sfence();
#endif
}

INLINE vreal v_add(vreal a, vreal b) {
    EACH_PART(a.part[P] += b.part[P])
    return a;
}

INLINE vreal v_sub(vreal a, vreal b) {
    EACH_PART(a.part[P] -= b.part[P])
    return a;
}

INLINE vreal v_mul(vreal a, vreal b) {
    EACH_PART(a.part[P] *= b.part[P])
    return a;
}

INLINE vreal v_fma(vreal a, vreal b, vreal c) {
    EACH_PART(a.part[P] = part_fma(a.part[P], b.part[P], c.part[P]))
    return a;
}

INLINE vreal v_max(vreal a, vreal b) {
    EACH_PART(a.part[P] = part_max(a.part[P], b.part[P]))
    return a;
}

INLINE vreal v_div(vreal a, vreal b) {
    EACH_PART(a.part[P] /= b.part[P])
    return a;
}

/* value where a > b, elsewhere (where either is NaN, too) 0. */
INLINE vreal v_where_greater(vreal a, vreal b, vreal value) {
    EACH_PART(value.part[P] = (part)((part_bits)value.part[P] & (part_bits)(a.part[P] > b.part[P])))
    return value;
}

/* value where a == b, elsewhere (where either is NaN, too) 0. */
INLINE vreal v_where_equal(vreal a, vreal b, vreal value) {
    EACH_PART(value.part[P] = (part)((part_bits)value.part[P] & (part_bits)(a.part[P] == b.part[P])))
    return value;
}

/* value where a != b (where either is NaN, too), elsewhere 0. */
INLINE vreal v_where_unequal(vreal a, vreal b, vreal value) {
    EACH_PART(value.part[P] = (part)((part_bits)value.part[P] & (part_bits)(a.part[P] != b.part[P])))
    return value;
}

/* yes where a == b, elsewhere (where either is NaN, too) no. */
INLINE vreal v_select_equal(vreal a, vreal b, vreal yes, vreal no) {
    EACH_PART(yes.part[P] = part_select(a.part[P] == b.part[P], yes.part[P], no.part[P]))
    return yes;
}

/* yes where low <= a < high, elsewhere a. */
INLINE vreal v_select_between(vreal a, real low, real high, vreal yes) {
    EACH_PART(a.part[P] = part_select((a.part[P] >= low) & (a.part[P] < high), yes.part[P], a.part[P]))
    return a;
}

/* Whether any lane of a or b, which are not negative, is at least `low`, positive, and less than `high`. */
INLINE int v_any_between(vreal a, vreal b, real low, real high) {
#if SOFTMAX_CY_VECTOR_BYTES == 64 && defined(__AVX512F__)
    /* Such numbers are in the order of their bits, and what is below `low` wraps around: one comparison into a mask, the
     * slow part of this, instead of four. */
    part_bits from = (part_bits)v_set(low).part[0], to = (part_bits)v_set(high).part[0];
    __m512i first = (__m512i)((part_bits)a.part[0] - from), second = (__m512i)((part_bits)b.part[0] - from);
#if SOFTMAX_CY_REAL_BITS == 32
    return _mm512_cmplt_epu32_mask(_mm512_min_epu32(first, second), (__m512i)(to - from)) != 0;
#else
    return _mm512_cmplt_epu64_mask(_mm512_min_epu64(first, second), (__m512i)(to - from)) != 0;
#endif
#else
    part_bits any = {0};
    EACH_PART(any |= ((a.part[P] >= low) & (a.part[P] < high)) | ((b.part[P] >= low) & (b.part[P] < high)))
    return part_any(any);
#endif
}

/* Whether any lane of a or b is less than `than`; one that is NaN is not. */
INLINE int v_any_less(vreal a, vreal b, real than) {
    part_bits any = {0};
#if SOFTMAX_CY_VECTOR_BYTES == 64 && defined(__AVX512F__)
    (void)any;
    return X86_MASK(cmp)(part_min(a.part[0], b.part[0]), v_set(than).part[0], _CMP_LT_OQ) != 0;
#else
    part least = part_min(a.part[0], b.part[0]);
    EACH_PART(least = part_min(part_min(a.part[P], b.part[P]), least))
    any = least < than;
    return part_any(any);
#endif
}

/* Whether all lanes of a equal those of b; NaN equals nothing. */
INLINE int v_all_equal(vreal a, vreal b) {
#if SOFTMAX_CY_VECTOR_BYTES == 64 && defined(__AVX512F__)
    return X86_MASK(cmp)(a.part[0], b.part[0], _CMP_NEQ_UQ) == 0;
#else
    part_bits unequal = {0};
    EACH_PART(unequal |= a.part[P] != b.part[P])
    return !part_any(unequal);
#endif
}

/* Whether any lane of a or b is NaN. */
INLINE int v_any_nan(vreal a, vreal b) {
#if SOFTMAX_CY_VECTOR_BYTES == 64 && defined(__AVX512F__)
    return X86_MASK(cmp)(a.part[0], b.part[0], _CMP_UNORD_Q) != 0;
#elif defined(X86_PREFIX) && defined(__AVX__)
    part_bits any = {0};
    EACH_PART(any |= (part_bits)X86(cmp)(a.part[P], b.part[P], _CMP_UNORD_Q))
    return part_any(any);
#else
    part_bits any = {0};
    EACH_PART(any |= (a.part[P] != a.part[P]) | (b.part[P] != b.part[P]))
    return part_any(any);
#endif
}

/* The low bits of each lane, moved into the exponent field: what POWER_ROUNDER left there becomes a power of two. */
INLINE vreal v_low_bits_to_exponent(vreal a) {
    EACH_PART(a.part[P] = (part)((part_bits)a.part[P] << MANTISSA_BITS))
    return a;
}

/* The lowest bits of n look up the power and all of them make the exponent: POWERS holds the bits of
 * 2^((j + theta) / STEPS) less those that j leaves there. */
INLINE part part_power(part a) {
    /* A register of 64 bytes holds the table twice. What overflows wraps around. */
    static const real_word powers[VREAL_BYTES / sizeof(real)] __attribute__((aligned(VREAL_BYTES))) = {POWERS, POWERS};
    typedef real_word part_words __attribute__((vector_size(SOFTMAX_CY_VECTOR_BYTES)));
    part_words entries, n = (part_words)a;
#if SOFTMAX_CY_VECTOR_BYTES == 64 && defined(__AVX512F__)
#if SOFTMAX_CY_REAL_BITS == 32
    entries = (part_words)_mm512_permutexvar_epi32((__m512i)a, _mm512_load_si512(powers));
#else
    entries = (part_words)_mm512_permutexvar_epi64((__m512i)a, _mm512_load_si512(powers));
#endif
#elif SOFTMAX_CY_VECTOR_BYTES == 32 && defined(__AVX2__)
    __m256i index = (__m256i)a;
#if SOFTMAX_CY_REAL_BITS == 64
    /* The halves of a number are looked up by themselves, at 2 n and 2 n + 1. ROUNDER leaves n in the lowest 16 bits and 1
     * in the next, so one multiplication of pairs makes both. */
    index = _mm256_madd_epi16(_mm256_shuffle_epi32(index, 0xa0), _mm256_set1_epi64x(0x0001000200000002));
#endif
    entries = (part_words)_mm256_permutevar8x32_epi32(_mm256_load_si256((const __m256i *)powers), index);
#elif defined(__aarch64__)
    uint8x16x2_t table = vld1q_u8_x2((const uint8_t *)powers);
#if SOFTMAX_CY_REAL_BITS == 32
    uint32x4_t index = vandq_u32(n, vdupq_n_u32(7));
    index = vaddq_u32(vmulq_n_u32(index, 0x04040404), vdupq_n_u32(0x03020100));
#else
    uint8x16_t lowest = vqtbl1q_u8((uint8x16_t)n, (uint8x16_t){0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8});
    uint8x16_t index = vshlq_n_u8(vandq_u8(lowest, vdupq_n_u8(3)), 3);
    index = vaddq_u8(index, (uint8x16_t){0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7});
#endif
    entries = (part_words)vqtbl2q_u8(table, (uint8x16_t)index);
#else
    for (int j = 0; j < PART_LANES; j++)
        entries[j] = powers[n[j] % STEPS];
#endif
    return (part)(entries + (n << POWER_SHIFT));
}

/* 2^((n + theta) / STEPS), raised, for the n that ROUNDER left in the low bits. */
INLINE vreal v_power(vreal a) {
    EACH_PART(a.part[P] = part_power(a.part[P]))
    return a;
}

/* ---- quarters ------------------------------------------------------------------------------------------------ */

/* Every build cuts the 64 bytes into the same four quarters and joins quarter 0 with 2, 1 with 3, then the two results,
 * then the lanes of that in the same way: lane j always meets lane j + half. */
typedef real quarter __attribute__((vector_size(16)));
enum { QUARTER_LANES = 16 / sizeof(real) };

INLINE quarter v_quarter(vreal a, int index) {
    quarter q;
    memcpy(&q, (const char *)&a + (size_t)index * sizeof q, sizeof q);
    return q;
}

/* ---- the first `count` lanes: the ends of rows, 0 <= count <= LANES ------------------------------------------ */

#define ALL_16 -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1
static const int32_t ones_then_zeros[2 * VREAL_BYTES / 4] __attribute__((aligned(VREAL_BYTES))) = {ALL_16};

INLINE part_bits part_mask(ptrdiff_t count, int p) {
    part_bits mask;
    memcpy(&mask, (const char *)ones_then_zeros + VREAL_BYTES - count * (ptrdiff_t)sizeof(real) + p * sizeof(part),
           sizeof mask);
    return mask;
}

/* Zero in every lane from `count` on. */
INLINE vreal v_keep_first(vreal a, ptrdiff_t count) {
    EACH_PART(a.part[P] = (part)((part_bits)a.part[P] & part_mask(count, P)))
    return a;
}

/* `fill` in every lane from `count` on; reads no byte beyond the lanes it was asked for. */
INLINE vreal v_load_first(const void *from, ptrdiff_t count, real fill) {
    vreal r;
#if SOFTMAX_CY_VECTOR_BYTES == 64 && defined(__AVX512F__)
    r.part[0] = X86(mask_loadu)(v_set(fill).part[0], (uint16_t)((1u << count) - 1), from);
#elif SOFTMAX_CY_VECTOR_BYTES == 32 && defined(__AVX2__)
    const real *start = (const real *)from;
    EACH_PART(r.part[P] =
                  part_select(part_mask(count, P), X86(maskload)(start + P * PART_LANES, (__m256i)part_mask(count, P)),
                              v_set(fill).part[P]))
#else
    real lanes[VREAL_BYTES / sizeof(real)];
    for (ptrdiff_t j = 0; j < LANES; j++)
        lanes[j] = fill;
    memcpy(lanes, from, (size_t)count * sizeof(real));
    r = v_load(lanes);
#endif
    return r;
}

/* Writes no byte beyond the lanes it was asked for. */
INLINE void v_store_first(void *to, vreal a, ptrdiff_t count) {
#if SOFTMAX_CY_VECTOR_BYTES == 64 && defined(__AVX512F__)
    X86(mask_storeu)(to, (uint16_t)((1u << count) - 1), a.part[0]);
#elif SOFTMAX_CY_VECTOR_BYTES == 32 && defined(__AVX2__)
    /* A masked store takes AMD some 20 cycles; these branches go the same way for all slices of a length. */
    char *next = (char *)to;
    part rest = a.part[0];
    if (count >= PART_LANES) {
        memcpy(next, &rest, sizeof rest);
        next += sizeof rest;
        rest = a.part[1];
        if (count == LANES)
            memcpy(next, &rest, sizeof rest);
    }
    quarter some = v_quarter((vreal){{rest}}, 0);
    if (count & QUARTER_LANES) {
        memcpy(next, &some, sizeof some);
        next += sizeof some;
        some = v_quarter((vreal){{rest}}, 1);
    }
#if SOFTMAX_CY_REAL_BITS == 32
    if (count & 2) {
        memcpy(next, &some, sizeof some / 2);
        next += sizeof some / 2;
        some = __builtin_shufflevector(some, some, 2, 3, 2, 3);
    }
#endif
    if (count & 1)
        memcpy(next, &some, sizeof(real));
#else
    memcpy(to, &a, (size_t)count * sizeof(real));
#endif
}

/* ---- across lanes -------------------------------------------------------------------------------------------- */

INLINE real scalar_max(real a, real b) { return a > b ? a : b; }

INLINE quarter quarter_max(quarter a, quarter b) {
#if defined(__SSE2__)
    return PASTE_REAL(_mm, max)(a, b);
#else
    for (int j = 0; j < QUARTER_LANES; j++)
        a[j] = scalar_max(a[j], b[j]);
    return a;
#endif
}

/* rows[i][j] becomes rows[j][i], for four rows of four numbers. */
#define TRANSPOSE_FOURS(TYPE, ROWS)                                                                                    \
    do {                                                                                                               \
        TYPE a = __builtin_shufflevector((ROWS)[0], (ROWS)[1], 0, 4, 1, 5);                                            \
        TYPE b = __builtin_shufflevector((ROWS)[0], (ROWS)[1], 2, 6, 3, 7);                                            \
        TYPE c = __builtin_shufflevector((ROWS)[2], (ROWS)[3], 0, 4, 1, 5);                                            \
        TYPE d = __builtin_shufflevector((ROWS)[2], (ROWS)[3], 2, 6, 3, 7);                                            \
        (ROWS)[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);                                                         \
        (ROWS)[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);                                                         \
        (ROWS)[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);                                                         \
        (ROWS)[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);                                                         \
    } while (0)

/* The same for quarters. */
INLINE void transpose_square(quarter rows[QUARTER_LANES]) {
#if SOFTMAX_CY_REAL_BITS == 32
    TRANSPOSE_FOURS(quarter, rows);
#else
    quarter a = __builtin_shufflevector(rows[0], rows[1], 0, 2);
    rows[1] = __builtin_shufflevector(rows[0], rows[1], 1, 3);
    rows[0] = a;
#endif
}

INLINE real v_first(vreal a) { return a.part[0][0]; }

/* One lane of an array of vectors. */
INLINE real v_lane(const vreal *a, ptrdiff_t lane) {
    real value;
    memcpy(&value, (const char *)a + lane * (ptrdiff_t)sizeof value, sizeof value);
    return value;
}

INLINE quarter largest_quarter(vreal a) {
    return quarter_max(quarter_max(v_quarter(a, 0), v_quarter(a, 2)), quarter_max(v_quarter(a, 1), v_quarter(a, 3)));
}

/* The largest lane. No lane is NaN. */
INLINE real v_max_across(vreal a) {
    quarter m = largest_quarter(a);
#if SOFTMAX_CY_REAL_BITS == 32
    return scalar_max(scalar_max(m[0], m[2]), scalar_max(m[1], m[3]));
#else
    return scalar_max(m[0], m[1]);
#endif
}

/* What v_sum_across does, for a slice a lane: lanes[l] holds what a slice by itself has in lane l. */
INLINE vreal add_lanes(const vreal lanes[VREAL_BYTES / sizeof(real)]) {
    enum { Q = QUARTER_LANES };
#define FOUR(J) v_add(v_add(lanes[J], lanes[(J) + 2 * Q]), v_add(lanes[(J) + Q], lanes[(J) + 3 * Q]))
#if SOFTMAX_CY_REAL_BITS == 32
    return v_add(v_add(FOUR(0), FOUR(2)), v_add(FOUR(1), FOUR(3)));
#else
    return v_add(FOUR(0), FOUR(1));
#endif
#undef FOUR
}

INLINE quarter sum_of_quarters(vreal a) {
    return (v_quarter(a, 0) + v_quarter(a, 2)) + (v_quarter(a, 1) + v_quarter(a, 3));
}

INLINE real v_sum_across(vreal a) {
    quarter s = sum_of_quarters(a);
#if SOFTMAX_CY_REAL_BITS == 32
    return (s[0] + s[2]) + (s[1] + s[3]);
#else
    return s[0] + s[1];
#endif
}

/* Of up to LANES vectors at once: lane l of the result is of vector l. Each takes less than it takes by itself, and there
 * is no chain to wait for. `rows` has room for LANES; those up to the next multiple of QUARTER_LANES hold some numbers. */

INLINE vreal v_max_across_each(const vreal *rows, ptrdiff_t count) {
    vreal result = v_set(0);
    for (ptrdiff_t row = 0; row < count; row += QUARTER_LANES) {
        quarter square[QUARTER_LANES];
        for (int j = 0; j < QUARTER_LANES; j++)
            square[j] = largest_quarter(rows[row + j]);
        transpose_square(square);
        for (int j = 1; j < QUARTER_LANES; j++)
            square[0] = quarter_max(square[0], square[j]);
        memcpy((char *)&result + row * (ptrdiff_t)sizeof(real), square, sizeof(quarter));
    }
    return result;
}

INLINE vreal v_sum_across_each(const vreal *rows, ptrdiff_t count) {
    vreal result = v_set(0);
    for (ptrdiff_t row = 0; row < count; row += QUARTER_LANES) {
        quarter square[QUARTER_LANES];
        for (int j = 0; j < QUARTER_LANES; j++)
            square[j] = sum_of_quarters(rows[row + j]);
        transpose_square(square);
        for (int j = 0; j < QUARTER_LANES / 2; j++)
            square[j] += square[j + QUARTER_LANES / 2];
        for (int j = 1; j < QUARTER_LANES / 2; j++)
            square[0] += square[j];
        memcpy((char *)&result + row * (ptrdiff_t)sizeof(real), square, sizeof(quarter));
    }
    return result;
}

#endif
