"""What an inspector is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from patchbank.errors import ParameterError
from patchbank.inspection.parts import checked_label
from patchbank.inspection.verdicts import Inspection
from patchbank.printable import counted
from patchbank.vision.decoded_image import ImageSource

if TYPE_CHECKING:
    from patchbank.store.watched_files import WatchedFile


class ImageToJudge(NamedTuple):
    """An image to judge, by its name, the part it shows, and the watched file that it is."""

    source: ImageSource
    name: str
    part: str | None
    watched: WatchedFile | None = None

    def of(self, judged: Inspection) -> Inspection:
        """Return its inspection with what the image brings."""
        return replace(judged, part=self.part, watched=self.watched)


class ImagesToJudge(NamedTuple):
    """The images to judge; the sources may be made when they are asked for."""

    sources: Sequence[ImageSource]
    names: Sequence[str]
    parts: Sequence[str | None]
    watched: Sequence[WatchedFile | None]

    def some(self, part: slice) -> list[ImageToJudge]:
        """Return a part of them."""
        return [ImageToJudge(*image) for image in zip(*(each[part] for each in self), strict=True)]


class Wanted(NamedTuple):
    """What is wanted of each image, where they were taken, and on whose behalf they are judged."""

    top: int
    heatmaps: Path | None
    station: str | None
    actor: str


class Judged(NamedTuple):
    """An inspection that is not recorded yet, and its image."""

    inspection: Inspection
    source: ImageSource


def checked_parts(
    sources: Sequence[ImageSource], parts: Sequence[str | None] | None
) -> list[str | None]:
    """Return the part that each image shows; `ParameterError` if they are not as many."""
    if parts is None:
        return [None] * len(sources)
    if len(parts) != len(sources):
        raise ParameterError(
            f"parts: {len(parts)} given for {counted(len(sources), 'image')}; give one per image"
        )
    return [None if part is None else checked_label(part, "part") for part in parts]


def check_top(top: int) -> None:
    """Raise `ParameterError` if there cannot be so many similar references."""
    if top < 0:
        raise ParameterError(f"top is {top}; must be at least 0")
