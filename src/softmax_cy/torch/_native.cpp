// The fast route of softmax_cy.torch: its four functions on ordinary tensors, with no Python but the call itself.
//
// Design:
// 1. Each function of the module takes all arguments of the public one of its name, and returns None for a call that it
//    does not take. The routes in Python take any call, so a doubt is a None, and no error message is written here.
// 2. It takes what is asked for most, with a result whose bits are those of the functions on arrays: see take_logits().
// 3. A derivative that is not of this kind (of second order, for a batch of gradients, under a mode of torch) goes to
//    softmax_cy.torch._derivatives, which has the formulas of the other routes.
// 4. The functions of the C interface have no threads, so calls that would use several are not taken.
//
// The nodes of autograd's graph are written as torch writes its own. An autograd::Function of C++ would cost more than
// a call, and show its mangled name where a tensor prints its grad_fn.
#include <softmax_cy.h>

#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using at::Tensor;
using torch::autograd::GradMode;
using torch::autograd::Node;
using torch::autograd::SavedVariable;
using torch::autograd::variable_list;
using Table = softmax_cy_table;

// Nanoseconds for a float on one thread, and for a call on two threads: above them the functions on arrays use threads.
constexpr double SLICES_COST = 0.3, CROSS_ENTROPY_COST = 0.6, WORTH_TWO_THREADS = 4e4;

// Losses are added in the chunks of the functions on arrays, or the sums would have other bits.
constexpr ptrdiff_t MOST_IN_CHUNK = 1024, CHUNK_LENGTH = 16384;

// Bytes that a core has at hand: what was just written is multiplied before it has left the cache.
constexpr ptrdiff_t NEAR_BYTES = 16384;

// ---- which calls are taken -------------------------------------------------------------------------------------------

/// What an ordinary tensor and an ordinary thread look like to torch's dispatcher. Whatever records, transforms or
/// replaces operators (torch.func, fake tensors, tracing, modes, subclasses, masks of bits) leaves a key in one of them.
struct Ordinary {
    c10::DispatchKeySet of_tensor, included, excluded;
};
Ordinary outside, inside; // of inference mode

Ordinary look_at_ordinary(bool inference) {
    c10::impl::ForceDispatchKeyGuard forced(c10::default_included_set, c10::default_excluded_set);
    c10::InferenceMode mode(inference);
    const auto keys = c10::impl::tls_local_dispatch_key_set();
    return {at::detail::empty_cpu({0}, at::kFloat).key_set(), keys.included_, keys.excluded_};
}

/// Say whether operators that are called now would do nothing but compute.
bool is_plain_thread() {
    const auto keys = c10::impl::tls_local_dispatch_key_set();
    const Ordinary &ordinary = c10::InferenceMode::is_enabled() ? inside : outside;
    // Autocast changes the set of what is excluded. It does not concern float32 and float64.
    return keys.included_ == ordinary.included && (keys.excluded_ | c10::default_excluded_set) == ordinary.excluded &&
           !at::impl::torch_function_mode_enabled();
}

/// Say whether a tensor is nothing but memory of the CPU.
bool is_plain(const Tensor &tensor) {
    const auto keys = tensor.key_set();
    return keys == outside.of_tensor || keys == inside.of_tensor;
}

/// Say whether the kernels may read a tensor. One with a tangent takes part in forward-mode differentiation.
bool is_known(const Tensor &x) {
    return is_plain(x) && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble) &&
           !torch::autograd::isFwGradDefined(x);
}

/// Say whether the functions on arrays would use one thread.
bool needs_one_thread(const Tensor &x, double cost) {
    const double elements = static_cast<double>(x.numel());
    return cost * elements * (x.scalar_type() == at::kFloat ? 1 : 2) < WORTH_TWO_THREADS || at::get_num_threads() == 1;
}

