"""What the example programs share: the `--output` option, the printed checks, and the figures."""

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

OUR_COLOUR = "#4477aa"


def output_directory(description: str | None) -> Path:
    """Read `--output DIR` from the command line and create that directory.

    `description` is the program's docstring; `--help` shows it as it is.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR", help="where to write")
    directory: Path = parser.parse_args().output
    directory.mkdir(parents=True, exist_ok=True)
    return directory


class Checks:
    """Prints each check as it is made and remembers whether all of them held."""

    def __init__(self) -> None:
        self._all_hold = True

    def check(self, what: str, holds: bool) -> None:
        """Print one check and its outcome."""
        print(f"check  {what} ... {bool(holds)}")
        self._all_hold &= bool(holds)

    def exit_code(self) -> int:
        """0 if every check held, 1 otherwise."""
        return 0 if self._all_hold else 1


def blank_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, that needs no display and leaves air between its panels."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG and print where it is."""
    figure.savefig(path, format="png", dpi=150)
    print(f"\npicture: {path}")
