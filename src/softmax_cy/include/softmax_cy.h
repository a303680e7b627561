/**
 * @file softmax_cy.h
 * @brief Softmax and its derivatives for C and C++: a table of functions, fetched once, that need no Python afterwards.
 *
 * Call softmax_cy_import() once, holding the GIL; it sets `softmax_cy`. Whatever hangs from that may then be called by
 * any thread, with or without the GIL, for as long as Python is not finalized. The functions take no lock, start no
 * thread, write to nothing but their outputs and allocate nothing, but for the thread-local memory that the C library
 * gives to a thread on its first call. What a call reads must not change meanwhile, or its results mean nothing; a
 * target that does is never used as an index outside its row.
 *
 * Matrices have `rows` rows of `length` elements. Strides count elements, not bytes, and may be negative, or zero for
 * inputs. A function that returns anything but SOFTMAX_CY_OK has written nothing.
 *
 * A slice that is too long for memory is read in parts, twice. The first time each part leaves a state behind; states of
 * neighbours are merged until one is that of the whole. With that one the parts are finished. A state lies in memory of
 * the caller, aligned to 8 bytes, of as many bytes as softmax_state_size_f32 or its sister says. It holds no pointer: it
 * may be copied with memcpy, sent, and written to a file for machines of the same byte order. The functions check that
 * the memory holds a state, and not that it is as long as the state says.
 */
#ifndef SOFTMAX_CY_H
#define SOFTMAX_CY_H

#include <Python.h>
#include <stddef.h>
#include <stdint.h>

/** What a program that is compiled with this header needs of the library. Grows by one whenever members are appended. */
#define SOFTMAX_CY_ABI_VERSION 2

/** The capsule that holds the table. Renamed if ever the table changes in another way than by growing. */
#define SOFTMAX_CY_CAPSULE "softmax_cy.capi._C_API"

/** What the functions return. */
enum softmax_cy_status {
    /** All went well, or there was nothing to do. */
    SOFTMAX_CY_OK = 0,
    /** A pointer to elements is NULL. */
    SOFTMAX_CY_NULL_POINTER = 1,
    /** rows or length is negative, or offset or count. */
    SOFTMAX_CY_NEGATIVE_SIZE = 2,
    /** scale is not positive and finite, or grad_scale not finite, in the precision of the function. */
    SOFTMAX_CY_BAD_SCALE = 3,
    /** With these strides a matrix would reach beyond the end of all memory. */
    SOFTMAX_CY_BAD_STRIDE = 4,
    /** Elements of an output overlap each other, or those of an input other than as the same matrix. */
    SOFTMAX_CY_OVERLAP = 5,
    /** A target is not one of the classes 0 to length - 1. */
    SOFTMAX_CY_BAD_TARGET = 6,
    /** Shapes do not agree: only where arguments bring shapes of their own, as Cython's memoryviews do. */
    SOFTMAX_CY_SHAPE_MISMATCH = 7,
    /** offset and count are no part of a slice of this length, or the length is more than PTRDIFF_MAX / 16. */
    SOFTMAX_CY_BAD_PART = 8,
    /**
     * The memory of a state is not aligned to 8 bytes or holds no state of the type of the function; or a state is not
     * that of a whole slice where one is needed; or two have another length, scale or exact, or are not neighbours in
     * this order.
     */
    SOFTMAX_CY_BAD_STATE = 9
};