/// Return the logits of a call that is taken: contiguous, not empty, along their last dimension.
const Tensor *take_logits(PyObject *input, double cost) {
    if (!THPVariable_CheckExact(input) || !is_plain_thread())
        return nullptr;
    const Tensor &x = THPVariable_Unpack(input);
    return is_known(x) && x.dim() > 0 && x.numel() > 0 && x.is_contiguous() && needs_one_thread(x, cost) ? &x : nullptr;
}

/// Return an int of Python, if it is one that fits.
std::optional<long> read_int(PyObject *value) {
    if (!PyLong_CheckExact(value))
        return std::nullopt;
    int overflow = 0;
    const long read = PyLong_AsLongAndOverflow(value, &overflow);
    return overflow ? std::nullopt : std::optional<long>(read);
}

bool is_last(PyObject *dim, const Tensor &x) {
    const auto read = read_int(dim);
    return read && (*read == -1 || *read == x.dim() - 1);
}

bool is_float(PyObject *value, double expected) {
    return PyFloat_CheckExact(value) && PyFloat_AS_DOUBLE(value) == expected;
}

bool is_text(PyObject *value, const char *expected) {
    return PyUnicode_CheckExact(value) && PyUnicode_CompareWithASCIIString(value, expected) == 0;
}

// ---- memory and kernels ----------------------------------------------------------------------------------------------

/// Other threads of Python run while this lives.
class GilReleased {
  public:
    GilReleased() : state(PyEval_SaveThread()) {}
    ~GilReleased() { PyEval_RestoreThread(state); }
    GilReleased(const GilReleased &) = delete;
    GilReleased &operator=(const GilReleased &) = delete;

  private:
    PyThreadState *state;
};

/// Make a tensor as at::empty does. To go through the dispatcher would take longer than to allocate.
Tensor make(at::IntArrayRef sizes, const Tensor &like) {
    return Tensor(at::detail::empty_cpu(sizes, like.scalar_type()));
}

/// Call a template for the type of the elements, with a number of this type.
template <typename Body>
auto with_real(const Tensor &x, const Body &body) {
    return x.scalar_type() == at::kFloat ? body(float()) : body(double());
}

/// Return the function of the table for this type.
template <typename Real, typename Single, typename Double>
auto choose(Single Table::*of_float, Double Table::*of_double) {
    if constexpr (std::is_same_v<Real, float>)
        return softmax_cy->*of_float;
    else
        return softmax_cy->*of_double;
}

/// A tensor as rows along its last dimension. They lie at even distances in a contiguous tensor, and in most others.
struct Rows {
    ptrdiff_t count = 1, length, stride = 0, inner;
    bool are_even = true;

    explicit Rows(const Tensor &x) : length(x.sizes().back()), inner(x.strides().back()) {
        for (int64_t d = x.dim() - 2; d >= 0; d--) {
            const int64_t size = x.sizes()[d];
            if (size == 1)
                continue;
            if (count == 1)
                stride = x.strides()[d];
            are_even = are_even && x.strides()[d] == stride * count;
            count *= size;
        }
    }
};

/// The two functions whose result has the shape of the logits.
struct Softmax {
    static constexpr const char *name = "softmax", *node = "SoftmaxBackward";
    template <typename Real>
    static auto function() {
        return choose<Real>(&Table::softmax_f32, &Table::softmax_f64);
    }
    template <typename Real>
    static auto vjp() {
        return choose<Real>(&Table::softmax_vjp_f32, &Table::softmax_vjp_f64);
    }
};

struct LogSoftmax {
    static constexpr const char *name = "log_softmax", *node = "LogSoftmaxBackward";
    template <typename Real>
    static auto function() {
        return choose<Real>(&Table::log_softmax_f32, &Table::log_softmax_f64);
    }
    template <typename Real>
    static auto vjp() {
        return choose<Real>(&Table::log_softmax_vjp_f32, &Table::log_softmax_vjp_f64);
    }
};

/// Neumaier's sum, as of the functions on arrays.
struct Sum {
    double sum = 0, lost = 0;

