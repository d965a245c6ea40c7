"""The masks of a data set: which pixels of an image are anomalous."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchbank.datasets.samples import Mask
from patchbank.errors import DatasetError
from patchbank.vision.images import decode


def read_mask(mask: Mask, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return a mask, (height, width) of bool: true where any of its images is not background.

    Raises
    ------
    DatasetError
        If the size of one is not that of the image it belongs to.
    ImageError
        If one cannot be decoded.
    """
    anomalous = np.zeros((height, width), dtype=np.bool_)
    background = np.array(mask.background, dtype=np.uint8)
    for path in mask.paths:
        pixels = decode(path).pixels
        if pixels.shape[:2] != (height, width):
            raise DatasetError(
                f"mask {path} has {pixels.shape[1]} x {pixels.shape[0]} pixels, "
                f"but its image {width} x {height}; it belongs to another image"
            )
        anomalous |= (pixels != background).any(axis=2)
    return anomalous
