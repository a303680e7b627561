"""Train a small network on digits twice: once with torch's CrossEntropyLoss, once with that of softmax_cy.torch.

The images are the 1,797 of 8 x 8 pixels that scikit-learn bundles. Both networks begin with the same weights and see
the same batches, so that all that differs is the loss. Then two things that nobody sees in such a training: a model
as it is, patched to use softmax_cy, and logits so far apart that torch's log_softmax has no gradient left.

    python examples/torch_classifier.py

Needs torch, scikit-learn and rich. Exits with 1 if the two networks disagree.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import softmax_cy.torch
from _demo import Checks

TORCH, OURS, WIDE = "torch", "softmax_cy", "torch, float64"
LOSSES = {TORCH: torch.nn.CrossEntropyLoss, OURS: softmax_cy.torch.CrossEntropyLoss}

BRIGHTEST_PIXEL = 16.0
CLASSES = 10
WIDTH = 64
BATCH = 128
EPOCHS = 30
LEARNING_RATE = 0.1
SEED = 0

MANY_CLASSES = 10_000
ROUNDS = 100

# Logits of a model that is certain of class 0: the others have a probability of 4e-18 each.
CERTAIN = (40.0, 0.0, 0.0)


@dataclass(frozen=True)
class Data:
    """Images as rows of pixels in [0, 1], and their labels."""

    pixels: torch.Tensor
    labels: torch.Tensor


@dataclass
class Training:
    """A network in training with one of the losses, and what is measured of it."""

    network: torch.nn.Module
    loss: torch.nn.Module
    optimizer: torch.optim.Optimizer
    seconds: list[float] = field(default_factory=list)
    last_loss: float = 0.0

    def step(self, pixels: torch.Tensor, labels: torch.Tensor) -> None:
        """Take one step of gradient descent."""
        start = time.perf_counter()
        self.optimizer.zero_grad()
        loss = self.loss(self.network(pixels), labels)
        loss.backward()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - start)
        self.last_loss = loss.item()


def load_split() -> tuple[Data, Data]:
    """Return the images for training and those held out, the same on every run."""
    pixels, labels = load_digits(return_X_y=True)
    pixels, labels = torch.tensor(pixels, dtype=torch.float32) / BRIGHTEST_PIXEL, torch.tensor(labels)
    chosen, held_out = train_test_split(range(len(labels)), test_size=0.3, random_state=SEED, stratify=labels)
    return Data(pixels[chosen], labels[chosen]), Data(pixels[held_out], labels[held_out])


def make_network() -> torch.nn.Module:
    """Make a network with one hidden layer, with the same weights each time."""
    torch.manual_seed(SEED)
    return torch.nn.Sequential(torch.nn.Linear(64, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, CLASSES))


def make_training(name: str) -> Training:
    """Prepare a training with one of the losses."""
    network = make_network()
    return Training(network, LOSSES[name](), torch.optim.SGD(network.parameters(), LEARNING_RATE, momentum=0.9))


def make_batches(data: Data) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Return the batches of all epochs, in the same order each time."""
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(data.labels), generator=generator).split(BATCH):
            yield data.pixels[batch], data.labels[batch]


def train_in_turns(data: Data) -> dict[str, Training]:
    """Train both networks, batch by batch in turns, so that a busy machine slows down both."""
    trainings = {name: make_training(name) for name in LOSSES}
    for number, batch in enumerate(make_batches(data)):
        names = list(trainings) if number % 2 else list(reversed(trainings))
        for name in names:
            trainings[name].step(*batch)
    return trainings


def find_accuracy(network: torch.nn.Module, data: Data) -> float:
    """Return which part of the images a network classifies right."""
    with torch.inference_mode():
        return (network(data.pixels).argmax(1) == data.labels).double().mean().item()


def compare_trainings(trainings: dict[str, Training], data: Data, checks: Checks) -> None:
    """Show both trainings side by side, and check that they learned the same."""
    table = Table(title=f"{EPOCHS} epochs in batches of {BATCH}, one thread")
    for header in ("loss by", "accuracy", "last loss", "µs a step (median)"):
        table.add_column(header, justify="left" if header == "loss by" else "right")
    accuracies = {name: find_accuracy(training.network, data) for name, training in trainings.items()}
    for name, training in trainings.items():
        microseconds = 1e6 * statistics.median(training.seconds)
        table.add_row(name, f"{accuracies[name]:.4f}", f"{training.last_loss:.6f}", f"{microseconds:.0f}")
    Console().print(table)
    # Rounding alone may turn an image that lies between two classes.
    differing = round(abs(accuracies[OURS] - accuracies[TORCH]) * len(data.labels))
    checks.check(f"the same accuracy, but for at most one of {len(data.labels)} images", differing <= 1)
    checks.check("more than 0.95", accuracies[OURS] > 0.95)
    theirs, ours = (trainings[name].last_loss for name in (TORCH, OURS))
    checks.check("the same last loss, within one in ten thousand", abs(ours - theirs) <= 1e-4 * theirs)


