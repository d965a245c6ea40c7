"""Read the masks of a data set: which pixels of an image are anomalous."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.datasets.layouts.shared import listed_lines, shown
from patchbank.datasets.samples import Mask
from patchbank.errors import DatasetError, ImageError
from patchbank.vision._orientation import SWAPPED, upright
from patchbank.vision.images import decode, stored_orientation, wide_grey

_BLACK = (0, 0, 0)
_BOXES = ".txt"
_BOX = re.compile(r"\s*" + r"[\s,]+".join([r"(\d{1,6})"] * 5) + r"\s*", re.ASCII)


class Box(NamedTuple):
    """A rectangle of anomalous pixels, edges included; `where` is its file and line."""

    where: str
    left: int
    top: int
    right: int
    bottom: int
    kind: int


def read_mask(
    mask: Mask,
    height: int,
    width: int,
    *,
    image: Path | None = None,
    on_change: Callable[[str], object] = lambda _: None,
) -> npt.NDArray[np.bool_]:
    """Return a mask, (height, width) of bool: true where any of its files marks an anomaly.

    A mask with another size but the same proportions is scaled, by nearest neighbour. A mask drawn
    on the stored image, before its EXIF orientation was applied, is turned like the image.

    Parameters
    ----------
    height, width
        The size of the upright image.
    image
        The image's file; its EXIF orientation says how to turn a mask that lies on its side.
    on_change
        Called with ``"scaled"`` or ``"turned"`` for each change to a mask image.

    Raises
    ------
    DatasetError
        If a mask image and the image have different proportions, a box is not inside the image, or
        no pixel is marked.
    """
    anomalous = np.zeros((height, width), dtype=np.bool_)
    for path in mask.paths:
        if path.suffix.lower() == _BOXES:
            _mark_boxes(path, anomalous)
            continue
        marked = marked_pixels(path, mask.background)
        if not _same_shape(marked, height, width) and _same_shape(marked, width, height):
            marked = _turned(marked, path, image, height, width)
            on_change("turned")
        if marked.shape != (height, width):
            if not _same_shape(marked, height, width):
                raise DatasetError(
                    f"mask {path} has {marked.shape[1]} x {marked.shape[0]} pixels, "
                    f"but its image has {width} x {height}; it belongs to another image"
                )
            marked = _scaled(marked, height, width)
            on_change("scaled")
        anomalous |= marked
    if not anomalous.any():
        names = ", ".join(str(path) for path in mask.paths)
        raise DatasetError(f"mask {names} marks no pixel; mark the anomaly, or remove the mask")
    return anomalous


def read_boxes(path: Path) -> list[Box]:
    """Return the boxes in a text file with a line ``x1 y1 x2 y2 kind`` for each.

    Raises
    ------
    DatasetError
        If a line is not a box, or the file has no line.
    """
    boxes = []
    for where, line in listed_lines(path):
        numbers = _BOX.fullmatch(line)
        if numbers is None:
            raise DatasetError(
                f"{where}: expected five whole numbers, x1 y1 x2 y2 type, "
                f"found {shown(line.strip())!r}"
            )
        box = Box(where, *map(int, numbers.groups()))
        if box.left > box.right or box.top > box.bottom:
            raise DatasetError(
                f"{where}: {_edges(box)} ends before it begins; x2 or y2 is too small"
            )
        boxes.append(box)
    if not boxes:
        raise DatasetError(f"{path} lists no box: expected a line x1 y1 x2 y2 type for each defect")
    return boxes


def _mark_boxes(path: Path, anomalous: npt.NDArray[np.bool_]) -> None:
    height, width = anomalous.shape
    for box in read_boxes(path):
        if box.right >= width or box.bottom >= height:
            raise DatasetError(
                f"{box.where}: {_edges(box)} is not inside its image of {width} x {height} pixels; "
                "it belongs to another image"
            )
        anomalous[box.top : box.bottom + 1, box.left : box.right + 1] = True


def _edges(box: Box) -> str:
    return f"box {box.left} {box.top} {box.right} {box.bottom}"


def marked_pixels(path: Path, background: tuple[int, int, int] = _BLACK) -> npt.NDArray[np.bool_]:
    """Return where a mask image is not background, (height, width) of bool.

    Any other value marks an anomaly, including 1 in 16-bit and float images. Two kinds of image are
    thresholded at half the range: JPEG, which changes pixels near edges, and fractional floats,
    which are likelihoods of an anomaly.
    """
    if background == _BLACK:
        # Decoding would scale 65535 to 255 and floats to 1, so that small values vanish.
        numbers = wide_grey(path)
        if numbers is not None:
            return _marked_numbers(numbers, path)
    image = decode(path)
    distance = np.abs(image.pixels.astype(np.int16) - np.array(background, dtype=np.int16))
    smallest = 128 if image.format == "JPEG" else 1
    return np.asarray((distance >= smallest).any(axis=2))


def _marked_numbers(numbers: npt.NDArray[Any], path: Path) -> npt.NDArray[np.bool_]:
    if not np.isfinite(numbers).all():
        raise ImageError(
            f"{path}: has values that are not numbers; use 0 for pixels that are not anomalous"
        )
    if (numbers == np.rint(numbers)).all():
        return np.asarray(numbers != 0)
    return np.asarray(numbers >= numbers.max() / 2) & (numbers > 0)


def _same_shape(marked: npt.NDArray[np.bool_], height: int, width: int) -> bool:
    """Return whether a mask has the proportions of an image, within a rounding of one pixel."""
    rows, columns = marked.shape
    return bool(abs(rows * width - columns * height) <= max(height, width, rows, columns) / 2)


def _scaled(marked: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    rows = ((np.arange(height) + 0.5) * marked.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * marked.shape[1] / width).astype(np.intp)
    return marked[np.ix_(rows, columns)]


def _turned(
    marked: npt.NDArray[np.bool_], path: Path, image: Path | None, height: int, width: int
) -> npt.NDArray[np.bool_]:
    """Return a mask turned by the EXIF orientation of its image."""
    orientation = 1 if image is None else stored_orientation(image)
    if orientation < SWAPPED:
        raise DatasetError(
            f"mask {path} has {marked.shape[1]} x {marked.shape[0]} pixels, "
            f"but its image has {width} x {height}: it lies on its side; turn it like its image"
        )
    return np.asarray(upright(Image.fromarray(marked), orientation))