    void add(double term) {
        const double next = sum + term;
        if (next - next == 0)
            lost += std::abs(sum) >= std::abs(term) ? (sum - next) + term : (term - next) + sum;
        sum = next;
    }
    double total() const { return sum + lost; }
};

template <typename Real>
double add_losses(const Real *losses, ptrdiff_t rows, ptrdiff_t length) {
    const ptrdiff_t in_chunk = std::max<ptrdiff_t>(1, std::min(MOST_IN_CHUNK, CHUNK_LENGTH / length));
    Sum sum;
    for (ptrdiff_t first = 0; first < rows; first += in_chunk) {
        Sum chunk;
        for (ptrdiff_t i = first; i < std::min(rows, first + in_chunk); i++)
            chunk.add(losses[i]);
        sum.add(chunk.total());
    }
    return sum.total();
}

// ---- derivatives -----------------------------------------------------------------------------------------------------

bool needs_derivative(const Tensor &x) { return GradMode::is_enabled() && x.requires_grad(); }

/// A node of autograd's graph, which keeps some tensors.
template <size_t count>
class Backward : public Node {
  public:
    using Tensors = std::array<Tensor, count>;

    explicit Backward(const Tensor &x) { add_next_edge(torch::autograd::impl::gradient_edge(x)); }

    void release_variables() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (auto &variable : saved)
            variable.reset_data();
    }

    std::array<SavedVariable, count> saved;

  protected:
    /// Return the gradient in the logits, or an undefined tensor for what only the formulas in Python know.
    virtual Tensor compute(const Tensor &grad, const Tensors &tensors) = 0;
    /// The name of the function, what its autograd.Function in Python keeps, and its options.
    virtual py::tuple describe(const Tensors &tensors) const = 0;

    variable_list apply(variable_list &&grads) override {
        const Tensor &grad = grads[0];
        if (!grad.defined())
            return {Tensor()};
        const Tensors tensors = unpack();
        Tensor result;
        if (!GradMode::is_enabled() && is_plain_thread() && is_known(grad))
            result = compute(grad, tensors);
        if (!result.defined())
            result = ask_python(grad, tensors);
        return {result};
    }

  private:
    Tensors unpack() {
        const std::lock_guard<std::mutex> lock(mutex_);
        Tensors tensors;
        for (size_t i = 0; i < count; i++)
            tensors[i] = saved[i].unpack(c10::intrusive_ptr<Node>::reclaim_copy(this));
        return tensors;
    }

    Tensor ask_python(const Tensor &grad, const Tensors &tensors) const {
        const py::gil_scoped_acquire gil;
        const auto differentiate = py::module_::import("softmax_cy.torch._derivatives").attr("differentiate");
        return differentiate(*describe(tensors), grad).template cast<Tensor>();
    }
};

/// Say whether the kernels may read what was kept: hooks may have put something else in its place.
bool is_like(const Tensor &x, const Tensor &grad) {
    return is_known(x) && x.is_contiguous() && x.scalar_type() == grad.scalar_type();
}

template <typename Function>
class ForwardBackward final : public Backward<1> {
  public:
    ForwardBackward(const Tensor &x, double scale) : Backward(x), scale(scale) {}
    std::string name() const override { return Function::node; }

  protected:
    Tensor compute(const Tensor &grad, const Tensors &tensors) override {
        const Tensor &y = tensors[0];
        if (!is_like(y, grad) || y.sizes() != grad.sizes())
            return {};
        Tensor even = grad;
        if (!Rows(grad).are_even)
            even = grad.contiguous();
        const Rows rows(y), of_grad(even);
        Tensor result = make(y.sizes(), y);
        const int status = with_real(y, [&](auto zero) {
            using Real = decltype(zero);
            return Function::template vjp<Real>()(rows.count, rows.length, even.const_data_ptr<Real>(), of_grad.stride,
                                                  of_grad.inner, y.const_data_ptr<Real>(), rows.length, 1,
                                                  result.mutable_data_ptr<Real>(), rows.length, 1, scale);
        });
        return status == SOFTMAX_CY_OK ? result : Tensor();
    }