def time_losses(checks: Checks) -> None:
    """Show how long the loss and its gradient take by themselves, for these classes and for many."""
    table = Table(title=f"\nLoss and gradient alone, best of {ROUNDS}")
    for header in ("logits", f"{TORCH}, µs", f"{OURS}, µs", f"{TORCH} / {OURS}"):
        table.add_column(header, justify="right")
    same = {}
    for classes in (CLASSES, MANY_CLASSES):
        generator = torch.Generator().manual_seed(SEED)
        logits = torch.randn(BATCH, classes, generator=generator).requires_grad_()
        labels = torch.randint(classes, (BATCH,), generator=generator)
        seconds = {name: float("inf") for name in LOSSES}
        gradients = {}
        for _ in range(ROUNDS):
            for name, loss in LOSSES.items():
                logits.grad = None
                start = time.perf_counter()
                loss()(logits, labels).backward()
                seconds[name] = min(seconds[name], time.perf_counter() - start)
                gradients[name] = logits.grad
        times = [f"{1e6 * seconds[name]:.0f}" for name in LOSSES]
        table.add_row(f"{BATCH} x {classes}", *times, f"{seconds[TORCH] / seconds[OURS]:.2f}")
        same[classes] = torch.allclose(gradients[OURS], gradients[TORCH], rtol=1e-4, atol=1e-9)
    Console().print(table)
    print("With few classes most of the time goes into the call from Python, with many into the loss.")
    for classes, alike in same.items():
        checks.check(f"the same gradient of {BATCH} x {classes}", alike)


def patch_model(network: torch.nn.Module, data: Data, checks: Checks) -> None:
    """Run a model and a loss of torch as they are, with softmax_cy below them."""
    loss = torch.nn.CrossEntropyLoss()
    before = loss(network(data.pixels), data.labels)
    with softmax_cy.torch.patch(network) as patched:
        print("\npatch(network) replaced, in this block only:")
        for name in patched.replaced:
            print(f"  {name}")
        during = loss(network(data.pixels), data.labels)
    after = loss(network(data.pixels), data.labels)
    steps = [value.grad_fn.name() for value in (before, during, after)]
    print(f"the step that autograd records before, in and after the block: {', '.join(steps)}")
    checks.check("patched, torch's own loss goes through softmax_cy", steps[1] != steps[0])
    checks.check("and afterwards no longer", steps[2] == steps[0])
    checks.check("the same value", torch.allclose(during, before))


def saturate(checks: Checks) -> None:
    """Show what becomes of a gradient where the model is certain of the target."""
    table = Table(title=f"\nfloat32 logits {list(CERTAIN)}, target 0")
    for header in ("by", "log_softmax", "cross_entropy", "its gradient"):
        table.add_column(header, justify="left" if header == "by" else "right")
    target = torch.tensor(0)
    gradients = {}
    for name, softmaxes, losses in (
        (TORCH, torch, torch.nn.functional),
        (OURS, softmax_cy.torch, softmax_cy.torch),
        (WIDE, torch, torch.nn.functional),
    ):
        x = torch.tensor(CERTAIN, dtype=torch.float64 if name == WIDE else torch.float32, requires_grad=True)
        loss = losses.cross_entropy(x, target)
        loss.backward()
        gradients[name] = x.grad
        numbers = ", ".join(f"{value:.3g}" for value in x.grad.tolist())
        table.add_row(name, f"{softmaxes.log_softmax(x, 0)[0].item():.3g}", f"{loss.item():.3g}", numbers)
    Console().print(table)
    print("torch finds no loss here, not even in float64, and gives the logit of the target no gradient.")
    checks.check("torch's gradient at the target is 0, in float64 too", gradients[TORCH][0] == gradients[WIDE][0] == 0)
    checks.check("that of softmax_cy is less than 0", gradients[OURS][0] < 0)
    checks.check(
        "and takes from the target what it gives to the others",
        torch.isclose(-gradients[OURS][0], gradients[OURS][1:].sum(), rtol=1e-6, atol=0),
    )


def main() -> int:
    """Train, patch and saturate; return the exit code."""
    # Threads would wait for each other longer than networks as small as this one take.
    torch.set_num_threads(1)
    checks = Checks()
    data, held_out = load_split()
    trainings = train_in_turns(data)
    compare_trainings(trainings, held_out, checks)
    time_losses(checks)
    patch_model(trainings[TORCH].network, held_out, checks)
    saturate(checks)
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(main())
