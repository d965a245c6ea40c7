"""The HTML page of a study of parts with known answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchbank.reports.colours import ColourScale
from patchbank.reports.evaluation_charts import ChartFiles
from patchbank.reports.panels import PanelFiles


@dataclass(frozen=True, slots=True)
class StudyFigureRow:
    """A figure as text: value, what it counts, interval, usual reading and meaning."""

    title: str
    value: str
    count: str
    interval: str
    reading: str
    meaning: str


@dataclass(frozen=True, slots=True)
class StudyPicture:
    """An image of a part with its pictures; `score` is text."""

    name: str
    verdict: str
    score: str
    panels: PanelFiles


@dataclass(frozen=True, slots=True)
class PartCase:
    """A part that is shown with its images; `facts` are a line of text."""

    name: str
    answer: str
    outcome: str
    facts: str
    pictures: Sequence[StudyPicture]


@dataclass(frozen=True, slots=True)
class PartRow:
    """A part in the table of all: its verdicts in the order of its images, and their scores."""

    name: str
    answer: str
    outcome: str
    verdicts: Sequence[str]
    scores: str


@dataclass(frozen=True, slots=True, eq=False)
class StudyPage:
    """The contents of the page.

    Attributes
    ----------
    folder
        Of the pictures, relative to the page.
    counting
        How a review counts, in words.
    cases, cases_text
        The parts that are unstable, missed or falsely rejected, and how many of them are shown.
    map_threshold
        The middle of the maps' colour scale.
    left_out
        A line for each reason why images are not in the figures, and each that was refused.
    """

    title: str
    lead: str
    folder: str
    counting: str
    figures: Sequence[StudyFigureRow]
    chart: ChartFiles
    cases: Sequence[PartCase]
    cases_text: str
    rows: Sequence[PartRow]
    map_threshold: float
    left_out: Sequence[str]
    remarks: Sequence[str]
    facts: Sequence[tuple[str, str]]

    @property
    def colour_scale(self) -> ColourScale:
        """The colours of the maps."""
        return ColourScale.around(self.map_threshold)
