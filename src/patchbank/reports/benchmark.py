"""The report of a benchmark: the files of each category, and one page over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchbank.reports.evaluation_charts import ChartFiles
from patchbank.reports.page import PAGE_NAME, template
from patchbank.reports.panels import write_panels
from patchbank.reports.pictures import Pixels
from patchbank.reports.writing import replace_text, writing_report


@dataclass(frozen=True, slots=True, eq=False)
class ShownCase:
    """A judged image of a gallery: (h, w) map and mask on the (h, w, 3) image."""

    name: str
    kind: str
    verdict: str
    score: float
    p_value: float
    pixels: Pixels
    anomaly_map: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Cases under one heading; they are drawn one after the other."""

    key: str
    title: str
    text: str
    cases: Iterable[ShownCase]


def write_galleries(
    folder: Path, galleries: Iterable[Gallery], map_threshold: float
) -> list[dict[str, Any]]:
    """Write the pictures of a category's cases; return what the page shows of them, as JSON."""
    written = []
    for gallery in galleries:
        cases = []
        for number, case in enumerate(gallery.cases, 1):
            panels = write_panels(
                folder,
                f"{gallery.key}-{number}",
                case.pixels,
                case.anomaly_map,
                case.mask,
                map_threshold,
            )
            cases.append(
                {
                    "name": case.name,
                    "kind": case.kind,
                    "verdict": case.verdict,
                    "score": case.score,
                    "p_value": case.p_value,
                    "panels": asdict(panels),
                }
            )
        written.append({"title": gallery.title, "text": gallery.text, "cases": cases})
    return written


def charts_to_json(charts: Iterable[ChartFiles]) -> list[dict[str, str]]:
    """Return what the page shows of charts, as JSON."""
    return [asdict(chart) for chart in charts]


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of the table: whose figures, and the figures as text.

    `anchor` is the section the name leads to; `own` is False for published figures.
    """

    name: str
    values: Sequence[str]
    anchor: str | None = None
    note: str = ""
    own: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class CategorySection:
    """A category of the page: `charts` and `galleries` as they were written into `folder`."""

    name: str
    anchor: str
    folder: str
    facts: Sequence[tuple[str, str]]
    remarks: Sequence[str]
    map_threshold: float
    charts: Sequence[Mapping[str, Any]]
    galleries: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where published figures stand."""

    title: str
    source: str
    url: str
    settings: str
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class BenchmarkPage:
    """What the page of a benchmark shows.

    Attributes
    ----------
    title, lead
        Heading, and what was measured in a sentence or two.
    synthetic
        What to say of images made by code; empty for photographs.
    columns
        Title and meaning of each figure of the table.
    rows, sections
        The table, and a section for each category done.
    failures
        Category and reason of those that could not be done.
    sources
        Of the published figures in the table.
    facts
        Name and value of what a reader needs to repeat this.
    """

    title: str
    lead: str
    synthetic: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[TableRow]
    sections: Sequence[CategorySection]
    failures: Sequence[tuple[str, str]]
    sources: Sequence[Source]
    facts: Sequence[tuple[str, str]]


def write_benchmark_page(folder: Path, page: BenchmarkPage) -> Path:
    """Write ``index.html`` beside the categories' folders and return its path.

    Raises
    ------
    MissingExtraError
        If the extra `report` is not installed.
    DiskFullError, ReportError
        If it cannot be written; a page already there stays.
    """
    index = folder / PAGE_NAME
    text = template("benchmark.html.j2").render(page=page)
    with writing_report(folder):
        replace_text(index, text)
    return index
