"""The masks of a data set: which pixels of an image are anomalous."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from patchbank.datasets.samples import Mask
from patchbank.errors import DatasetError
from patchbank.vision.images import decode

_BLACK = (0, 0, 0)


def read_mask(mask: Mask, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return a mask, (height, width) of bool: true where any of its images is not background.

    Raises
    ------
    DatasetError
        If the size of one is not that of the image it belongs to, or no pixel is marked.
    ImageError
        If one cannot be decoded.
    """
    anomalous = np.zeros((height, width), dtype=np.bool_)
    for path in mask.paths:
        marked = marked_pixels(path, mask.background)
        if marked.shape != (height, width):
            raise DatasetError(
                f"mask {path} has {marked.shape[1]} x {marked.shape[0]} pixels, "
                f"but its image {width} x {height}; it belongs to another image"
            )
        anomalous |= marked
    if not anomalous.any():
        names = ", ".join(str(path) for path in mask.paths)
        raise DatasetError(f"mask {names} marks no pixel; mark the anomaly, or remove the mask")
    return anomalous


def marked_pixels(path: Path, background: tuple[int, int, int] = _BLACK) -> npt.NDArray[np.bool_]:
    """Return where a mask image is not background, (height, width) of bool.

    Every other value marks an anomaly, also the 1 of an image of 16 bits. JPEG changes pixels near
    an edge, so that there it takes half of the range.

    Raises
    ------
    ImageError
        If it cannot be decoded.
    """
    image = decode(path)
    if image.mode.startswith("I") and background == _BLACK:
        # Decoding scales 65535 to 255, where small values vanish.
        with Image.open(path) as stored:
            return np.asarray(ImageOps.exif_transpose(stored)).astype(np.bool_)
    distance = np.abs(image.pixels.astype(np.int16) - np.array(background, dtype=np.int16))
    smallest = 128 if image.format == "JPEG" else 1
    return np.asarray((distance >= smallest).any(axis=2))
