"""Train a classifier of handwritten digits with softmax_cy's softmax and Jacobian, and nothing else of its kind.

The model is multinomial logistic regression on the 1,797 images that scikit-learn bundles, 8 x 8 pixels each, and the
method is Newton's. Why Newton: the gradient of the loss in the logits is y - t, the predicted less the true
probabilities, so the second derivative is the Jacobian of softmax as it stands; and 10 x 65 parameters are few enough
to solve for in one piece, so that a handful of steps reaches the optimum to many digits. The result is compared with
scikit-learn's LogisticRegression, with the same split and the same regularisation.

    python examples/digits.py [--output DIR]

Needs scikit-learn, matplotlib and rich. Writes digits.png to DIR, by default ./demo-output: the Jacobian at the
held-out image that the model is least certain of. Exits with 1 if the two classifiers disagree.
"""

import sys
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from _demo import OUR_COLOUR, Checks, blank_figure, output_directory, save
from softmax_cy import softmax, softmax_jacobian

CLASSES = 10
BRIGHTEST_PIXEL = 16.0
SEED = 0

C = 1.0
GRADIENT_TOLERANCE = 1e-9
MOST_STEPS = 50
SUFFICIENT_DECREASE = 1e-4


@dataclass(frozen=True)
class Data:
    """Images as rows of pixels in [0, 1] with a 1 appended, and their labels."""

    features: np.ndarray
    labels: np.ndarray

    @property
    def pixels(self) -> np.ndarray:
        """The features without the appended 1."""
        return self.features[:, :-1]


@dataclass(frozen=True)
class Scores:
    """How well a classifier does."""

    objective: float
    accuracy: float
    log_loss: float


def load_split() -> tuple[Data, Data]:
    """The images for training and those held out, the same on every run."""
    pixels, labels = load_digits(return_X_y=True)
    # The appended 1 makes the intercept one more weight, which spares it code of its own throughout.
    features = np.column_stack([pixels / BRIGHTEST_PIXEL, np.ones(len(pixels))])
    split = train_test_split(features, labels, test_size=0.3, random_state=SEED, stratify=labels)
    train_features, test_features, train_labels, test_labels = split
    return Data(train_features, train_labels), Data(test_features, test_labels)


def predict(weights: np.ndarray, data: Data) -> np.ndarray:
    """The probability of each class for each image; `weights` has one row for each class."""
    return softmax(data.features @ weights.T)


def log_loss(y: np.ndarray, labels: np.ndarray) -> float:
    """The mean of -log of the probability given to the true class."""
    return float(-np.log(y[np.arange(len(labels)), labels]).mean())


def penalty(data: Data) -> np.ndarray:
    """The L2 penalty on each feature's weights: scikit-learn's for the same C, which leaves the intercept free."""
    per_weight = np.full(data.features.shape[1], 1.0 / (C * len(data.labels)))
    per_weight[-1] = 0.0
    return per_weight


def objective(weights: np.ndarray, data: Data) -> float:
    """What training minimises: log loss plus half the penalty on the squared weights."""
    return log_loss(predict(weights, data), data.labels) + 0.5 * float((penalty(data) * weights**2).sum())


def gradient(weights: np.ndarray, y: np.ndarray, data: Data) -> np.ndarray:
    """The first derivative of the objective, in the shape of `weights`."""
    truth = np.eye(CLASSES)[data.labels]
    return (y - truth).T @ data.features / len(data.labels) + penalty(data) * weights


def hessian(y: np.ndarray, data: Data) -> np.ndarray:
    """The second derivative of the objective, as a matrix over all weights.

    That of the loss is the mean over images k of J_k (x) x_k x_k^T, where J_k is the Jacobian of softmax at image k and
    x_k are its features.
    """
    # In two steps because the second is then one matrix product, where a single einsum would run as plain loops.
    weighted = np.einsum("kab,ki->kaib", softmax_jacobian(y), data.features)
    blocks = np.tensordot(weighted, data.features, axes=(0, 0)) / len(data.labels)
    # Adding one number to all intercepts changes no prediction, which would leave the matrix singular. The gradient has
    # no part along that direction, so curvature added to it alters no step.
    blocks[:, -1, :, -1] += 1.0
    size = CLASSES * data.features.shape[1]
    matrix = blocks.reshape(size, size)
    matrix[np.diag_indices(size)] += np.tile(penalty(data), CLASSES)
    return matrix


def damped_step(weights: np.ndarray, slope: np.ndarray, direction: np.ndarray, data: Data) -> tuple[np.ndarray, float]:
    """Step along the Newton direction, halved until the objective falls by a fair part of what the slope promises."""
    start = objective(weights, data)
    promised = float((slope * direction).sum())
    length = 1.0
    while objective(weights - length * direction, data) > start - SUFFICIENT_DECREASE * length * promised:
        length /= 2
    return weights - length * direction, length


def train(data: Data, console: Console) -> tuple[np.ndarray, float]:
    """Fit the weights by damped Newton steps; return them with the norm of the gradient there."""
    weights = np.zeros((CLASSES, data.features.shape[1]))
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        # Near the optimum each step doubles the number of correct digits, so the bar counts digits and not steps.
        bar = progress.add_task("digits of the gradient", total=-np.log10(GRADIENT_TOLERANCE))
        length = 0.0
        for step in range(MOST_STEPS):
            y = predict(weights, data)
            slope = gradient(weights, y, data)
            norm = float(np.linalg.norm(slope))
            progress.update(bar, completed=-np.log10(norm))
            progress.console.print(
                f"step {step:2}  length {length:<6g}  objective {objective(weights, data):.10f}  |gradient| {norm:.1e}"
            )
            if norm <= GRADIENT_TOLERANCE:
                break
            direction = np.linalg.solve(hessian(y, data), slope.ravel()).reshape(weights.shape)
            weights, length = damped_step(weights, slope, direction, data)
    return weights, norm


