"""The HTML page of an inspection of many images, the highest scores first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchbank.reports.colours import ColourScale
from patchbank.reports.panels import PanelFiles


@dataclass(frozen=True, slots=True)
class SimilarPicture:
    """A reference or a defect beside an image: its name, and its picture in the page's folder."""

    name: str
    similarity: float
    file: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class InspectedCase:
    """An image that is shown with its pictures; `facts` are a line of text."""

    name: str
    verdict: str
    facts: str
    panels: PanelFiles
    similar: Sequence[SimilarPicture]
    defects: Sequence[SimilarPicture] = ()


@dataclass(frozen=True, slots=True)
class InspectedRow:
    """An image in the table of all."""

    name: str
    verdict: str
    score: str
    share: str
    where: str


@dataclass(frozen=True, slots=True, eq=False)
class InspectionsPage:
    """The contents of the page.

    Attributes
    ----------
    folder
        Of the pictures, relative to the page.
    cases, rows
        The highest scores first; not all images are among them if there are many, which
        `cases_text` and `rows_text` say.
    map_threshold
        The middle of the maps' colour scale.
    refused
        A line for each image that could not be judged.
    """

    title: str
    lead: str
    folder: str
    cases: Sequence[InspectedCase]
    cases_text: str
    rows: Sequence[InspectedRow]
    rows_text: str
    map_threshold: float
    refused: Sequence[str]
    remarks: Sequence[str]
    facts: Sequence[tuple[str, str]]

    @property
    def colour_scale(self) -> ColourScale:
        """The colours of the maps."""
        return ColourScale.around(self.map_threshold)
