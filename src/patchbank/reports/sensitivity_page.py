"""The HTML page on synthetic defects of growing size and contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchbank.reports.colours import ColourScale
from patchbank.reports.evaluation_charts import ChartFiles


@dataclass(frozen=True, slots=True)
class DefectPicture:
    """A synthetic defect in its surroundings, and its map; `outcome` and `text` are in words."""

    image: str
    map: str
    width: int
    height: int
    outcome: str
    text: str


@dataclass(frozen=True, slots=True)
class DefectPair:
    """Of a kind and contrast, the smallest defect found and the largest missed, if there are."""

    title: str
    found: DefectPicture | None
    missed: DefectPicture | None


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """A row of a table: a kind, perhaps with a contrast, and a text for each column."""

    title: str
    values: Sequence[str]


@dataclass(frozen=True, slots=True, eq=False)
class SensitivityPage:
    """The contents of the page.

    Attributes
    ----------
    synthetic
        The note on the defects.
    contrasts, smallest
        Columns and rows of the table of the smallest sizes found.
    sizes, rows
        Columns and rows of the table of all shares.
    folder
        Of the pictures, relative to the page.
    map_threshold
        The middle of the maps' colour scale.
    """

    title: str
    lead: str
    synthetic: str
    meaning: str
    contrasts: Sequence[str]
    smallest: Sequence[SensitivityRow]
    chart: ChartFiles
    pairs: Sequence[DefectPair]
    sizes: Sequence[str]
    rows: Sequence[SensitivityRow]
    folder: str
    map_threshold: float
    left_out: Sequence[str]
    remarks: Sequence[str]
    facts: Sequence[tuple[str, str]]

    @property
    def colour_scale(self) -> ColourScale:
        """The colours of the maps."""
        return ColourScale.around(self.map_threshold)
