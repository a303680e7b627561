"""Reads the tables in Markdown that the tools of benchmarks/ write into docs/results/."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Section:
    """A heading of the second level, with the first table below it and the bullets that follow."""

    title: str
    headers: list[str] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_sections(path: Path) -> list[Section]:
    """Return the sections of a page that have a table."""
    found = []
    for part in path.read_text().split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        headers, rows = read_table(body)
        if rows:
            found.append(Section(title, headers, rows, re.findall(r"^- (.*)$", body, re.MULTILINE)))
    return found


def read_table(text: str) -> tuple[list[str], list[dict[str, str]]]:
    """Return the headers and the rows of the table in a text. There is one at most."""
    lines = [split_row(line) for line in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    headers = lines[0] if lines else []
    return headers, [dict(zip(headers, cells, strict=True)) for cells in lines[2:]]


def split_row(line: str) -> list[str]:
    """Return the cells of a row, without what makes them bold."""
    return [cell.strip(" *") for cell in line.strip("|").split("|")]


def read_facts(path: Path) -> dict[str, str]:
    """Return the lines `- name: value` above the first section: date, CPU, versions."""
    head = path.read_text().split("\n## ")[0]
    return dict(re.findall(r"^- ([\w ]+?): (.*)$", head, re.MULTILINE))


def read_number(cell: str) -> float | None:
    """Return the number that a cell begins with, or None."""
    found = re.match(r"[-+]?[\d,]*\.?\d+(?:e[-+]?\d+)?", cell)
    return float(found[0].replace(",", "")) if found else None


def write_table(headers: list[str], rows: list[list[str]], left: int = 1) -> str:
    """Write a table in Markdown, with so many columns of text before those of numbers."""
    rule = f"|{'|'.join('---' if i < left else '---:' for i in range(len(headers)))}|"
    first, *others = (f"| {' | '.join(cells)} |" for cells in [headers, *rows])
    return "\n".join([first, rule, *others])