/* A line for each array, with its strides. */
/* clang-format off */
/** The table. Members are only ever appended. */
typedef struct softmax_cy_table {
    /** SOFTMAX_CY_ABI_VERSION of the library. */
    int abi_version;
    /** sizeof(softmax_cy_table) in the library. */
    size_t struct_size;
    /** The version of the library, as softmax_cy.__version__. */
    const char *library_version;

    /** softmax(scale * x) of each row. out may be x. */
    int (*softmax_f32)(
        ptrdiff_t rows, ptrdiff_t length,
        const float *x, ptrdiff_t x_row_stride, ptrdiff_t x_stride,
        float *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);
    /** As softmax_f32, in double. */
    int (*softmax_f64)(
        ptrdiff_t rows, ptrdiff_t length,
        const double *x, ptrdiff_t x_row_stride, ptrdiff_t x_stride,
        double *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);

    /** The logarithm of softmax(scale * x) of each row, with all its digits. out may be x. */
    int (*log_softmax_f32)(
        ptrdiff_t rows, ptrdiff_t length,
        const float *x, ptrdiff_t x_row_stride, ptrdiff_t x_stride,
        float *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);
    /** As log_softmax_f32, in double. */
    int (*log_softmax_f64)(
        ptrdiff_t rows, ptrdiff_t length,
        const double *x, ptrdiff_t x_row_stride, ptrdiff_t x_stride,
        double *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);

    /** log(sum(exp(scale * x))) of each row: one element of out a row. out may not overlap x. */
    int (*logsumexp_f32)(
        ptrdiff_t rows, ptrdiff_t length,
        const float *x, ptrdiff_t x_row_stride, ptrdiff_t x_stride,
        float *out, ptrdiff_t out_row_stride,
        double scale);
    /** As logsumexp_f32, in double. */
    int (*logsumexp_f64)(
        ptrdiff_t rows, ptrdiff_t length,
        const double *x, ptrdiff_t x_row_stride, ptrdiff_t x_stride,
        double *out, ptrdiff_t out_row_stride,
        double scale);

    /** The gradient in x from that in y = softmax(scale * x) (vector-Jacobian product). out may be grad or y. */
    int (*softmax_vjp_f32)(
        ptrdiff_t rows, ptrdiff_t length,
        const float *grad, ptrdiff_t grad_row_stride, ptrdiff_t grad_stride,
        const float *y, ptrdiff_t y_row_stride, ptrdiff_t y_stride,
        float *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);
    /** As softmax_vjp_f32, in double. */
    int (*softmax_vjp_f64)(
        ptrdiff_t rows, ptrdiff_t length,
        const double *grad, ptrdiff_t grad_row_stride, ptrdiff_t grad_stride,
        const double *y, ptrdiff_t y_row_stride, ptrdiff_t y_stride,
        double *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);

    /** The tangent of y = softmax(scale * x) from that of x (Jacobian-vector product). out may be tangent or y. */
    int (*softmax_jvp_f32)(
        ptrdiff_t rows, ptrdiff_t length,
        const float *tangent, ptrdiff_t tangent_row_stride, ptrdiff_t tangent_stride,
        const float *y, ptrdiff_t y_row_stride, ptrdiff_t y_stride,
        float *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);
    /** As softmax_jvp_f32, in double. */
    int (*softmax_jvp_f64)(
        ptrdiff_t rows, ptrdiff_t length,
        const double *tangent, ptrdiff_t tangent_row_stride, ptrdiff_t tangent_stride,
        const double *y, ptrdiff_t y_row_stride, ptrdiff_t y_stride,
        double *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);

    /** The gradient in x from that in log_y = log_softmax(scale * x). out may be grad or log_y. */
    int (*log_softmax_vjp_f32)(
        ptrdiff_t rows, ptrdiff_t length,
        const float *grad, ptrdiff_t grad_row_stride, ptrdiff_t grad_stride,
        const float *log_y, ptrdiff_t log_y_row_stride, ptrdiff_t log_y_stride,
        float *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);
    /** As log_softmax_vjp_f32, in double. */
    int (*log_softmax_vjp_f64)(
        ptrdiff_t rows, ptrdiff_t length,
        const double *grad, ptrdiff_t grad_row_stride, ptrdiff_t grad_stride,
        const double *log_y, ptrdiff_t log_y_row_stride, ptrdiff_t log_y_stride,
        double *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);

    /** The tangent of log_y = log_softmax(scale * x) from that of x. out may be tangent or log_y. */
    int (*log_softmax_jvp_f32)(
        ptrdiff_t rows, ptrdiff_t length,
        const float *tangent, ptrdiff_t tangent_row_stride, ptrdiff_t tangent_stride,
        const float *log_y, ptrdiff_t log_y_row_stride, ptrdiff_t log_y_stride,
        float *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);
    /** As log_softmax_jvp_f32, in double. */
    int (*log_softmax_jvp_f64)(
        ptrdiff_t rows, ptrdiff_t length,
        const double *tangent, ptrdiff_t tangent_row_stride, ptrdiff_t tangent_stride,
        const double *log_y, ptrdiff_t log_y_row_stride, ptrdiff_t log_y_stride,
        double *out, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);

    /** The Jacobian dy_i/dx_j of y = softmax(scale * x): for each row of y a matrix. out may not overlap y. */
    int (*softmax_jacobian_f32)(
        ptrdiff_t rows, ptrdiff_t length,
        const float *y, ptrdiff_t y_row_stride, ptrdiff_t y_stride,
        float *out, ptrdiff_t out_matrix_stride, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);
    /** As softmax_jacobian_f32, in double. */
    int (*softmax_jacobian_f64)(
        ptrdiff_t rows, ptrdiff_t length,
        const double *y, ptrdiff_t y_row_stride, ptrdiff_t y_stride,
        double *out, ptrdiff_t out_matrix_stride, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);

    /** The Jacobian of log_y = log_softmax(scale * x): for each row a matrix. out may not overlap log_y. */
    int (*log_softmax_jacobian_f32)(
        ptrdiff_t rows, ptrdiff_t length,
        const float *log_y, ptrdiff_t log_y_row_stride, ptrdiff_t log_y_stride,
        float *out, ptrdiff_t out_matrix_stride, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);
    /** As log_softmax_jacobian_f32, in double. */
    int (*log_softmax_jacobian_f64)(
        ptrdiff_t rows, ptrdiff_t length,
        const double *log_y, ptrdiff_t log_y_row_stride, ptrdiff_t log_y_stride,
        double *out, ptrdiff_t out_matrix_stride, ptrdiff_t out_row_stride, ptrdiff_t out_stride,
        double scale);

    /**
     * The cross-entropy of each row of logits against a class, and its gradient in the logits times grad_scale, which
     * may be any finite number (1 / rows: the gradient of the mean). grad may be x; NULL: no gradient is computed.
     */
    int (*cross_entropy_and_grad_f32)(
        ptrdiff_t rows, ptrdiff_t length,
        const float *x, ptrdiff_t x_row_stride, ptrdiff_t x_stride,
        const int64_t *target, ptrdiff_t target_stride,
        float *loss, ptrdiff_t loss_stride,
        float *grad, ptrdiff_t grad_row_stride, ptrdiff_t grad_stride,
        double grad_scale);
    /** As cross_entropy_and_grad_f32, in double. */
    int (*cross_entropy_and_grad_f64)(
        ptrdiff_t rows, ptrdiff_t length,
        const double *x, ptrdiff_t x_row_stride, ptrdiff_t x_stride,
        const int64_t *target, ptrdiff_t target_stride,
        double *loss, ptrdiff_t loss_stride,
        double *grad, ptrdiff_t grad_row_stride, ptrdiff_t grad_stride,
        double grad_scale);

    /**
     * How many bytes the state of a part takes: elements offset to offset + count - 1 of a slice of `length`. exact: as
     * for softmax_state_f32. A size depends on nothing else, so that of a merged state can be asked for too.
     */
    int (*softmax_state_size_f32)(
        ptrdiff_t offset, ptrdiff_t count, ptrdiff_t length, int exact,
        ptrdiff_t *out);
    /** As softmax_state_size_f32, for double. */
    int (*softmax_state_size_f64)(
        ptrdiff_t offset, ptrdiff_t count, ptrdiff_t length, int exact,
        ptrdiff_t *out);

    /**
     * The state of a part of a slice: elements offset to offset + count - 1 of `length`. count may be 0; x is not looked
     * at then. Where exact is not 0, results have the bits of one call for the whole slice, wherever it is cut. Where it
     * is 0, a state has 128 bytes, and the results depend on the cuts within 3 ulp. out may not overlap x.
     */
    int (*softmax_state_f32)(
        ptrdiff_t offset, ptrdiff_t count, ptrdiff_t length, int exact,
        const float *x, ptrdiff_t x_stride,
        void *out,
        double scale);
    /** As softmax_state_f32, in double. */
    int (*softmax_state_f64)(
        ptrdiff_t offset, ptrdiff_t count, ptrdiff_t length, int exact,
        const double *x, ptrdiff_t x_stride,
        void *out,
        double scale);

    /**
     * The state of two neighbouring parts of one slice together, second being the one that follows first. Two that do not
     * belong together are SOFTMAX_CY_BAD_STATE. out may overlap neither.
     */
    int (*merge_states_f32)(
        const void *first,
        const void *second,
        void *out);
    /** As merge_states_f32, in double. */
    int (*merge_states_f64)(
        const void *first,
        const void *second,
        void *out);

    /** log(sum(exp(scale * x))) of a whole slice, one element: all parts must be merged. out may not overlap state. */
    int (*logsumexp_of_state_f32)(
        const void *state,
        float *out);
    /** As logsumexp_of_state_f32, in double. */
    int (*logsumexp_of_state_f64)(
        const void *state,
        double *out);

    /**
     * softmax(scale * x) of a part of a slice, from the state of the whole. x: elements offset to offset + count - 1, as
     * they were when the states were made. The slice may be cut in another way than then. out may be x.
     */
    int (*softmax_of_part_f32)(
        ptrdiff_t offset, ptrdiff_t count,
        const void *state,
        const float *x, ptrdiff_t x_stride,
        float *out, ptrdiff_t out_stride);
    /** As softmax_of_part_f32, in double. */
    int (*softmax_of_part_f64)(
        ptrdiff_t offset, ptrdiff_t count,
        const void *state,
        const double *x, ptrdiff_t x_stride,
        double *out, ptrdiff_t out_stride);

    /** The logarithm of the same. out may be x. */
    int (*log_softmax_of_part_f32)(
        ptrdiff_t offset, ptrdiff_t count,
        const void *state,
        const float *x, ptrdiff_t x_stride,
        float *out, ptrdiff_t out_stride);
    /** As log_softmax_of_part_f32, in double. */
    int (*log_softmax_of_part_f64)(
        ptrdiff_t offset, ptrdiff_t count,
        const void *state,
        const double *x, ptrdiff_t x_stride,
        double *out, ptrdiff_t out_stride);
} softmax_cy_table;
/* clang-format on */

