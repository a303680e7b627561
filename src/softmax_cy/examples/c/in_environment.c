/* Starts Python as that of a virtual environment, wherever the program is started.
 *
 *     in_environment ENVIRONMENT/bin/python
 */
#include <softmax_cy.h>
#include <stdio.h>

/* Whether the interpreter runs. */
static int start(const char *python) {
    PyConfig config;
    PyStatus status;
    PyConfig_InitPythonConfig(&config);
    status = PyConfig_SetBytesString(&config, &config.program_name, python);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status))
        fprintf(stderr, "%s: %s\n", python, status.err_msg ? status.err_msg : "no Python can be started");
    return !PyStatus_Exception(status);
}

int main(int argc, char **argv) {
    double y[3] = {1, 2, 3};
    int status;
    if (argc != 2 || !start(argv[1])) {
        fprintf(stderr, "usage: %s ENVIRONMENT/bin/python\n", argv[0]);
        return 2;
    }
    if (softmax_cy_import() < 0) {
        PyErr_Print();
        return 1;
    }
    status = softmax_cy->softmax_f64(1, 3, y, 3, 1, y, 3, 1, 1.0);
    printf("%s: %.4f %.4f %.4f\n", softmax_cy_status_message(status), y[0], y[1], y[2]);
    return Py_FinalizeEx();
}