    py::tuple describe(const Tensors &tensors) const override {
        const auto dims = py::make_tuple(tensors[0].dim() - 1);
        return py::make_tuple(Function::name, py::make_tuple(tensors[0], py::none()), py::make_tuple(dims, scale));
    }

  private:
    const double scale;
};

class LogSumExpBackward final : public Backward<1> {
  public:
    LogSumExpBackward(const Tensor &x, double scale, bool keepdim) : Backward(x), scale(scale), keepdim(keepdim) {}
    std::string name() const override { return "LogSumExpBackward"; }

  protected:
    /// The gradient is softmax(scale * x) times the scale times the gradient of the row.
    Tensor compute(const Tensor &grad, const Tensors &tensors) override {
        const Tensor &x = tensors[0];
        // A scale is multiplied first in Python, and rounded.
        if (!is_like(x, grad) || scale != 1)
            return {};
        const Rows rows(x);
        if (grad.numel() != rows.count)
            return {};
        const Tensor factors = grad.contiguous();
        Tensor result = make(x.sizes(), x);
        const int status = with_real(x, [&](auto zero) {
            using Real = decltype(zero);
            const ptrdiff_t bytes = rows.length * static_cast<ptrdiff_t>(sizeof(Real));
            const ptrdiff_t block = std::max<ptrdiff_t>(1, NEAR_BYTES / bytes);
            const Real *from = x.const_data_ptr<Real>(), *factor = factors.const_data_ptr<Real>();
            Real *to = result.mutable_data_ptr<Real>();
            for (ptrdiff_t first = 0; first < rows.count; first += block) {
                const ptrdiff_t count = std::min(block, rows.count - first);
                const int status =
                    Softmax::function<Real>()(count, rows.length, from, rows.length, 1, to, rows.length, 1, scale);
                if (status != SOFTMAX_CY_OK)
                    return status;
                from += count * rows.length;
                for (const Real *end = factor + count; factor < end; factor++, to += rows.length)
                    for (ptrdiff_t i = 0; i < rows.length; i++)
                        to[i] *= *factor;
            }
            return static_cast<int>(SOFTMAX_CY_OK);
        });
        return status == SOFTMAX_CY_OK ? result : Tensor();
    }

    py::tuple describe(const Tensors &tensors) const override {
        const auto dims = py::make_tuple(tensors[0].dim() - 1);
        return py::make_tuple("logsumexp", py::make_tuple(tensors[0], py::none()),
                              py::make_tuple(dims, scale, keepdim));
    }

  private:
    const double scale;
    const bool keepdim;
};

/// It keeps the gradient. The logits and the target are for derivatives of second order.
class CrossEntropyBackward final : public Backward<3> {
  public:
    CrossEntropyBackward(const Tensor &x, long ignore_index, const char *reduction)
        : Backward(x), ignore_index(ignore_index), reduction(reduction) {}
    std::string name() const override { return "CrossEntropyBackward"; }

  protected:
    Tensor compute(const Tensor &grad, const Tensors &tensors) override {
        const Tensor &kept = tensors[2];
        if (!is_known(kept))
            return {};
        if (grad.dim())
            return kept * grad.unsqueeze(-1);
        if (!with_real(grad, [&](auto zero) { return *grad.const_data_ptr<decltype(zero)>() == 1; }))
            return kept * grad;
        // Whoever gets it may change it, and a graph that is kept needs it again.
        return torch::autograd::get_current_graph_task_keep_graph() ? kept.clone() : kept;
    }

    py::tuple describe(const Tensors &tensors) const override {
        return py::make_tuple("cross_entropy", py::make_tuple(tensors[0], tensors[1], py::none(), tensors[2]),
                              py::make_tuple(ignore_index, 0.0, reduction));
    }

  private:
    const long ignore_index;
    const char *const reduction;
};

// ---- the functions of the module -------------------------------------------------------------------------------------

