"""Tables as text: nothing in a name may end a cell, a row or a command."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from patchbank.reports.text_tables import latex, latex_table, markdown, markdown_table

NAMES = [
    "plain name",
    "a|b \\| c\\",
    "[b]x[ *bold* _it_ ~~gone~~ `code`",
    "<img src=x> &amp; &lt;",
    "50 % & $x$ #1 {y} ^z ~ \"quoted\" ''",
    "metal_nut -- two",
    "![picture](x.png) [link](y)",
    "Blech 板金 пластина",
    "line\nbreak",
]


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_each_name_as_it_is(name: str) -> None:
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = reader.parse(markdown_table([("category", False), ("a", True)], [[name, "1"]] * 2))
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 2 + 2 * 2
    shown = cells[2].children
    assert shown is not None
    assert {token.type for token in shown} <= {"text", "text_special"}
    assert "".join(token.content for token in shown) == name.replace("\n", "\\n")
    (paragraph,) = [t for t in reader.parse(markdown(name)) if t.type == "inline"]
    assert not {t.type for t in paragraph.children or ()} - {"text", "text_special"}


@pytest.mark.parametrize("name", NAMES)
def test_latex_has_the_same_cells_whatever_a_name_is(name: str) -> None:
    text = latex_table([("a_b", False), ("95 %", True)], [[name, "1 ± 2"], ["", "3"], [name, "-"]])
    lines = text.splitlines()
    assert lines[0] == r"\begin{tabular}{lr}"
    assert lines[-1] == r"\end{tabular}"
    rows = [line for line in lines[1:-1] if line != r"\hline"]
    assert len(rows) == 4
    for row in rows:
        assert row.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", row)) == 1
    assert rows[0] == r"a\_b & 95 \% \\"
    assert rows[1].endswith(r" & 1 $\pm$ 2 \\")
    # A line before the header, after it, before each of the two names, and at the end.
    assert lines.count(r"\hline") == 4


def test_latex_leaves_no_character_with_a_meaning() -> None:
    for name in NAMES:
        plain = latex(name)
        for command in (
            *(r"\textbackslash{}", r"\textasciicircum{}", r"\textasciitilde{}", r"\textless{}"),
            *(r"\textgreater{}", r"\textbar{}", r"\char34{}", r"\{", r"\}", r"\$", r"\&", r"\#"),
            *(r"\_", r"\%", "{[}", "{]}", "{*}", "{`}", "-{}", "'{}"),
        ):
            plain = plain.replace(command, "")
        assert not set(plain) & set('\\{}$&#_%^~<>|[]*`"\n'), (name, plain)
    # At the start of a row it would be an option of the end of the row before.
    assert latex("[b]x[") == "{[}b{]}x{[}"
    assert latex("a -- b--- ''") == "a -{}- b-{}-{}- '{}'"
