"""The HTML page that compares settings by the synthetic defects that each of them finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.reports.colours import ColourScale
from patchbank.reports.evaluation_charts import ChartFiles
from patchbank.reports.pictures import Pixels, overlay_picture
from patchbank.vision.own_pictures import own_mark

# Sides of the pictures: small crops are enlarged.
_LEAST_SIDE, _MOST_SIDE = 240, 400


@dataclass(frozen=True, slots=True)
class SettingRow:
    """Settings in the table, as text but for the shares of defects found.

    Attributes
    ----------
    marks
        Why they were tried, if there is a special reason.
    found, located
        Shares of all defects, 0 to 1.
    """

    title: str
    marks: Sequence[str]
    values: Sequence[str]
    found: float
    located: float
    recommended: bool


@dataclass(frozen=True, slots=True)
class ShareGrid:
    """Shares, 0 to 1, by size and contrast of the defects.

    `shares` has a line for each of the settings, of all sizes of the first contrast, then of the
    next.
    """

    title: str
    text: str
    shares: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class MapPicture:
    """What settings see of a defect: the name of a picture, the settings and the outcome in words.

    `outcome` is ``"found"``, ``"located, but passes"``, ``"fails elsewhere"`` or ``"missed"``.
    """

    file: str
    title: str
    outcome: str


@dataclass(frozen=True, slots=True, eq=False)
class DefectCase:
    """A synthetic defect in a picture of its surroundings, and what settings see of it."""

    text: str
    file: str
    width: int
    height: int
    maps: Sequence[MapPicture]


@dataclass(frozen=True, slots=True, eq=False)
class SettingsPage:
    """The contents of the page.

    Attributes
    ----------
    synthetic
        The note on the defects.
    recommendation, caution, command
        In words; why to be careful; and as a command line. The last two may be empty.
    columns
        Title and meaning of each of the rows' values.
    sizes, contrasts
        Names of the columns of the grids.
    folder
        Of the pictures, relative to the page.
    """

    title: str
    lead: str
    synthetic: str
    recommendation: str
    caution: str
    command: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[SettingRow]
    sizes: Sequence[str]
    contrasts: Sequence[str]
    grids: Sequence[ShareGrid]
    chart: ChartFiles
    folder: str
    cases: Sequence[DefectCase]
    left_out: Sequence[str]
    remarks: Sequence[str]
    facts: Sequence[tuple[str, str]]


def write_crop(
    folder: Path,
    stem: str,
    pixels: Pixels,
    anomaly_map: npt.NDArray[np.float32] | None = None,
    map_threshold: float = 1.0,
) -> tuple[str, int, int]:
    """Write a piece of an image, with its map if there is one; return the file's name and size."""
    height, width = pixels.shape[:2]
    factor = min(max(1.0, _LEAST_SIDE / max(width, height)), _MOST_SIDE / max(width, height))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    if anomaly_map is not None:
        scale = ColourScale.around(map_threshold)
        picture = overlay_picture(picture, anomaly_map, scale, map_threshold)
    file = f"{stem}.jpg"
    picture.save(folder / file, quality=90, **own_mark(".jpg"))
    return file, *size
