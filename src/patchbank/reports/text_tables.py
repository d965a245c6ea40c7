"""Tables as Markdown and as LaTeX, with all text escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from patchbank.printable import printable

_MARKDOWN = re.compile(r"[\\`*_\[\]~|$#!]")
# Two of them would become a dash or a quotation mark.
_LIGATURE = re.compile(r"([-',])(?=\1)")
_IN_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    # At the start of a row these would belong to the \\ before it.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    # After ? or ! it would turn them over.
    "`": "{`}",
    # A command of its own in some languages of babel.
    '"': r"\char34{}",
}


def markdown(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    escaped = "".join(_IN_HTML.get(character, character) for character in printable(text))
    return _MARKDOWN.sub(r"\\\g<0>", escaped)


def latex(text: str) -> str:
    """Return text that LaTeX typesets as it is."""
    escaped = "".join(_LATEX.get(character, character) for character in printable(text))
    return _LIGATURE.sub(r"\1{}", escaped)


def markdown_table(columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of GitHub's Markdown.

    Parameters
    ----------
    columns
        Titles, and whether the column holds numbers, which are set to the right.
    """
    lines = [
        [markdown(title) for title, _ in columns],
        ["---:" if is_number else ":---" for _, is_number in columns],
        *([markdown(cell) for cell in row] for row in rows),
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def latex_table(columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> str:
    r"""Return a `tabular`, which needs no package; columns as in `markdown_table`.

    A row whose first cell is not empty begins with a line.
    """
    layout = "".join("r" if is_number else "l" for _, is_number in columns)
    lines = [rf"\begin{{tabular}}{{{layout}}}", r"\hline", _cells([title for title, _ in columns])]
    for row in rows:
        if row[0]:
            lines.append(r"\hline")
        lines.append(_cells(row))
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def _cells(cells: Sequence[str]) -> str:
    return " & ".join(latex(cell) for cell in cells) + r" \\"
