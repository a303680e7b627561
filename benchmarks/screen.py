"""Shows tables and a progress bar while the race runs: by rich, or as Markdown where rich is not installed."""

from __future__ import annotations

import sys
from types import TracebackType

from benchmarks.report import Table, markdown_table

WIDTH_IN_A_FILE = 180  # enough for all columns


class PlainScreen:
    """A screen that prints Markdown to the standard output, and shows no progress."""

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def advance(self, what: str) -> None:
        """Say that the next case begins."""

    def say(self, text: str) -> None:
        """Show one line."""
        print(text, flush=True)

    def show(self, table: Table) -> None:
        """Show one table."""
        print(markdown_table(table), flush=True)


class RichScreen:
    """A screen with tables above a bar that names the current case. Only a terminal has the bar."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.console = Console(width=None if sys.stdout.isatty() else WIDTH_IN_A_FILE)
        columns = TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self.progress = Progress(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal, refresh_per_second=1
        )
        self.task = self.progress.add_task("", total=total)
        self.begun = 0

    def __enter__(self) -> RichScreen:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def advance(self, what: str) -> None:
        """Say that the next case begins."""
        self.progress.update(self.task, completed=self.begun, description=what, refresh=True)
        self.begun += 1

    def say(self, text: str) -> None:
        """Show one line."""
        self.console.print(text, markup=False, highlight=False, style=style_of(text))

    def show(self, table: Table) -> None:
        """Show one table with its notes below."""
        from rich.table import Table as RichTable

        drawn = RichTable(title=table.title, title_justify="left")
        for header in table.headers:
            drawn.add_column(
                header, justify="left" if header == "case" else "right", no_wrap=header == "case", overflow="fold"
            )
        for row in table.rows:
            if table.summary and row is table.rows[-1]:
                drawn.add_section()
                drawn.add_row(*row, style="bold")
            else:
                drawn.add_row(*row)
        self.console.print(drawn)
        for note in table.notes:
            self.say(f"  {note}")
        self.console.print()


def style_of(text: str) -> str | None:
    """Return the colour of a line that matters."""
    word = text.split(":")[0].strip()
    return {"met": "green", "MISSED": "bold red", "WRONG": "bold red", "left out": "yellow", "busy": "yellow"}.get(word)


def screen(total: int) -> PlainScreen | RichScreen:
    """Return the better screen that is installed."""
    try:
        return RichScreen(total)
    except ImportError:
        return PlainScreen()