/**
 * @var softmax_cy
 * The table, once softmax_cy_import() has returned 0.
 *
 * In C++ all files of a program share it. In C each file has its own and imports for itself, unless all define
 * SOFTMAX_CY_UNIQUE_SYMBOL, before they include this header, as one name for the linker, and all but one define
 * SOFTMAX_CY_NO_IMPORT too: then one import is enough. Files of C++ that do so share it with those of C.
 */
#if defined(SOFTMAX_CY_UNIQUE_SYMBOL)
/** The name that the program has chosen. */
#define softmax_cy SOFTMAX_CY_UNIQUE_SYMBOL
#ifdef __cplusplus
extern "C" {
#endif
extern const softmax_cy_table *softmax_cy;
#ifndef SOFTMAX_CY_NO_IMPORT
const softmax_cy_table *softmax_cy = NULL;
#endif
#ifdef __cplusplus
}
#endif
#elif defined(__cplusplus)
/*
 * What a template calls must be the same thing in each file that uses the template: the linker keeps one of them, with
 * the pointer of that file. C++17 has inline variables for this; the static member of a template is one in C++11 too.
 * A table of another layout would be another member: modules of different versions may share symbols.
 */
extern "C++" {
template <int layout>
struct softmax_cy_pointer {
    static const softmax_cy_table *table;
};
template <int layout>
const softmax_cy_table *softmax_cy_pointer<layout>::table = NULL;
}
/** The one of the program, under the name that it has in C. */
static const softmax_cy_table *&softmax_cy = softmax_cy_pointer<1>::table;
#elif defined(SOFTMAX_CY_NO_IMPORT)
#error "SOFTMAX_CY_NO_IMPORT needs SOFTMAX_CY_UNIQUE_SYMBOL, the name of the pointer in the file that imports"
#else
/** The one of this file. */
static const softmax_cy_table *softmax_cy = NULL;
#endif

