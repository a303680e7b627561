/* The smallest program: start Python, fetch the table, call a function. */
#include <softmax_cy.h>
#include <stdio.h>

int main(void) {
    float logits[2][3] = {{1, 2, 3}, {10000, 10000, -10000}};
    float y[2][3];
    int status;

    Py_Initialize();
    if (softmax_cy_import() < 0) {
        PyErr_Print();
        return 1;
    }
    /* 2 rows of 3; from row to row 3 elements, from element to element 1; of 1.0 * logits. */
    status = softmax_cy->softmax_f32(2, 3, &logits[0][0], 3, 1, &y[0][0], 3, 1, 1.0);
    if (status != SOFTMAX_CY_OK) {
        fprintf(stderr, "%s\n", softmax_cy_status_message(status));
        return 1;
    }
    for (int i = 0; i < 2; i++)
        printf("%.4f %.4f %.4f\n", y[i][0], y[i][1], y[i][2]);
    return Py_FinalizeEx();
}
