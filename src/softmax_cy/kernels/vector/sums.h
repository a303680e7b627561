/* Sums of positive numbers that keep what their roundings lose, and the reciprocal of such a sum.
 *
 * Design:
 * a) Element i is added into lane i % LANES, so the order of the additions depends on the length of a slice and on
 *    nothing else.
 * b) Each lane keeps its rounding errors in a second accumulator. Those of the second are not kept: a caller takes the
 *    total after at most BLOCK_BYTES of elements (blocks.pxi), while they still vanish against one ulp, and adds the
 *    totals.
 * c) A total is a pair of doubles; a float32 sum needs only the first.
 */
#ifndef SOFTMAX_CY_SUMS_H
#define SOFTMAX_CY_SUMS_H

#include "simd.h"

#include <math.h> /* NAN, and nothing that computes */

/* `sum` starts at SEED, which is larger than any term. So sum >= term always, and the three operations of Dekker's
 * Fast2Sum (Numer. Math. 18, 1971) recover each rounding error exactly. */
typedef struct {
    vreal sum, lost;
} vsum;

/* The unevaluated sum hi + lo, |lo| far below |hi|. */
typedef struct {
    double hi, lo;
} total;

INLINE vsum vsum_start(void) {
    vsum s = {v_set(SEED), v_set(0)};
    return s;
}

/* Adds a + a * b, of which `term` is the rounded value: what that rounding took away is put back together with what the
 * sum's takes. a - (sum - s.sum) is exact as long as |b| is well below 1. */
INLINE vsum vsum_add(vsum s, vreal term, vreal a, vreal b) {
    vreal sum = v_add(s.sum, term);
    s.lost = v_add(s.lost, v_fma(a, b, v_sub(a, v_sub(sum, s.sum))));
    s.sum = sum;
    return s;
}