def train_scikit_learn(data: Data) -> np.ndarray:
    """The weights that scikit-learn finds for the same problem, by its default method, L-BFGS."""
    model = LogisticRegression(C=C, tol=1e-7, max_iter=10_000).fit(data.pixels, data.labels)
    return np.column_stack([model.coef_, model.intercept_])


def score(weights: np.ndarray, train_data: Data, test_data: Data) -> Scores:
    """The objective on the training images, and the quality of the predictions on the held-out ones."""
    y = predict(weights, test_data)
    return Scores(
        objective=objective(weights, train_data),
        accuracy=float((y.argmax(axis=1) == test_data.labels).mean()),
        log_loss=log_loss(y, test_data.labels),
    )


def score_table(rows: dict[str, Scores]) -> Table:
    """The scores side by side."""
    table = Table(title=f"Multinomial logistic regression, C = {C:g}")
    table.add_column("trained by")
    for heading in ("train objective", "test accuracy", "test log loss"):
        table.add_column(heading, justify="right")
    for name, scores in rows.items():
        table.add_row(name, f"{scores.objective:.8f}", f"{scores.accuracy:.2%}", f"{scores.log_loss:.6f}")
    return table


def draw_image(axes: Axes, pixels: np.ndarray, label: int) -> None:
    """The digit as the model sees it."""
    axes.imshow(pixels.reshape(8, 8), cmap="gray_r")
    axes.set_title(f"held-out image, label {label}", fontsize=14)
    axes.set_xticks([])
    axes.set_yticks([])


def draw_probabilities(axes: Axes, y: np.ndarray) -> None:
    """The predicted probabilities as labelled bars."""
    bars = axes.barh(np.arange(CLASSES), y, color=OUR_COLOUR)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=10)
    axes.set_title("softmax: the probability of each class", fontsize=14)
    axes.set_ylabel("class", fontsize=12)
    axes.set_yticks(np.arange(CLASSES))
    axes.set_xticks([])
    axes.set_xlim(0, 1.2 * y.max())
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def draw_jacobian(axes: Axes, jacobian: np.ndarray) -> None:
    """The Jacobian as a heat map in which white is zero."""
    limit = np.abs(jacobian).max()
    image = axes.imshow(jacobian, cmap="RdBu_r", vmin=-limit, vmax=limit)
    for (i, j), value in np.ndenumerate(jacobian):
        # A table of zeros would hide the few entries that matter.
        if abs(value) >= 0.005:
            colour = "white" if abs(value) > 0.6 * limit else "black"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=10, color=colour)
    axes.set_title("softmax_jacobian: how the probabilities\nmove with the logits", fontsize=14)
    axes.set_xlabel("logit of class j", fontsize=12)
    axes.set_ylabel("probability of class i", fontsize=12)
    axes.set_xticks(np.arange(CLASSES))
    axes.set_yticks(np.arange(CLASSES))
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label("$\\partial y_i \\,/\\, \\partial x_j$", fontsize=14)


def least_certain_figure(weights: np.ndarray, data: Data) -> Figure:
    """The held-out image whose best class has the lowest probability, with its prediction and its Jacobian."""
    y = predict(weights, data)
    k = int(y.max(axis=1).argmin())
    figure = blank_figure(13, 7)
    panels = figure.subplot_mosaic([["image", "jacobian"], ["y", "jacobian"]], width_ratios=[1, 2.2])
    draw_image(panels["image"], data.pixels[k], data.labels[k])
    draw_probabilities(panels["y"], y[k])
    draw_jacobian(panels["jacobian"], softmax_jacobian(y[k]))
    return figure


def main() -> int:
    """Train, compare with scikit-learn, and draw; return the exit code."""
    directory = output_directory(__doc__)
    console = Console()
    train_data, test_data = load_split()

    print("Newton's method: the gradient in the logits is y - t, and its derivative is the softmax Jacobian.")
    # The matrices are small: more than one BLAS thread would mostly wait for the others.
    with threadpool_limits(limits=1):
        weights, gradient_norm = train(train_data, console)
        reference = train_scikit_learn(train_data)
    ours = score(weights, train_data, test_data)
    theirs = score(reference, train_data, test_data)

    print()
    console.print(score_table({"softmax_cy, Newton": ours, "scikit-learn, L-BFGS": theirs}))
    checks = Checks()
    checks.check(f"norm of the gradient at most {GRADIENT_TOLERANCE:g}", gradient_norm <= GRADIENT_TOLERANCE)
    checks.check("training objectives equal to 1 in 10^6", np.isclose(ours.objective, theirs.objective, rtol=1e-6))
    checks.check("held-out accuracies within 1 point", abs(ours.accuracy - theirs.accuracy) <= 0.01)
    checks.check("held-out log losses equal to 1 in 10^3", np.isclose(ours.log_loss, theirs.log_loss, rtol=1e-3))

    save(least_certain_figure(weights, test_data), directory / "digits.png")
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(main())
