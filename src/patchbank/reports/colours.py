"""Colours of pictures and charts: one scale for maps, one colour for each verdict."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

RGB = tuple[int, int, int]

# Distinct for all common forms of colour blindness, and by lightness when printed in grey.
VERDICT_COLOURS: Final[dict[str, RGB]] = {
    "pass": (0, 112, 94),
    "review": (166, 98, 0),
    "fail": (190, 38, 30),
}
OTHER_VERDICT: Final[RGB] = (84, 90, 100)

# Lightness, chroma and hue (degrees) in OKLCH: lightness rises evenly from dark blue to pale
# yellow, so that equal score steps look equal and the scale still works in grey.
_ANCHORS: Final = (
    (0.22, 0.09, 275.0),
    (0.37, 0.15, 305.0),
    (0.52, 0.18, 352.0),
    (0.67, 0.18, 32.0),
    (0.82, 0.15, 72.0),
    (0.97, 0.10, 105.0),
)
_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class ColourScale:
    """The mapping from scores to colours.

    It depends on the bank, not on the image, so that pictures of different images are comparable.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"expected low < high, both finite, got {self.low} and {self.high}")

    @classmethod
    def around(cls, threshold: float) -> ColourScale:
        """Return the scale from 0.4 to 1.6 times a threshold, with the threshold in the middle.

        Maps of good images lie around 0.6 times the threshold: a scale from 0 would waste a third
        of its colours on values that never occur, and every pass would look suspicious.
        """
        return cls(0.4 * threshold, 1.6 * threshold) if threshold > 0 else cls(0.0, 1.0)

    def positions(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the positions of scores on the scale, clipped to 0 to 1, in the same shape."""
        share = (scores - np.float32(self.low)) * np.float32(1 / (self.high - self.low))
        return np.clip(share, 0, 1, out=share)

    def colours(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return the colours of scores, (...) to (..., 3)."""
        indices = (self.positions(scores) * (_ENTRIES - 1) + np.float32(0.5)).astype(np.uint8)
        return colour_table()[indices]

    def css_stops(self) -> str:
        """Return colours at even steps from low to high, as a gradient of CSS takes them."""
        steps = colour_table()[::15]  # the last of 256 is one of them
        return ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in steps)


@cache
def colour_table() -> npt.NDArray[np.uint8]:
    """Return the 256 colours of the scale, (256, 3) sRGB, from low to high."""
    anchors = np.array(_ANCHORS)
    hues = np.unwrap(np.radians(anchors[:, 2]))
    # Interpolate in the OKLab plane, not along the hue, so that every step stays small.
    lab = np.stack(
        [anchors[:, 0], anchors[:, 1] * np.cos(hues), anchors[:, 1] * np.sin(hues)], axis=1
    )
    anchor_positions = np.linspace(0, 1, len(anchors))
    positions = np.linspace(0, 1, _ENTRIES)
    lab = np.stack(
        [np.interp(positions, anchor_positions, lab[:, axis]) for axis in range(3)], axis=1
    )
    return oklab_to_srgb(lab)


def oklab_to_srgb(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Return the nearest sRGB colours, (n, 3) uint8, to OKLab colours (Ottosson, 2020)."""
    to_cones = np.array(
        [
            [1.0, 0.3963377774, 0.2158037573],
            [1.0, -0.1055613458, -0.0638541728],
            [1.0, -0.0894841775, -1.2914855480],
        ]
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip((lab @ to_cones.T) ** 3 @ to_linear.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * encoded), dtype=np.uint8)
