"""Synthetic defects of a given kind, size and contrast, drawn into images of good parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from patchbank.vision.decoded_image import Pixels
from patchbank.vision.synthetic import SmallDefect, contrast_range, contrast_shift

Field = npt.NDArray[np.float64]

# Lengths as shares of the defect's size, but lines are at least a pixel wide.
_SCRATCH_WIDTH, _SCRATCH_BOW = 1 / 16, 0.05
_CUT_WIDTH, _CUT_JAG, _CUT_PIECES = 1 / 8, 0.06, 8
# Waves of a stain's rim, their height, and where it begins to fade, as a share of its radius.
_STAIN_WAVES: Final = (2, 3, 4, 5)
_STAIN_RAGGED, _STAIN_FADES = 0.09, 0.6
# Contrast of the bright edge of a cut, as a share of that of the cut.
_CUT_EDGE = 0.5


def graded_defect(
    pixels: Pixels,
    kind: str,
    size: float,
    contrast: float,
    at: tuple[float, float],
    random: np.random.Generator,
    *,
    levels: tuple[float, float] | None = None,
) -> SmallDefect:
    """Return a copy with a defect: the same state of the generator gives the same shape, scaled.

    Parameters
    ----------
    pixels
        RGB uint8 (height, width, 3).
    kind
        One of `DEFECT_KINDS`: ``scratch``, a thin, nearly straight line, lighter or darker than
        what it covers; ``spot``, a disc; ``stain``, a blot that fades to its rim; ``cut``, a jagged
        line that becomes thinner towards its ends, with an edge of the opposite tone.
    size
        Of the longest side, in pixels of the image: the length of a line, the diameter of a disc.
    contrast
        How much darker or lighter it is than what it covers, as a share of the image's own
        contrast: of the range between its dark and its light pixels.
    at
        x and y of its middle.
    levels
        The image's dark and light, if known: see `contrast_range`.
    """
    height, width = pixels.shape[:2]
    x, y = at
    reach = int(np.ceil(size / 2)) + 3
    rows = slice(max(0, int(y) - reach), min(height, int(y) + reach + 1))
    columns = slice(max(0, int(x) - reach), min(width, int(x) + reach + 1))
    down, across = np.mgrid[rows, columns].astype(np.float64)
    cover, edge = _KINDS[kind](down + 0.5 - y, across + 0.5 - x, size, random)
    changed = pixels.copy()
    around = changed[rows, columns].astype(np.float64)
    behind = float((around.mean(axis=2) * cover).sum() / max(float(cover.sum()), 1e-6))
    shift = contrast_shift(levels or contrast_range(pixels), behind, contrast)
    drawn = shift * (cover - _CUT_EDGE * edge)[..., np.newaxis]
    changed[rows, columns] = np.clip(np.rint(around + drawn), 0, 255)
    touched = (cover > 0) | (edge > 0)
    inside_y, inside_x = (np.flatnonzero(touched.any(axis=axis)) for axis in (1, 0))
    return SmallDefect(
        changed,
        (
            columns.start + int(inside_x[0]),
            rows.start + int(inside_y[0]),
            columns.start + int(inside_x[-1]) + 1,
            rows.start + int(inside_y[-1]) + 1,
        ),
    )


def _spot(
    down: Field, across: Field, size: float, random: np.random.Generator
) -> tuple[Field, Field]:
    return _soft(np.hypot(down, across) - size / 2), np.zeros_like(down)


def _stain(
    down: Field, across: Field, size: float, random: np.random.Generator
) -> tuple[Field, Field]:
    phases = random.uniform(0, 2 * np.pi, len(_STAIN_WAVES))
    heights = random.uniform(0, _STAIN_RAGGED, len(_STAIN_WAVES))

    def rim(angle: Field) -> Field:
        waves = zip(_STAIN_WAVES, heights, phases, strict=True)
        found: Field = 1 + sum(height * np.cos(wave * angle + at) for wave, height, at in waves)
        return found

    largest = float(rim(np.linspace(0, 2 * np.pi, 720)).max())
    radius = size / 2 * rim(np.arctan2(down, across)) / largest
    t = np.clip((1 - np.hypot(down, across) / radius) / (1 - _STAIN_FADES), 0, 1)
    # Of a stain of few pixels, the middle of one may be all that is dark.
    cover = np.maximum(t * t * (3 - 2 * t), _soft(np.hypot(down, across) - 0.5))
    return cover, np.zeros_like(down)


def _scratch(
    down: Field, across: Field, size: float, random: np.random.Generator
) -> tuple[Field, Field]:
    along, aside = _turned(down, across, random)
    bow = random.uniform(-_SCRATCH_BOW, _SCRATCH_BOW) * size
    width = max(1.0, _SCRATCH_WIDTH * size)
    t = np.clip(2 * along / size, -1, 1)
    beyond = np.maximum(np.abs(along) - (size - width) / 2, 0)
    return _soft(np.hypot(aside - bow * (1 - t * t), beyond) - width / 2), np.zeros_like(down)


def _cut(
    down: Field, across: Field, size: float, random: np.random.Generator
) -> tuple[Field, Field]:
    along, aside = _turned(down, across, random)
    knots = random.uniform(-_CUT_JAG, _CUT_JAG, _CUT_PIECES + 1) * size
    t = np.clip(along / size + 0.5, 0, 1)
    offset = aside - np.interp(t, np.linspace(0, 1, len(knots)), knots)
    width = np.maximum(1.0, _CUT_WIDTH * size * (1 - np.abs(2 * t - 1)))
    beyond = np.maximum(np.abs(along) - size / 2, 0)
    cover = _soft(np.hypot(offset, beyond) - width / 2)
    lit = _soft(np.hypot(offset - 0.75 * width, beyond) - width / 4)
    return cover, np.minimum(lit, 1 - cover)


def _turned(down: Field, across: Field, random: np.random.Generator) -> tuple[Field, Field]:
    """Return coordinates along and beside a line in a random direction."""
    angle = random.uniform(0, np.pi)
    along = down * np.sin(angle) + across * np.cos(angle)
    return along, down * np.cos(angle) - across * np.sin(angle)


def _soft(outside: Field) -> Field:
    """Return the cover of a shape by the distance from its rim: an edge as soft as a pixel."""
    return np.clip(0.5 - outside, 0, 1)


_Draw = Callable[[Field, Field, float, np.random.Generator], tuple[Field, Field]]
_KINDS: Final[dict[str, _Draw]] = {
    "scratch": _scratch,
    "spot": _spot,
    "stain": _stain,
    "cut": _cut,
}
DEFECT_KINDS: Final = tuple(_KINDS)