/**
 * Fetch the table, holding the GIL. May be called again, also while other threads use the table.
 *
 * @return 0, or -1 with an ImportError set: no softmax_cy is installed, or one that is older than this header.
 */
static inline int softmax_cy_import(void) {
    const softmax_cy_table *table;
    PyObject *capsule = NULL;
    PyObject *module = PyImport_ImportModule("softmax_cy.capi");
    if (module == NULL)
        return -1;
    capsule = PyObject_GetAttrString(module, "_C_API");
    Py_DECREF(module);
    if (capsule == NULL || !PyCapsule_IsValid(capsule, SOFTMAX_CY_CAPSULE)) {
        Py_XDECREF(capsule);
        PyErr_SetString(PyExc_ImportError, "softmax_cy.capi has no table of functions named " SOFTMAX_CY_CAPSULE);
        return -1;
    }
    table = (const softmax_cy_table *)PyCapsule_GetPointer(capsule, SOFTMAX_CY_CAPSULE);
    Py_DECREF(capsule);
    if (table->abi_version < SOFTMAX_CY_ABI_VERSION || table->struct_size < sizeof(softmax_cy_table)) {
        PyErr_Format(PyExc_ImportError,
                     "compiled with the header of a newer softmax_cy: it needs ABI version %d, and the installed "
                     "softmax_cy %s offers %d; install the newer one, or compile with the header of the older",
                     SOFTMAX_CY_ABI_VERSION, table->library_version, table->abi_version);
        return -1;
    }
    if (softmax_cy != table) /* or other threads may be reading what is written */
        softmax_cy = table;
    return 0;
}

/** A status in words. */
static inline const char *softmax_cy_status_message(int status) {
    switch (status) {
    case SOFTMAX_CY_OK:
        return "ok";
    case SOFTMAX_CY_NULL_POINTER:
        return "a pointer to elements is NULL";
    case SOFTMAX_CY_NEGATIVE_SIZE:
        return "rows, length, offset or count is negative";
    case SOFTMAX_CY_BAD_SCALE:
        return "scale is not positive and finite, or grad_scale is not finite";
    case SOFTMAX_CY_BAD_STRIDE:
        return "with these strides a matrix would reach beyond the end of all memory";
    case SOFTMAX_CY_OVERLAP:
        return "an output overlaps itself, or an input other than as the same matrix";
    case SOFTMAX_CY_BAD_TARGET:
        return "a target is not one of the classes";
    case SOFTMAX_CY_SHAPE_MISMATCH:
        return "shapes do not agree";
    case SOFTMAX_CY_BAD_PART:
        return "offset and count are no part of a slice of this length";
    case SOFTMAX_CY_BAD_STATE:
        return "a state is not aligned, of another type, not complete, or no neighbour of the other";
    default:
        return "not a status of this version of softmax_cy";
    }
}

#endif
