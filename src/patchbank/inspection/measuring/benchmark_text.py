"""The tables of a benchmark as text to paste: Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchbank.datasets.published import Published
from patchbank.printable import printable
from patchbank.reports.page import KindRow
from patchbank.reports.text_tables import latex_table, markdown, markdown_table

KIND_COLUMNS = ("failed", "recall", "95 % interval", "image AUROC")


@dataclass(frozen=True, eq=False)
class BenchmarkText:
    """What the text says.

    Attributes
    ----------
    title, measured
        What was evaluated, and with what.
    notes
        What a reader of the figures has to know, a sentence or two each.
    columns, rows
        The titles of the figures; and the category, the source and the figures of each row.
        The category is empty where it is that of the row before.
    kinds
        The category and the figures of each kind of defect.
    sources, failures
        Where the published figures come from; what could not be evaluated, and why.
    """

    title: str
    measured: str
    notes: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[str]]]
    kinds: Sequence[tuple[str, KindRow]]
    sources: Sequence[Published]
    failures: Sequence[tuple[str, str]]

    def as_markdown(self) -> str:
        """Return all of it as Markdown."""
        parts = [f"# {markdown(self.title)}\n", f"{markdown(self.measured)}\n"]
        parts += [f"{markdown(note)}\n" for note in self.notes]
        parts += [markdown_table(*table) for table in self._tables()]
        if self.sources:
            parts.append("Published figures:\n")
            parts.append(
                "".join(
                    f"- **{markdown(source.title)}**: {markdown(source.source)}. Settings: "
                    f"{markdown(source.settings)}. {markdown(source.note)} <{source.url}>\n"
                    for source in self.sources
                )
            )
        if self.failures:
            parts.append("Not evaluated:\n")
            parts.append(
                "".join(f"- {markdown(name)}: {markdown(why)}\n" for name, why in self.failures)
            )
        return "\n".join(parts)

    def as_latex(self) -> str:
        r"""Return each table as a `tabular` that needs no package, and all else as comments."""
        lines = [self.title, self.measured, *self.notes]
        lines += [
            f"{source.title}: {source.source}. Settings: {source.settings}. {source.note} "
            f"{source.url}"
            for source in self.sources
        ]
        lines += [f"not evaluated: {name}: {why}" for name, why in self.failures]
        lines.append(
            "The tables need no package. \\input this file, in {\\small ...} or on a landscape "
            "page if it is too wide; names in other scripts need XeLaTeX or LuaLaTeX."
        )
        comments = "".join(f"% {printable(line)}\n" for line in lines)
        tables = [latex_table(*table) for table in self._tables()]
        return comments + "\n\\bigskip\n\n".join(tables)

    def _tables(self) -> list[tuple[list[tuple[str, bool]], list[list[str]]]]:
        """Return the columns and the rows of each table that is not empty."""
        columns = [("category", False), ("source", False)]
        columns += [(title, True) for title in self.columns]
        rows = [[category, source, *texts] for category, source, texts in self.rows]
        tables = [(columns, rows)]
        if self.kinds:
            columns = [("category", False), ("kind of defect", False)]
            columns += [(title, True) for title in KIND_COLUMNS]
            before = ["", *(category for category, _ in self.kinds)]
            rows = [
                [
                    "" if category == previous else category,
                    *(kind.name, kind.failed, kind.recall, kind.interval, kind.auroc),
                ]
                for previous, (category, kind) in zip(before, self.kinds, strict=False)
            ]
            tables.append((columns, rows))
        return tables