/// Be softmax or log_softmax: input, dim, dtype, where, scale.
template <typename Function>
PyObject *compute_forward(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    const Tensor *x = count == 5 ? take_logits(arguments[0], SLICES_COST) : nullptr;
    if (x == nullptr || !is_last(arguments[1], *x) || arguments[2] != Py_None || arguments[3] != Py_None ||
        !PyFloat_CheckExact(arguments[4]))
        Py_RETURN_NONE;
    const double scale = PyFloat_AS_DOUBLE(arguments[4]);
    const Rows rows(*x);
    Tensor y = make(x->sizes(), *x);
    const int status = with_real(*x, [&](auto zero) {
        using Real = decltype(zero);
        const GilReleased released;
        return Function::template function<Real>()(rows.count, rows.length, x->const_data_ptr<Real>(), rows.length, 1,
                                                   y.mutable_data_ptr<Real>(), rows.length, 1, scale);
    });
    if (status != SOFTMAX_CY_OK)
        Py_RETURN_NONE;
    if (needs_derivative(*x)) {
        const auto node = c10::make_intrusive<ForwardBackward<Function>>(*x, scale);
        torch::autograd::set_history(y, node);
        node->saved[0] = SavedVariable(y, true);
    }
    return THPVariable_Wrap(std::move(y));
    END_HANDLE_TH_ERRORS
}

/// Be logsumexp: input, dim, keepdim, where, scale.
PyObject *compute_logsumexp(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    const Tensor *x = count == 5 ? take_logits(arguments[0], SLICES_COST) : nullptr;
    if (x == nullptr || !is_last(arguments[1], *x) || !PyBool_Check(arguments[2]) || arguments[3] != Py_None ||
        !PyFloat_CheckExact(arguments[4]))
        Py_RETURN_NONE;
    const bool keepdim = arguments[2] == Py_True;
    const double scale = PyFloat_AS_DOUBLE(arguments[4]);
    const Rows rows(*x);
    c10::SmallVector<int64_t, 5> sizes(x->sizes().begin(), x->sizes().end() - 1);
    if (keepdim)
        sizes.push_back(1);
    Tensor y = make(sizes, *x);
    const int status = with_real(*x, [&](auto zero) {
        using Real = decltype(zero);
        const GilReleased released;
        return choose<Real>(&Table::logsumexp_f32, &Table::logsumexp_f64)(
            rows.count, rows.length, x->const_data_ptr<Real>(), rows.length, 1, y.mutable_data_ptr<Real>(), 1, scale);
    });
    if (status != SOFTMAX_CY_OK)
        Py_RETURN_NONE;
    if (needs_derivative(*x)) {
        const auto node = c10::make_intrusive<LogSumExpBackward>(*x, scale, keepdim);
        node->saved[0] = SavedVariable(*x, false);
        torch::autograd::set_history(y, node);
    }
    return THPVariable_Wrap(std::move(y));
    END_HANDLE_TH_ERRORS
}

/// Return the reduction as a constant, or a null pointer.
const char *read_reduction(PyObject *value) {
    for (const char *reduction : {"mean", "sum", "none"})
        if (is_text(value, reduction))
            return reduction;
    return nullptr;
}

/// Return the classes of a call that is taken: int64, one for each of the rows.
const Tensor *take_classes(PyObject *value, const Tensor &x) {
    if (!THPVariable_CheckExact(value))
        return nullptr;
    const Tensor &target = THPVariable_Unpack(value);
    return is_plain(target) && target.scalar_type() == at::kLong && target.dim() == 1 && target.size(0) == x.size(0)
               ? &target
               : nullptr;
}

