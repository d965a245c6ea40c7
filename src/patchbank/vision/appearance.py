"""How bright and how sharp the inspected part of an image is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from patchbank.vision.preprocess import Square

# Enough for means that hardly depend on which rows are read.
_MOST_PIXELS: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class Appearance:
    """An image in two numbers that change with the light and the lens.

    Attributes
    ----------
    brightness
        The mean grey value, 0 to 255.
    sharpness
        How much the pixels differ from the mean of their neighbours: the root mean square of the
        second differences along rows and columns, divided by the brightness. A blur lowers it;
        light that is stronger everywhere does not change it.
    """

    brightness: float
    sharpness: float


def appearance_of(pixels: Square, hidden: npt.NDArray[np.bool_] | None) -> Appearance:
    """Return the appearance of the network's input; of a large one, every few rows are read.

    Parameters
    ----------
    pixels
        (height, width, 3), values 0 to 255.
    hidden
        bool (height, width): which do not count; None if all do.
    """
    height, width = pixels.shape[:2]
    return _appearance(pixels, hidden, max(1, round(height * width / _MOST_PIXELS)))


def _appearance(pixels: Square, hidden: npt.NDArray[np.bool_] | None, step: int) -> Appearance:
    height = len(pixels)
    # Away from the border, so that each has neighbours.
    rows = np.arange(1 + min(step, height - 2) // 2, height - 1, step)
    above, middle, below = (_grey(pixels[rows + shift]) for shift in (-1, 0, 1))
    twice = 2 * middle[:, 1:-1]
    along = np.square(middle[:, :-2] - twice + middle[:, 2:])
    across = np.square(above[:, 1:-1] - twice + below[:, 1:-1])
    values, differences = middle, along + across
    if hidden is not None:
        values = middle[~hidden[rows]]
        covered = hidden[rows - 1] | hidden[rows] | hidden[rows + 1]
        differences = differences[~(covered[:, :-2] | covered[:, 1:-1] | covered[:, 2:])]
    if not differences.size and step > 1:
        # Little is inspected: it is between the rows that are read.
        return _appearance(pixels, hidden, 1)
    brightness = values.mean(dtype=np.float64) if values.size else 0.0
    # A line of single pixels has no neighbours.
    roughness = np.sqrt(differences.mean(dtype=np.float64)) if differences.size else 0.0
    return Appearance(float(brightness), float(roughness / max(brightness, 1.0)))


def _grey(pixels: Square) -> npt.NDArray[np.float32]:
    """Return the mean of the channels; channel by channel is ten times as fast as `mean`."""
    total = pixels[..., 0].astype(np.float32)
    total += pixels[..., 1]
    total += pixels[..., 2]
    total *= np.float32(1 / 3)
    return total
