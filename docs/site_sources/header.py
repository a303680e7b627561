"""Writes the page of the C interface from the comments of softmax_cy.h."""

from __future__ import annotations

import re
import textwrap

COMMENT = r"/\*\*(?P<text>(?:(?!\*/).)*)\*/\s*"
MEMBER = re.compile(COMMENT + r"(?P<code>[^;/]+);", re.DOTALL)
VALUE = re.compile(COMMENT + r"(?P<name>SOFTMAX_CY_\w+) = (?P<value>\d+)", re.DOTALL)
MACRO = re.compile(COMMENT + r"#define (?P<name>SOFTMAX_CY_\w+) ", re.DOTALL)
VARIABLE = re.compile(r"@var softmax_cy\n(?P<text>.*?)\*/", re.DOTALL)
FUNCTION = re.compile(COMMENT + r"static inline (?P<code>[^{;]*?\(.*?\)) \{", re.DOTALL)


def write_page(header: str) -> str:
    """Return the page."""
    body = "\n".join(
        [
            text_of(re.search(COMMENT, header, re.DOTALL)["text"]),
            *(describe("c:function", one_line(found["code"]), found["text"]) for found in FUNCTION.finditer(header)),
            describe("c:var", "const softmax_cy_table *softmax_cy", VARIABLE.search(header)["text"]),
            *(describe("c:macro", found["name"], found["text"]) for found in MACRO.finditer(header)),
            *describe_statuses(header),
            *describe_table(header),
        ]
    )
    guide = "The guide with examples in C, C++, Cython, numba and cffi is [embedding](/embedding.md)."
    in_python = ".. autoclass:: softmax_cy.capi.Status\n   :members:\n   :undoc-members:\n   :member-order: bysource"
    return (
        f"# The C interface\n\n{guide} This page is the header.\n\n```{{eval-rst}}\n{body}\n```\n\n"
        f"## In Python\n\n```{{eval-rst}}\n{in_python}\n```\n"
    )


def describe_statuses(header: str) -> list[str]:
    """Return the enumeration of what the functions return."""
    found = re.search(COMMENT + r"enum softmax_cy_status \{(?P<body>.*?)\n\};", header, re.DOTALL)
    values = [
        textwrap.indent(describe("c:enumerator", f"{value['name']} = {value['value']}", value["text"]), "   ")
        for value in VALUE.finditer(found["body"])
    ]
    return [describe("c:enum", "softmax_cy_status", found["text"]), *values]


def describe_table(header: str) -> list[str]:
    """Return the struct with its members."""
    found = re.search(
        COMMENT + r"typedef struct softmax_cy_table \{(?P<body>.*?)\n\} softmax_cy_table;", header, re.DOTALL
    )
    members = [
        textwrap.indent(describe("c:member", one_line(member["code"]), member["text"]), "   ")
        for member in MEMBER.finditer(found["body"])
    ]
    return [describe("c:struct", "softmax_cy_table", found["text"]), *members]


def describe(directive: str, signature: str, comment: str) -> str:
    """Write one directive with its text."""
    return f".. {directive}:: {signature}\n\n{textwrap.indent(text_of(comment), '   ')}\n"


def one_line(code: str) -> str:
    """Return a declaration on one line."""
    return re.sub(r"\s+", " ", code).replace("( ", "(").strip()


def text_of(comment: str) -> str:
    """Return what a comment says, as reStructuredText."""
    text = "\n".join(re.sub(r"^\s*\* ?", "", line).rstrip() for line in comment.strip().splitlines())
    text = re.sub(r"@file .*\n", "", text)
    text = text.replace("@brief ", "").replace("@return ", ":returns: ")
    return text.replace("*", r"\*").strip() + "\n"
