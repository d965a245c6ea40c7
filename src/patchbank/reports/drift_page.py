"""The HTML page of a look for drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.reports.colours import ColourScale
from patchbank.reports.evaluation_charts import ChartFiles
from patchbank.reports.pictures import Pixels, overlay_picture
from patchbank.vision.own_pictures import own_mark

_SIDE: Final = 320
#: The colours of shares of images, from none to all of them.
SHARES: Final = ColourScale(0.0, 1.0)
# What at least this share of the images has is outlined.
OUTLINED: Final = 0.5


@dataclass(frozen=True, slots=True)
class DriftPicture:
    """A picture in the page's folder with its size, and a caption."""

    file: str
    width: int
    height: int
    caption: str
    verdict: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class DriftPage:
    """The contents of the page.

    Attributes
    ----------
    changed
        Whether there is a change in the period.
    verdict, guarantee
        In words.
    changes
        When each was and what it was.
    evidence, trends
        Charts.
    maps
        Where patches are unlike the references: before a change, and since.
    maps_text, examples_text
        What they show.
    examples
        Images around the change.
    suggested
        A line for each image that would best be added; `suggested_text` says of how many.
    command
        What adds them; may be empty.
    folder
        Of the pictures, relative to the page.
    """

    title: str
    changed: bool
    verdict: str
    guarantee: str
    changes: Sequence[tuple[str, str]]
    evidence: ChartFiles | None
    trends: Sequence[ChartFiles]
    maps: Sequence[DriftPicture]
    maps_text: str
    examples: Sequence[DriftPicture]
    examples_text: str
    suggested: Sequence[DriftPicture]
    suggested_text: str
    command: str
    folder: str
    remarks: Sequence[str]
    facts: Sequence[tuple[str, str]]

    @property
    def scale(self) -> ColourScale:
        """The colours of the maps."""
        return SHARES


def write_share_map(
    folder: Path,
    stem: str,
    pixels: Pixels,
    shares: npt.NDArray[np.float32],
    caption: str,
) -> DriftPicture:
    """Write a map of shares over an image, both of any size; NaN where nothing is inspected."""
    picture = _fitted(pixels, enlarge=True)
    drawn = overlay_picture(picture, shares, SHARES, OUTLINED)
    file = f"{stem}.jpg"
    drawn.save(folder / file, quality=88, **own_mark(".jpg"))
    return DriftPicture(file, drawn.width, drawn.height, caption)


def write_example(
    folder: Path, stem: str, pixels: Pixels, caption: str, verdict: str
) -> DriftPicture:
    """Write an image, made small."""
    picture = _fitted(pixels, enlarge=False)
    file = f"{stem}.jpg"
    picture.save(folder / file, quality=88, **own_mark(".jpg"))
    return DriftPicture(file, picture.width, picture.height, caption, verdict)


def _fitted(pixels: Pixels, *, enlarge: bool) -> Image.Image:
    picture = Image.fromarray(pixels)
    factor = _SIDE / max(picture.size)
    if factor < 1 or enlarge:
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    return picture