/* SUM = A + B rounded, ERROR = A + B - SUM exactly, whichever is larger (Knuth's TwoSum); scalars and vectors. */
#define TWO_SUM(TYPE, SUM, ERROR, A, B)                                                                                \
    TYPE SUM = (A) + (B), SUM##_b = SUM - (A);                                                                         \
    TYPE ERROR = ((A) - (SUM - SUM##_b)) + ((B) - SUM##_b)

/* ERROR = A * B - PRODUCT exactly, for PRODUCT = A * B rounded, without fma: Dekker's product over Veltkamp's split. */
#define DEKKER_PRODUCT_ERROR(TYPE, SPLITTER, ERROR, A, B, PRODUCT)                                                     \
    TYPE ERROR##_sa = SPLITTER * (A), ERROR##_sb = SPLITTER * (B);                                                     \
    TYPE ERROR##_ah = ERROR##_sa - (ERROR##_sa - (A)), ERROR##_bh = ERROR##_sb - (ERROR##_sb - (B));                   \
    TYPE ERROR##_al = (A) - ERROR##_ah, ERROR##_bl = (B) - ERROR##_bh;                                                 \
    TYPE ERROR = ((ERROR##_ah * ERROR##_bh - (PRODUCT)) + ERROR##_ah * ERROR##_bl + ERROR##_al * ERROR##_bh) +         \
                 ERROR##_al * ERROR##_bl

/* a * b - product, where product is a * b rounded. */
INLINE part part_product_error(part a, part b, part product) {
#if HAS_FMA
    return part_fma(a, b, -product);
#else
    DEKKER_PRODUCT_ERROR(part, SPLITTER, error, a, b, product);
    return error;
#endif
}

/* For b of one value in all lanes, positive, where |product| is not large in those lanes that count. */
INLINE vreal v_product_error(vreal a, vreal b, vreal product) {
#if !HAS_FMA
    /* The split of a very large factor would overflow. Only one of the two can be, so that one is made smaller. */
    vreal unit = v_set(16 * (SPLITTER - 1)), smaller = v_set(1 / (16 * (SPLITTER - 1))); /* powers of two */
    if (b.part[0][0] < 1)
        a = v_mul(a, smaller);
    else
        b = v_mul(b, smaller);
    product = v_mul(product, smaller);
#endif
    EACH_PART(a.part[P] = part_product_error(a.part[P], b.part[P], product.part[P]))
#if !HAS_FMA
    a = v_mul(a, unit);
#endif
    return a;
}

/* a * b + small with one rounding that counts, for |small| far below |a * b|. */
INLINE part part_product_sum(part a, part b, part small) {
#if HAS_FMA
    return part_fma(a, b, small);
#else
    part product = a * b;
    return product + (part_product_error(a, b, product) + small);
#endif
}

INLINE total total_of(real a) {
    total t = {a, 0};
    return t;
}

INLINE total total_add(total a, total b) {
    TWO_SUM(double, hi, error, a.hi, b.hi);
    total t = {hi, error + (a.lo + b.lo)};
    return t;
}

/* The same for terms of either sign: no seed, and Knuth's TwoSum. */
INLINE vsum signed_start(void) {
    vsum s = {v_set(0), v_set(0)};
    return s;
}

INLINE vsum signed_add(vsum s, vreal term) {
    vreal sum = v_add(s.sum, term), other = v_sub(sum, s.sum);
    vreal lost = v_add(v_sub(s.sum, v_sub(sum, other)), v_sub(term, other));
    s.lost = v_add(s.lost, lost);
    s.sum = sum;
    return s;
}

/* Adds a + a * b, of which `term` is the rounded value, as vsum_add does: for terms so small that they would all be lost
 * beside the seed. */
INLINE vsum signed_add_product(vsum s, vreal term, vreal a, vreal b) {
    vreal sum = v_add(s.sum, term), other = v_sub(sum, s.sum);
    vreal lost = v_add(v_sub(s.sum, v_sub(sum, other)), v_fma(a, b, v_sub(a, other)));
    s.lost = v_add(s.lost, lost);
    s.sum = sum;
    return s;
}

#if SOFTMAX_CY_REAL_BITS == 32
typedef double wide_quarter __attribute__((vector_size(32)));

INLINE wide_quarter quarter_widen(quarter a) {
#if defined(__AVX__)
    return _mm256_cvtps_pd(a);
#else
    return __builtin_convertvector(a, wide_quarter);
#endif
}
#endif

/* A sum over the four quarters of its lanes: four doubles that hold all digits, or two and what they have lost. */
typedef struct {
#if SOFTMAX_CY_REAL_BITS == 32
    wide_quarter sum;
#else
    quarter sum, lost;
#endif
} quarter_sum;

INLINE quarter_sum sum_quarters(vsum s) {
    quarter_sum q;
    vreal sum = s.sum;
#if SOFTMAX_CY_REAL_BITS == 32 && SOFTMAX_CY_VECTOR_BYTES == 64 && defined(__AVX512F__)
    __m512 lost = s.lost.part[0];
#define LOW(A) _mm512_cvtps_pd(_mm512_castps512_ps256(A))
#define HIGH(A) _mm512_cvtps_pd(_mm512_extractf32x8_ps(A, 1))
    __m512d w = (LOW(sum.part[0]) + LOW(lost)) + (HIGH(sum.part[0]) + HIGH(lost));
#undef LOW
#undef HIGH
    q.sum = _mm512_castpd512_pd256(w) + _mm512_extractf64x4_pd(w, 1);
#elif SOFTMAX_CY_REAL_BITS == 32
#define WIDE(Q) (quarter_widen(v_quarter(sum, Q)) + quarter_widen(v_quarter(s.lost, Q)))
    q.sum = (WIDE(0) + WIDE(2)) + (WIDE(1) + WIDE(3));
#undef WIDE
#else
#define LOST(Q) v_quarter(s.lost, Q)
    TWO_SUM(quarter, even, even_error, v_quarter(sum, 0), v_quarter(sum, 2));
    TWO_SUM(quarter, odd, odd_error, v_quarter(sum, 1), v_quarter(sum, 3));
    TWO_SUM(quarter, both, both_error, even, odd);
    q.sum = both;
    q.lost = both_error + ((even_error + (LOST(0) + LOST(2))) + (odd_error + (LOST(1) + LOST(3))));
#undef LOST
#endif
    return q;
}

INLINE total signed_total(vsum s) {
    quarter_sum q = sum_quarters(s);
#if SOFTMAX_CY_REAL_BITS == 32
    total t = {(q.sum[0] + q.sum[2]) + (q.sum[1] + q.sum[3]), 0};
#else
    TWO_SUM(double, hi, error, q.sum[0], q.sum[1]);
    total t = {hi, error + (q.lost[0] + q.lost[1])};
#endif
    return t;
}

INLINE vsum vsum_without_seed(vsum s) {
    s.sum = v_sub(s.sum, v_set(SEED)); /* exact: a multiple of ulp(s.sum), smaller than s.sum */
    return s;
}

INLINE total vsum_total(vsum s) { return signed_total(vsum_without_seed(s)); }

/* The totals of the slices in the lanes of a vector. */
typedef struct {
    double hi[VREAL_BYTES / sizeof(real)], lo[VREAL_BYTES / sizeof(real)];
} totals;

/* signed_total of up to LANES sums, one of them a lane: v_sum_across_each. Lanes beyond stay what they are. */
INLINE void totals_set_each(totals *t, const vsum *rows, ptrdiff_t count) {
#if SOFTMAX_CY_REAL_BITS == 32
    for (ptrdiff_t row = 0; row < count; row += 4) {
        wide_quarter square[4];
        for (int j = 0; j < 4; j++)
            square[j] = sum_quarters(rows[row + j]).sum;
        TRANSPOSE_FOURS(wide_quarter, square);
        square[0] = (square[0] + square[2]) + (square[1] + square[3]);
        memcpy(t->hi + row, square, sizeof *square);
        memset(t->lo + row, 0, sizeof *square);
    }
#else
    for (ptrdiff_t row = 0; row < count; row += 2) {
        quarter_sum a = sum_quarters(rows[row]), b = sum_quarters(rows[row + 1]);
        quarter sums[2] = {a.sum, b.sum}, lost[2] = {a.lost, b.lost};
        transpose_square(sums);
        transpose_square(lost);
        TWO_SUM(quarter, hi, error, sums[0], sums[1]);
        error += lost[0] + lost[1];
        memcpy(t->hi + row, &hi, sizeof hi);
        memcpy(t->lo + row, &error, sizeof error);
    }
#endif
}

INLINE vsum vsum_harmless(void) {
    vsum s = {v_set((real)RAISE), v_set(0)};
    return s;
}

/* What signed_total makes of one sum, lane by lane: terms[l] holds what a slice by itself has in lane l, and from `count`
 * on there is nothing but zeros. */
INLINE totals signed_totals(const vsum terms[VREAL_BYTES / sizeof(real)], ptrdiff_t count) {
    totals t;
#if SOFTMAX_CY_REAL_BITS == 32
    wide_quarter sums[VREAL_BYTES / sizeof(real)][4];
    for (ptrdiff_t j = 0; j < count; j++)
        for (int q = 0; q < 4; q++)
            sums[j][q] = quarter_widen(v_quarter(terms[j].sum, q)) + quarter_widen(v_quarter(terms[j].lost, q));
    for (ptrdiff_t half = LANES / 2; half > 0; count = count < half ? count : half, half /= 2)
        for (ptrdiff_t j = 0; j + half < count; j++)
            for (int q = 0; q < 4; q++)
                sums[j][q] += sums[j + half][q];
    memcpy(t.hi, sums[0], sizeof t.hi);
    memset(t.lo, 0, sizeof t.lo);
#else
    vsum sums[VREAL_BYTES / sizeof(real)];
    memcpy(sums, terms, (size_t)count * sizeof *sums);
    for (ptrdiff_t half = LANES / 2; half > 0; count = count < half ? count : half, half /= 2)
        for (ptrdiff_t j = 0; j + half < count; j++) {
            sums[j].lost = v_add(sums[j].lost, sums[j + half].lost);
            sums[j] = signed_add(sums[j], sums[j + half].sum);
        }
    memcpy(t.hi, &sums[0].sum, sizeof t.hi);
    memcpy(t.lo, &sums[0].lost, sizeof t.lo);
#endif
    return t;
}

INLINE totals totals_start(void) {
    totals t = {{0}, {0}};
    return t;
}

/* What lanes without a slice may hold: a sum whose reciprocal and logarithm are numbers. */
INLINE totals totals_harmless(void) {
    totals t = totals_start();
    for (int j = 0; j < LANES; j++)
        t.hi[j] = 4 * (double)RAISE;
    return t;
}

INLINE totals totals_add(totals a, totals b) {
    for (int j = 0; j < LANES; j++) {
        TWO_SUM(double, hi, error, a.hi[j], b.hi[j]);
        a.lo[j] = error + (a.lo[j] + b.lo[j]);
        a.hi[j] = hi;
    }
    return a;
}

/* Of the largest exponential: logarithm.pxi. */
#define FEW_OTHERS 0x1p-10

INLINE int any_total_below(const totals *t, double bound) {
    int any = 0;
    for (int j = 0; j < LANES; j++)
        any |= t->hi[j] < bound;
    return any;
}

INLINE totals totals_of(vreal a) {
    real lanes[VREAL_BYTES / sizeof(real)];
    totals t = totals_start();
    v_store(lanes, a);
    for (int j = 0; j < LANES; j++)
        t.hi[j] = lanes[j];
    return t;
}

/* Adds to a sum, or begins it. Rare, and so a call. */
static __attribute__((noinline, unused)) void totals_join(totals *sum, vreal a, int first) {
    totals t = totals_of(a);
    *sum = first ? t : totals_add(*sum, t);
}

/* Each hi + lo. */
INLINE totals totals_of_pairs(vreal hi, vreal lo) {
    totals t = totals_of(hi), low = totals_of(lo);
    memcpy(t.lo, low.hi, sizeof t.lo);
    return t;
}

INLINE void totals_set(totals *t, ptrdiff_t lane, total one) {
    t->hi[lane] = one.hi;
    t->lo[lane] = one.lo;
}

INLINE vreal totals_rounded(const totals *t) {
    real lanes[VREAL_BYTES / sizeof(real)];
    for (int j = 0; j < LANES; j++)
        lanes[j] = (real)(t->hi[j] + t->lo[j]);
    return v_load(lanes);
}

/* a / b, where b is not next to 0. */
INLINE vreal totals_quotient(const totals *a, const totals *b) {
    real lanes[VREAL_BYTES / sizeof(real)];
    for (int j = 0; j < LANES; j++) {
        double by = b->hi[j] + b->lo[j];
        lanes[j] = (real)((a->hi[j] + a->lo[j]) / (by > 1 / RAISE ? by : 1 / RAISE));
    }
    return v_load(lanes);
}

INLINE total totals_at(const totals *t, ptrdiff_t lane) {
    total one = {t->hi[lane], t->lo[lane]};
    return one;
}

/* a * b - product, where product is a * b rounded. */
INLINE double product_error(double a, double b, double product) {
#if HAS_FMA
    return __builtin_fma(a, b, -product);
#else
    /* The split of a very large factor would overflow. */
    double a_unit = a > 0x1p990 || a < -0x1p990 ? 0x1p-60 : 1, b_unit = b > 0x1p990 || b < -0x1p990 ? 0x1p-60 : 1;
    a *= a_unit, b *= b_unit, product = product * a_unit * b_unit;
    DEKKER_PRODUCT_ERROR(double, 134217729.0 /* 2**27 + 1 */, error, a, b, product);
    return error / a_unit / b_unit;
#endif
}

/* Eight doubles, whatever the target, for the few operations that a slice needs once: one slice a lane. */
enum { WIDE_LANES = 8 };
typedef double doubles __attribute__((vector_size(64)));
typedef int64_t longs __attribute__((vector_size(64)));

INLINE doubles doubles_select(longs yes, doubles a, doubles b) {
    return (doubles)((yes & (longs)a) | (~yes & (longs)b));
}

/* a * b - product, where product is a * b rounded, and none of them is very large. */
INLINE doubles doubles_product_error(doubles a, doubles b, doubles product) {
#if HAS_FMA && defined(__AVX512F__)
    return _mm512_fmsub_pd(a, b, product);
#elif HAS_FMA && defined(__AVX__)
    __m256d x[2], y[2], z[2];
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    memcpy(z, &product, sizeof z);
    for (int half = 0; half < 2; half++)
        x[half] = _mm256_fmsub_pd(x[half], y[half], z[half]);
    memcpy(&a, x, sizeof x);
    return a;
#elif HAS_FMA
    for (int j = 0; j < WIDE_LANES; j++)
        a[j] = __builtin_fma(a[j], b[j], -product[j]);
    return a;
#else
    DEKKER_PRODUCT_ERROR(doubles, 134217729.0 /* 2**27 + 1 */, error, a, b, product);
    return error;
#endif
}

/* log(1 + t) for 0 <= t, to some 60 bits, t being tiny included. t becomes the logarithm.
 *
 * 1 + t = 2**k * f with f near 1, and log f = 2 atanh(s), s = (f - 1) / (f + 1): Muller, "Elementary Functions", ch. 11.
 * f - 1 is t itself where t is small. t_lo is less than an ulp of t_hi. */
INLINE void log1p_of_doubles(doubles *t_hi, doubles *t_lo) {
    /* Where t is tiny the rest of the series is beyond the last digit; and t may be subnormal. */
    longs tiny = (longs)(*t_hi < 0x1p-60);
    doubles one = 1 - (doubles){0};
    TWO_SUM(doubles, z, z_error, one, *t_hi);
    z_error += *t_lo;
    longs bits = (longs)z;
    /* k, with f up to the root of 2; adding 1.5 * 2**52 in the bits makes a double of it. */
    longs k = (bits >> 52) - 1023 - (longs)((bits & 0xfffffffffffff) > 0x6a09e667f3bcc);
    doubles exponent = (doubles)(k + 0x4338000000000000) - 0x1.8p52;
    doubles lower = (doubles)((1023 - k) << 52); /* 2**-k */
    doubles top = doubles_select(k == 0, *t_hi, z * lower - 1);
    doubles top_lo = doubles_select(k == 0, *t_lo, z_error * lower);
    TWO_SUM(doubles, bottom, bottom_error, top, 2.0);
    bottom_error += top_lo;
    doubles s = top / bottom, product = s * bottom;
    doubles s_lo =
        (((top - product) - doubles_product_error(s, bottom, product)) + (top_lo - s * bottom_error)) / bottom;
    doubles q = s * s, series = {0};
    for (int j = 23; j > 1; j -= 2)
        series = q * (series + 1.0 / j);
    TWO_SUM(doubles, hi, error, exponent * DOUBLE_LN2_HI, 2 * s);
    *t_lo = doubles_select(tiny, *t_lo, error + (2 * (s_lo + s * series) + exponent * DOUBLE_LN2_LO));
    *t_hi = doubles_select(tiny, *t_hi, hi);
}

/* The same for one slice. A call, as the next but one: many places use them, once a slice or a group of slices. */
static __attribute__((noinline, unused)) total total_log1p(total t) {
    doubles hi = t.hi - (doubles){0}, lo = t.lo - (doubles){0};
    log1p_of_doubles(&hi, &lo);
    total r = {hi[0], lo[0]};
    return r;
}

/* t / by, for by > 0, with a lo of less than an ulp of hi, as log1p_of_doubles wants it. */
INLINE total total_over(total t, double by) {
    double whole = t.hi + t.lo, rest = t.lo - (whole - t.hi), hi = whole / by, product = hi * by;
    total r = {hi, (((whole - product) - product_error(hi, by, product)) + rest) / by};
    return r;
}

/* t / by: total_over for a divisor of two parts. */
INLINE total total_over_total(total t, total by) {
    double hi = t.hi / by.hi, product = hi * by.hi;
    total r = {hi, (((t.hi - product) - product_error(hi, by.hi, product)) + (t.lo - hi * by.lo)) / by.hi};
    return r;
}

INLINE total total_times(total a, total b) {
    double hi = a.hi * b.hi;
    total r = {hi, product_error(a.hi, b.hi, hi) + (a.hi * b.lo + a.lo * b.hi)};
    return r;
}

/* 2**exponent, for a whole number between -1000 and 1000. */
INLINE double power_of_two(double exponent) {
    uint64_t bits = (uint64_t)((int64_t)exponent + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* t * 2**exponent * (1 + more), for an exponent of 0 or less and a tiny `more`. */
INLINE total total_scaled(total t, double exponent, double more) {
    t.lo += t.hi * more;
    for (; exponent < -1000; exponent += 1000)
        t.hi *= 0x1p-1000, t.lo *= 0x1p-1000;
    t.hi *= power_of_two(exponent);
    t.lo *= power_of_two(exponent);
    return t;
}

/* A sum that was divided by RAISE some times. */
typedef struct {
    total sum;
    int steps;
} lowered_total;

/* A larger sum has a reciprocal whose second part may underflow. */
#if SOFTMAX_CY_REAL_BITS == 32
#define LOWER_ABOVE 0x1p100
#define RAISED_BY 64.0 /* the logarithm of RAISE */
#else
#define LOWER_ABOVE 0x1p900
#define RAISED_BY 512.0
#endif

/* t * 2**exponent, for an exponent of 0 or more, lowered to LOWER_ABOVE at most. */
INLINE lowered_total total_lowered(total t, double exponent) {
    lowered_total lowered = {t, 0};
    for (;;) {
        for (; lowered.sum.hi > LOWER_ABOVE; lowered.steps++)
            lowered.sum.hi *= 1 / (double)RAISE, lowered.sum.lo *= 1 / (double)RAISE;
        if (exponent == 0)
            return lowered;
        double step = exponent < 100 ? exponent : 100;
        lowered.sum.hi *= power_of_two(step);
        lowered.sum.lo *= power_of_two(step);
        exponent -= step;
    }
}

/* Eight of LANES reals from `start` on. */
INLINE doubles doubles_of(vreal a, int start) {
    real lanes[VREAL_BYTES / sizeof(real)];
    doubles wide;
    v_store(lanes, a);
    for (int j = 0; j < WIDE_LANES; j++)
        wide[j] = lanes[start + j];
    return wide;
}

/* Each t / (by + by_lost), of which the second is what the first has lost to rounding: total_over. */
INLINE totals totals_over(const totals *t, vreal by, vreal by_lost) {
    totals result;
    for (int start = 0; start < LANES; start += WIDE_LANES) {
        doubles hi, lo, unit = doubles_of(by, start) + doubles_of(by_lost, start);
        memcpy(&hi, t->hi + start, sizeof hi);
        memcpy(&lo, t->lo + start, sizeof lo);
        doubles whole = hi + lo, quotient = whole / unit, product = quotient * unit;
        lo = (((whole - product) - doubles_product_error(quotient, unit, product)) + (lo - (whole - hi))) / unit;
        memcpy(result.hi + start, &quotient, sizeof quotient);
        memcpy(result.lo + start, &lo, sizeof lo);
    }
    return result;
}

/* Each log(1 + t): total_log1p. */
static __attribute__((noinline, unused)) totals totals_log1p(const totals *t) {
    totals result;
    for (int start = 0; start < LANES; start += WIDE_LANES) {
        doubles hi, lo;
        memcpy(&hi, t->hi + start, sizeof hi);
        memcpy(&lo, t->lo + start, sizeof lo);
        log1p_of_doubles(&hi, &lo);
        memcpy(result.hi + start, &hi, sizeof hi);
        memcpy(result.lo + start, &lo, sizeof lo);
    }
    return result;
}

/* A NaN has a sign and a payload, which depend on the order of the operands in an instruction. Results have this one. */
INLINE real one_nan(real a) { return a == a ? a : (real)NAN; }
INLINE vreal v_one_nan(vreal a) { return v_select_equal(a, a, a, v_set((real)NAN)); }

/* a * b + t, rounded once to a real. */
INLINE real product_plus_total(double a, double b, total t) {
    double product = a * b;
    if (product - product != 0) /* an infinity */
        return one_nan((real)product);
    TWO_SUM(double, hi, error, product, t.hi);
    return one_nan((real)(hi + (error + (product_error(a, b, product) + t.lo))));
}

/* Each t - b, rounded once to a real: product_plus_total(-1, b, t). */
INLINE vreal totals_minus(const totals *t, vreal b) {
    typedef real reals __attribute__((vector_size(WIDE_LANES * sizeof(real))));
    vreal result;
    for (int start = 0; start < LANES; start += WIDE_LANES) {
        doubles t_hi, t_lo, minus_b = -doubles_of(b, start);
        longs exponent = (longs){0} + 0x7ff0000000000000, is_finite = ((longs)minus_b & exponent) != exponent;
        doubles finite = doubles_select(is_finite, minus_b, (doubles){0});
        memcpy(&t_hi, t->hi + start, sizeof t_hi);
        memcpy(&t_lo, t->lo + start, sizeof t_lo);
        TWO_SUM(doubles, hi, error, finite, t_hi);
        reals rounded = __builtin_convertvector(doubles_select(is_finite, hi + (error + t_lo), minus_b), reals);
        memcpy((char *)&result + start * (ptrdiff_t)sizeof(real), &rounded, sizeof rounded);
    }
    return result;
}

/* Each 1 - p, for p = 1 / (1 + others) where `at_top` is not 0: there with all the digits of others. In doubles, times
 * -weight * factor. */
INLINE vreal totals_missing(const totals *others, vreal p, vreal at_top, vreal weight, double factor) {
    typedef real reals __attribute__((vector_size(WIDE_LANES * sizeof(real))));
    vreal result;
    for (int start = 0; start < LANES; start += WIDE_LANES) {
        doubles hi, lo;
        memcpy(&hi, others->hi + start, sizeof hi);
        memcpy(&lo, others->lo + start, sizeof lo);
        hi += lo;
        doubles rest = doubles_select(doubles_of(at_top, start) != 0, hi / (1 + hi), 1 - doubles_of(p, start));
        reals rounded = __builtin_convertvector(factor * (0 - doubles_of(weight, start) * rest), reals);
        memcpy((char *)&result + start * (ptrdiff_t)sizeof(real), &rounded, sizeof rounded);
    }
    return v_one_nan(result);
}

/* From raised to what it stands for: exact, or one rounding into the subnormal numbers. */
INLINE vreal v_lower(vreal a) { return v_mul(a, v_set(1 / RAISE)); }

/* 1 / t in two parts. */
typedef struct {
    real hi, lo;
} reciprocal;

INLINE reciprocal total_reciprocal(total t) {
    double inverse = 1 / (t.hi + t.lo);
    real hi = (real)inverse;
#if SOFTMAX_CY_REAL_BITS == 32
    real lo = (real)(inverse - hi);
#else
    double product = hi * t.hi; /* lo = hi * (1 - t * hi) */
    real lo = hi * (((1 - product) - product_error(hi, t.hi, product)) - hi * t.lo);
#endif
    reciprocal r = {hi, lo};
    return r;
}

/* Of the slices in the lanes of a vector: one and the same where its elements are of one slice. */
typedef struct {
    vreal hi, lo;
} reciprocals;

INLINE reciprocals reciprocal_in_all_lanes(reciprocal r) {
    reciprocals all = {v_set(r.hi), v_set(r.lo)};
    return all;
}

/* What total_reciprocal is for one. As a loop over it, gcc 12 gave the last lanes of the float kernels without FMA a `lo`
 * of their own. */
INLINE reciprocals totals_reciprocals(const totals *t) {
    typedef real reals __attribute__((vector_size(WIDE_LANES * sizeof(real))));
    reciprocals all;
    for (int start = 0; start < LANES; start += WIDE_LANES) {
        doubles t_hi, t_lo;
        memcpy(&t_hi, t->hi + start, sizeof t_hi);
        memcpy(&t_lo, t->lo + start, sizeof t_lo);
        doubles inverse = 1 / (t_hi + t_lo);
        reals hi = __builtin_convertvector(inverse, reals);
#if SOFTMAX_CY_REAL_BITS == 32
        reals lo = __builtin_convertvector(inverse - __builtin_convertvector(hi, doubles), reals);
#else
        doubles product = hi * t_hi;
        reals lo = hi * (((1 - product) - doubles_product_error(hi, t_hi, product)) - hi * t_lo);
#endif
        memcpy((char *)&all.hi + start * sizeof(real), &hi, sizeof hi);
        memcpy((char *)&all.lo + start * sizeof(real), &lo, sizeof lo);
    }
    return all;
}

INLINE reciprocal reciprocal_at(const reciprocals *r, ptrdiff_t lane) {
    reciprocal one = {v_lane(&r->hi, lane), v_lane(&r->lo, lane)};
    return one;
}

/* e / t to half an ulp and a little: e * hi + e * lo. */
INLINE vreal plain_quotient(reciprocals r, vreal e) {
    vreal low = v_mul(e, r.lo);
    EACH_PART(e.part[P] = part_product_sum(e.part[P], r.hi.part[P], low.part[P]))
    return e;
}

/* The same raised, so that no part of it can underflow. */
INLINE reciprocals raised_reciprocals(reciprocals r) {
    reciprocals raised = {v_mul(r.hi, v_set(RAISE)), v_mul(r.lo, v_set(RAISE))};
    return raised;
}

/* From here on no part of a quotient underflows: e * lo is some 2^53 or 2^106 smaller, and rounded like any number. */
#if SOFTMAX_CY_REAL_BITS == 32
#define PLAIN_FROM 0x1p-60f
#else
#define PLAIN_FROM 0x1p-800
#endif

/* From here on a raised quotient stands for a normal number; below, for a multiple of the smallest subnormal one. */
#define RAISED_NORMAL (REAL_MIN * RAISE)
/* Lowering rounds a quotient again where it becomes subnormal. In the two binades from here to RAISED_NORMAL that adds
 * up to a quarter of the smallest subnormal number to what the exponential has lost, and in those below nothing of note. */
#define TWICE_ROUNDED_FROM (RAISED_NORMAL / 4)

/* plain_quotient of raised reciprocals, where it would be rounded twice rounded at once to what can be lowered exactly. Rare. A call makes its
 * callers' loops slower; without FMA the code is so long that they call all the same. */
#if HAS_FMA
INLINE vreal quotient_rounded_once(reciprocals r, vreal e) {
#else
static __attribute__((noinline, cold, unused)) vreal quotient_rounded_once(reciprocals r, vreal e) {
#endif
    /* rint() to multiples of the smallest subnormal number: added and taken off again. */
    vreal rounder = v_set(1.5 * RAISED_NORMAL), quotient = plain_quotient(r, e), product = v_mul(e, r.hi), whole, rest;
    EACH_PART(rest.part[P] = part_product_error(e.part[P], r.hi.part[P], product.part[P]))
    rest = v_add(rest, v_mul(e, r.lo));
    whole = v_sub(v_add(product, rounder), rounder);
    rest = v_add(v_sub(product, whole), rest);
    whole = v_add(whole, v_sub(v_add(rest, rounder), rounder));
    return v_select_between(quotient, TWICE_ROUNDED_FROM, RAISED_NORMAL, whole);
}

typedef struct {
    vreal first, second;
} two_vectors;

/* e / t of two vectors: half an ulp and a little, or of the smallest subnormal number below the smallest normal one.
 * Two share the question whether any result is so small that a part of it could underflow. If not, nothing is raised; the
 * bits are the same. */
INLINE two_vectors reciprocals_times_two(reciprocals r, vreal e, vreal f) {
    two_vectors q = {plain_quotient(r, e), plain_quotient(r, f)};
    if (__builtin_expect(v_any_less(q.first, q.second, PLAIN_FROM), 0)) {
        r = raised_reciprocals(r);
        q.first = plain_quotient(r, e);
        q.second = plain_quotient(r, f);
        if (__builtin_expect(v_any_between(q.first, q.second, TWICE_ROUNDED_FROM, RAISED_NORMAL), 0)) {
            q.first = quotient_rounded_once(r, e);
            q.second = quotient_rounded_once(r, f);
        }
        q.first = v_lower(q.first);
        q.second = v_lower(q.second);
    }
    return q;
}

INLINE vreal reciprocals_times(reciprocals r, vreal e) { return reciprocals_times_two(r, e, e).first; }

#endif
