"""Synthetic anomalies: images of good parts with a piece pasted in the wrong position."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchbank.vision.decoded_image import Pixels

# Share of the image's area, and aspect ratio: the ranges of the paper.
_AREA = (0.02, 0.15)
_LARGEST_ASPECT = 3.3
# The paper changes colours by a tenth; a stronger change is visible on uniform surfaces too.
_CONTRAST = (0.4, 1.6)
_BRIGHTNESS = 60.0


def cut_paste(pixels: Pixels, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return a copy with one of its rectangles pasted elsewhere in a different tone.

    Parameters
    ----------
    pixels
        RGB uint8 (height, width, 3).
    random
        Random generator; the same state gives the same picture.

    References
    ----------
    C.-L. Li et al., "CutPaste: Self-Supervised Learning for Anomaly Detection and Localization",
    CVPR 2021, section 2.2.
    """
    height, width = pixels.shape[:2]
    area = random.uniform(*_AREA) * height * width
    aspect = np.exp(random.uniform(-np.log(_LARGEST_ASPECT), np.log(_LARGEST_ASPECT)))
    rows = int(np.clip(round(np.sqrt(area / aspect)), 1, max(1, height // 2)))
    columns = int(np.clip(round(np.sqrt(area * aspect)), 1, max(1, width // 2)))
    y, x = random.integers(height - rows + 1), random.integers(width - columns + 1)
    # Never onto the original position, if there is room.
    to_y = (y + rows + random.integers(max(1, height - 2 * rows + 1))) % (height - rows + 1)
    to_x = (x + columns + random.integers(max(1, width - 2 * columns + 1))) % (width - columns + 1)
    piece = pixels[y : y + rows, x : x + columns].astype(np.float64)
    mean = piece.mean(axis=(0, 1))
    shift = random.choice([-1.0, 1.0]) * random.uniform(_BRIGHTNESS / 2, _BRIGHTNESS)
    piece = (piece - mean) * random.uniform(*_CONTRAST) + mean + shift
    changed = pixels.copy()
    changed[to_y : to_y + rows, to_x : to_x + columns] = np.clip(np.rint(piece), 0, 255)
    return changed
