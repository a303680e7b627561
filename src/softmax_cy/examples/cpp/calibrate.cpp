// Temperature scaling: finds the factor on the logits of an overconfident classifier that makes its probabilities true.
//
// The labels are drawn from softmax(logits), and the classifier reports 3 * logits: the factor to find is 1 / 3.
#include "matrix_view.hpp"

#include <cmath>
#include <cstdio>
#include <random>

using embedded::matrix_view;

namespace {

/// The mean of -log(probability of the label) at this factor.
double mean_loss(matrix_view<const float> logits, const std::vector<int> &labels, double factor) {
    std::vector<float> memory(static_cast<std::size_t>(logits.rows * logits.columns));
    matrix_view<float> log_y(memory.data(), logits.rows, logits.columns);
    embedded::log_softmax(logits, log_y, factor);
    double sum = 0;
    for (std::ptrdiff_t i = 0; i < logits.rows; i++)
        sum -= log_y(i, labels[static_cast<std::size_t>(i)]);
    return sum / static_cast<double>(logits.rows);
}

/// Where a function with one minimum has it (golden-section search).
template <typename Function>
double minimum(Function f, double low, double high) {
    const double golden = (std::sqrt(5.0) - 1) / 2;
    while (high - low > 1e-4) {
        const double a = high - golden * (high - low), b = low + golden * (high - low);
        (f(a) < f(b) ? high : low) = f(a) < f(b) ? b : a;
    }
    return (low + high) / 2;
}

int calibrate() {
    const std::ptrdiff_t rows = 4000, classes = 10;
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 2);
    std::vector<float> memory(static_cast<std::size_t>(rows * classes)), y_memory(memory.size());
    std::vector<int> labels;
    matrix_view<float> logits(memory.data(), rows, classes), y(y_memory.data(), rows, classes);

    for (float &x : memory)
        x = normal(random);
    embedded::softmax<float>(logits, y);
    for (std::ptrdiff_t i = 0; i < rows; i++) {
        std::discrete_distribution<int> label(&y(i, 0), &y(i, 0) + classes);
        labels.push_back(label(random));
    }
    for (float &x : memory)
        x *= 3;

    // Its rows and columns swapped, the matrix may lie the other way round as well: every column adds up to one.
    embedded::softmax<float>(logits.transposed(), y.transposed());
    float total = 0;
    for (std::ptrdiff_t i = 0; i < rows; i++)
        total += y(i, 0);

    const double factor = minimum([&](double f) { return mean_loss(logits, labels, f); }, 0.05, 1.5);
    std::printf("as reported: loss %.4f\n", mean_loss(logits, labels, 1));
    std::printf("factor %.3f: loss %.4f\n", factor, mean_loss(logits, labels, factor));
    return std::abs(factor - 1.0 / 3) < 0.02 && std::abs(total - 1) < 1e-4F ? 0 : 1;
}

} // namespace

int main() {
    Py_Initialize();
    if (softmax_cy_import() < 0) {
        PyErr_Print();
        return 1;
    }
    const int failed = calibrate();
    return Py_FinalizeEx() < 0 || failed;
}
