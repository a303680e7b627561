/* An extension module: entropy.of(row) is the entropy of softmax(row), of anything that holds float64 side by side. */
#include <softmax_cy.h>

#include <math.h>
#include <string.h>

static PyObject *of(PyObject *Py_UNUSED(module), PyObject *row) {
    Py_buffer view;
    Py_ssize_t length;
    double *log_y, entropy = 0;
    int status;
    if (PyObject_GetBuffer(row, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0)
        return NULL;
    if (strcmp(view.format, "d") != 0) {
        PyErr_Format(PyExc_TypeError, "row holds '%s', expected float64", view.format);
        PyBuffer_Release(&view);
        return NULL;
    }
    length = view.len / view.itemsize;
    log_y = PyMem_Malloc(view.len);
    if (log_y == NULL) {
        PyBuffer_Release(&view);
        return PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS status = softmax_cy->log_softmax_f64(1, length, view.buf, length, 1, log_y, length, 1, 1.0);
    for (Py_ssize_t i = 0; status == SOFTMAX_CY_OK && i < length; i++)
        entropy -= log_y[i] == -INFINITY ? 0 : exp(log_y[i]) * log_y[i];
    Py_END_ALLOW_THREADS PyMem_Free(log_y);
    PyBuffer_Release(&view);
    if (status != SOFTMAX_CY_OK)
        return PyErr_Format(PyExc_ValueError, "%s", softmax_cy_status_message(status));
    return PyFloat_FromDouble(entropy);
}

static PyMethodDef methods[] = {
    {"of", of, METH_O, "The entropy of the softmax of a row of float64."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "entropy", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_entropy(void);

PyMODINIT_FUNC PyInit_entropy(void) { return softmax_cy_import() < 0 ? NULL : PyModule_Create(&module); }
