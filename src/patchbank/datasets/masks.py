"""The masks of a data set: which pixels of an image are anomalous."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.datasets.samples import Mask
from patchbank.errors import DatasetError, ImageError
from patchbank.vision._orientation import upright
from patchbank.vision.images import decode, stored_orientation, wide_grey

_BLACK = (0, 0, 0)
# From this value on EXIF's orientation exchanges width and height.
_LYING = 5


def read_mask(
    mask: Mask,
    height: int,
    width: int,
    *,
    image: Path | None = None,
    on_change: Callable[[str], object] = lambda _: None,
) -> npt.NDArray[np.bool_]:
    """Return a mask, (height, width) of bool: true where any of its images is not background.

    A mask of another size but the same shape is scaled, each pixel taking the nearest. One that
    lies as its image is stored, before EXIF's orientation turned that upright, is turned with it.

    Parameters
    ----------
    height, width
        Of the image, upright.
    image
        The image's file, whose orientation tells how a mask that lies on its side is meant.
    on_change
        Called with ``"scaled"`` or ``"turned"`` for what was done to one.

    Raises
    ------
    DatasetError
        If the shape of one is not that of the image it belongs to, or no pixel is marked.
    ImageError
        If one cannot be decoded.
    """
    anomalous = np.zeros((height, width), dtype=np.bool_)
    for path in mask.paths:
        marked = marked_pixels(path, mask.background)
        if not _same_shape(marked, height, width) and _same_shape(marked, width, height):
            marked = _turned(marked, path, image, height, width)
            on_change("turned")
        if marked.shape != (height, width):
            if not _same_shape(marked, height, width):
                raise DatasetError(
                    f"mask {path} has {marked.shape[1]} x {marked.shape[0]} pixels, "
                    f"but its image {width} x {height}; it belongs to another image"
                )
            marked = _scaled(marked, height, width)
            on_change("scaled")
        anomalous |= marked
    if not anomalous.any():
        names = ", ".join(str(path) for path in mask.paths)
        raise DatasetError(f"mask {names} marks no pixel; mark the anomaly, or remove the mask")
    return anomalous


def marked_pixels(path: Path, background: tuple[int, int, int] = _BLACK) -> npt.NDArray[np.bool_]:
    """Return where a mask image is not background, (height, width) of bool.

    Every other value marks an anomaly, also the 1 of an image of 16 bits or of floats. JPEG changes
    pixels near an edge, so that there it takes half of the range; so it does of floats that are no
    whole numbers, which say how likely an anomaly is.

    Raises
    ------
    ImageError
        If it cannot be decoded.
    """
    if background == _BLACK:
        # Decoding scales 65535 to 255, where small values vanish, and floats to 1.
        numbers = wide_grey(path)
        if numbers is not None:
            return _marked_numbers(numbers, path)
    image = decode(path)
    distance = np.abs(image.pixels.astype(np.int16) - np.array(background, dtype=np.int16))
    smallest = 128 if image.format == "JPEG" else 1
    return np.asarray((distance >= smallest).any(axis=2))


def _marked_numbers(numbers: npt.NDArray[Any], path: Path) -> npt.NDArray[np.bool_]:
    if not np.isfinite(numbers).all():
        raise ImageError(f"{path}: has values that are no number; give 0 for what is not anomalous")
    if (numbers == np.rint(numbers)).all():
        return np.asarray(numbers != 0)
    return np.asarray(numbers >= numbers.max() / 2) & (numbers > 0)


def _same_shape(marked: npt.NDArray[np.bool_], height: int, width: int) -> bool:
    """Whether a mask has the proportions of an image, to one pixel's rounding."""
    rows, columns = marked.shape
    return bool(abs(rows * width - columns * height) <= max(height, width, rows, columns) / 2)


def _scaled(marked: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    rows = ((np.arange(height) + 0.5) * marked.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * marked.shape[1] / width).astype(np.intp)
    return marked[np.ix_(rows, columns)]


def _turned(
    marked: npt.NDArray[np.bool_], path: Path, image: Path | None, height: int, width: int
) -> npt.NDArray[np.bool_]:
    """Return a mask that lies on its side as its image does, where that says to which side."""
    orientation = 1 if image is None else stored_orientation(image)
    if orientation < _LYING:
        raise DatasetError(
            f"mask {path} has {marked.shape[1]} x {marked.shape[0]} pixels, "
            f"but its image {width} x {height}: it lies on its side, and nothing says to which; "
            "turn it as its image is"
        )
    return np.asarray(upright(Image.fromarray(marked), orientation))
