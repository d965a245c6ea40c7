"""The masks of a data set: which pixels of an image are anomalous."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchbank.errors import DatasetError
from patchbank.vision.images import decode


def read_mask(path: Path, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return a mask, (height, width) of bool: true where the mask's image is not black.

    Raises
    ------
    DatasetError
        If its size is not that of its image.
    ImageError
        If it cannot be decoded.
    """
    pixels = decode(path).pixels
    if pixels.shape[:2] != (height, width):
        raise DatasetError(
            f"mask {path} has {pixels.shape[1]} x {pixels.shape[0]} pixels, "
            f"but its image {width} x {height}; it belongs to another image"
        )
    return np.asarray(pixels.any(axis=2))
