"""The HTML page of a bank's thresholds: what they promise, and what others would change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchbank.reports.evaluation_charts import ChartFiles


@dataclass(frozen=True, slots=True)
class LimitRow:
    """What a rate asked for gives, as text."""

    rate: str
    values: Sequence[str]
    in_use: bool


@dataclass(frozen=True, slots=True, eq=False)
class ThresholdsPage:
    """The contents of the page.

    Attributes
    ----------
    columns
        Title and meaning of each of the rows' values.
    folder
        Of the pictures, relative to the page.
    """

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    remarks: Sequence[str]
    columns: Sequence[tuple[str, str]]
    rows: Sequence[LimitRow]
    chart: ChartFiles
    folder: str