/// Be cross_entropy: input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing, where, scale.
PyObject *compute_cross_entropy(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    const Tensor *x = count == 10 ? take_logits(arguments[0], CROSS_ENTROPY_COST) : nullptr;
    if (x == nullptr || x->dim() != 2)
        Py_RETURN_NONE;
    for (const int i : {2, 3, 5, 8}) // weight, size_average, reduce, where
        if (arguments[i] != Py_None)
            Py_RETURN_NONE;
    const Tensor *target = take_classes(arguments[1], *x);
    const auto ignore_index = read_int(arguments[4]);
    const char *reduction = read_reduction(arguments[6]);
    // The kernel ignores nothing. A negative class is out of range to it, and it leaves the call; others are left here.
    if (target == nullptr || !ignore_index || *ignore_index >= 0 || reduction == nullptr ||
        !is_float(arguments[7], 0) || !is_float(arguments[9], 1))
        Py_RETURN_NONE;
    const bool one_by_one = std::strcmp(reduction, "none") == 0, with_grad = needs_derivative(*x);
    const ptrdiff_t rows = x->size(0), length = x->size(1);
    const double factor = std::strcmp(reduction, "mean") == 0 ? 1 / static_cast<double>(rows) : 1;
    Tensor loss = make(x->sizes().slice(0, one_by_one ? 1 : 0), *x), grad;
    if (with_grad)
        grad = make(x->sizes(), *x);
    const int status = with_real(*x, [&](auto zero) {
        using Real = decltype(zero);
        const GilReleased released;
        Real *result = loss.mutable_data_ptr<Real>();
        c10::SmallVector<Real, 256> memory(static_cast<size_t>(one_by_one ? 0 : rows));
        Real *losses = one_by_one ? result : memory.data();
        const int status = choose<Real>(&Table::cross_entropy_and_grad_f32, &Table::cross_entropy_and_grad_f64)(
            rows, length, x->const_data_ptr<Real>(), length, 1, target->const_data_ptr<int64_t>(), target->stride(0),
            losses, 1, with_grad ? grad.mutable_data_ptr<Real>() : nullptr, length, 1, factor);
        if (status == SOFTMAX_CY_OK && !one_by_one)
            *result = static_cast<Real>(add_losses(losses, rows, length) * factor);
        return status;
    });
    if (status != SOFTMAX_CY_OK)
        Py_RETURN_NONE;
    if (with_grad) {
        const auto node = c10::make_intrusive<CrossEntropyBackward>(*x, *ignore_index, reduction);
        node->saved = {SavedVariable(*x, false), SavedVariable(*target, false), SavedVariable(grad, false)};
        torch::autograd::set_history(loss, node);
    }
    return THPVariable_Wrap(std::move(loss));
    END_HANDLE_TH_ERRORS
}

using Method = PyObject *(*)(PyObject *, PyObject *const *, Py_ssize_t);

/// C declares one type for methods of all kinds. Through this one a compiler takes the conversion as meant.
PyMethodDef describe_method(const char *name, Method method) {
    return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(method)), METH_FASTCALL, nullptr};
}

PyMethodDef methods[] = {describe_method("softmax", compute_forward<Softmax>),
                         describe_method("log_softmax", compute_forward<LogSoftmax>),
                         describe_method("logsumexp", compute_logsumexp),
                         describe_method("cross_entropy", compute_cross_entropy),
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "softmax_cy.torch._native",
                          "The fast route, in C++. Each function returns None for a call that it does not take.",
                          -1,
                          methods,
                          nullptr,
                          nullptr,
                          nullptr,
                          nullptr};

/// Refuse to run with another torch than the one whose headers were read: what they describe changes between versions.
bool is_the_right_torch() {
    auto version = py::module_::import("torch.version").attr("__version__").cast<std::string>();
    version = version.substr(0, version.find('+'));
    if (version == TORCH_VERSION)
        return true;
    PyErr_Format(PyExc_ImportError, "it was built for torch %s, and this is torch %s", TORCH_VERSION, version.c_str());
    return false;
}

} // namespace

PyMODINIT_FUNC PyInit__native(void) {
    HANDLE_TH_ERRORS
    if (!is_the_right_torch() || softmax_cy_import() < 0)
        return nullptr;
    outside = look_at_ordinary(false);
    inside = look_at_ordinary(true);
    return PyModule_Create(&definition);
    END_HANDLE_TH_ERRORS
}
