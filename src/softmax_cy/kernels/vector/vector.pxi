# What the kernels see of simd.h, sums.h, convert.h, scratch.h and tiles.h: opaque types and functions on them.
#
# Cython knows `real` as float. It only needs to know that it is a floating type: the C compiler sees float or double.

from libc.stdint cimport uintptr_t

cdef extern from * nogil:
    int leading_zeros "__builtin_clzll" (unsigned long long number)

cdef extern from "vector/scratch.h" nogil:
    enum:
        BLOCK_BYTES
        CACHE_LINE
    enum buffer:
        KERNEL_BUFFER
        TILE_BUFFER
        GATHERED_BUFFER
        SPARE_BUFFER
        UNITS_BUFFER
    char *thread_buffer(buffer which)

cdef extern from "vector/transpose.h" nogil:
    void columns_from_rows(
        const char *rows, Py_ssize_t next_, Py_ssize_t slices, Py_ssize_t length, char *columns, Py_ssize_t step)
    void rows_from_columns(
        const char *columns, Py_ssize_t step, Py_ssize_t slices, Py_ssize_t length, char *rows, Py_ssize_t next_)

cdef extern from "vector/sums.h" nogil:
    ctypedef float real
    ctypedef struct vreal:
        pass
    ctypedef struct vsum:
        pass
    ctypedef struct total:
        double hi
        double lo
    ctypedef struct totals:
        pass
    ctypedef struct reciprocal:
        pass
    ctypedef struct reciprocals:
        vreal hi
    ctypedef struct two_vectors:
        vreal first
        vreal second

    enum:
        SOFTMAX_CY_REAL_BITS
    const Py_ssize_t LANES
    const bint HAS_FMA
    const bint VECTOR_IS_LINE

    const real LOG2_E, LN2_HI, LN2_LO, POWER_ROUNDER, RAISE, LOWEST_LOG2, SHIFT_ABOVE
    const real STEPS, STEPS_TO_E, STEP_HI, STEP_LO, ROUNDER
    const real RAISE_HIGH, HIGH_SHIFT, EXTREME
    const double FEW_OTHERS, RAISED_BY
    const real EXP_C0, EXP_C1, EXP_C2, EXP_C3, EXP_C4, EXP_C5, EXP_C6, EXP_C7, EXP_C8
    const real EXP_Q0, EXP_Q1, EXP_Q2, EXP_Q3, EXP_Q4, EXP_Q5, EXP_Q6, EXP_Q7, EXP_Q8, EXP_Q9

    void prefetch(const void *address)
    void prefetch_to_write(const void *address)

    vreal v_set(real value)
    vreal v_load(const void *source)
    vreal v_load_first(const void *source, Py_ssize_t count, real fill)
    void v_store(void *target, vreal a)
    void v_store_first(void *target, vreal a, Py_ssize_t count)
    void v_stream(void *target, vreal a)
    void v_stream_end()
    vreal v_add(vreal a, vreal b)
    vreal v_sub(vreal a, vreal b)
    vreal v_mul(vreal a, vreal b)
    vreal v_div(vreal a, vreal b)
    vreal v_fma(vreal a, vreal b, vreal c)
    vreal v_max(vreal a, vreal b)
    vreal v_low_bits_to_exponent(vreal a)
    vreal v_power(vreal a)
    vreal v_where_greater(vreal a, vreal b, vreal value)
    vreal v_where_equal(vreal a, vreal b, vreal value)
    vreal v_where_unequal(vreal a, vreal b, vreal value)
    vreal v_select_equal(vreal a, vreal b, vreal yes, vreal no)
    bint v_all_equal(vreal a, vreal b)
    bint v_any_nan(vreal a, vreal b)
    bint v_any_less(vreal a, vreal b, real bound)
    vreal v_product_error(vreal a, vreal b, vreal product)
    vreal v_keep_first(vreal a, Py_ssize_t count)
    real v_sum_across(vreal a)
    vreal add_lanes(const vreal *lanes)
    real v_first(vreal a)
    real v_lane(const vreal *a, Py_ssize_t lane)
    real v_max_across(vreal a)
    vreal v_max_across_each(const vreal *rows, Py_ssize_t count)
    vreal v_sum_across_each(const vreal *rows, Py_ssize_t count)
    real scalar_fma(real a, real b, real c)

    vsum signed_start()
    vsum signed_add(vsum s, vreal term)
    vsum signed_add_product(vsum s, vreal term, vreal a, vreal b)
    total signed_total(vsum s)
    vreal v_lower(vreal a)
    vsum vsum_start()
    vsum vsum_add(vsum s, vreal term, vreal a, vreal b)
    void totals_set_each(totals *t, const vsum *rows, Py_ssize_t count)
    vsum vsum_harmless()
    total vsum_total(vsum s)
    vsum vsum_without_seed(vsum s)
    total total_of(real a)
    total total_add(total a, total b)
    totals signed_totals(const vsum *terms, Py_ssize_t count)
    totals totals_start()
    totals totals_harmless()
    real one_nan(real a)
    vreal v_one_nan(vreal a)
    totals totals_add(totals a, totals b)
    totals totals_of(vreal a)
    void totals_join(totals *sum_, vreal a, bint first)
    totals totals_of_pairs(vreal hi, vreal lo)
    vreal totals_quotient(const totals *a, const totals *b)
    vreal totals_rounded(const totals *t)
    totals totals_over(const totals *t, vreal by, vreal by_lost)
    totals totals_log1p(const totals *t)
    bint any_total_below(const totals *t, double bound)
    void totals_set(totals *t, Py_ssize_t lane, total one)
    total totals_at(const totals *t, Py_ssize_t lane)
    total total_log1p(total t)
    total total_over(total t, double by)
    total total_over_total(total t, total by)
    total total_times(total a, total b)
    total total_scaled(total t, double exponent, double more)
    ctypedef struct lowered_total:
        total sum
        int steps
    lowered_total total_lowered(total t, double exponent)
    vreal totals_minus(const totals *t, vreal b)
    vreal totals_missing(const totals *others, vreal p, vreal at_top, vreal weight, double factor)
    real product_plus_total(double a, double b, total t)
    reciprocal total_reciprocal(total t)
    reciprocals totals_reciprocals(const totals *t)
    reciprocals reciprocal_in_all_lanes(reciprocal r)
    reciprocal reciprocal_at(const reciprocals *r, Py_ssize_t lane)
    vreal reciprocals_times(reciprocals r, vreal e)
    two_vectors reciprocals_times_two(reciprocals r, vreal e, vreal f)

cdef extern from "vector/convert.h" nogil:
    const int KIND_REAL
    void widen(const char *source, int kind, char *target, Py_ssize_t count)
    real widen_to_max(const char *source, int kind, char *target, Py_ssize_t count, real top)
    void narrow(const char *source, int kind, char *target, Py_ssize_t count)
