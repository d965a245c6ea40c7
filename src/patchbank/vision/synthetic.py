"""Synthetic anomalies: images of good parts, with a piece pasted elsewhere or a small defect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.vision.decoded_image import Pixels

# Share of the image's area, and aspect ratio: the ranges of the paper.
_AREA = (0.02, 0.15)
_LARGEST_ASPECT = 3.3
# The paper changes colours by a tenth; a stronger change is visible on uniform surfaces too.
_CONTRAST = (0.4, 1.6)
_BRIGHTNESS = 60.0
# Of a small defect: shares of the range between an image's dark and light pixels, in grey values.
_SMALL_CONTRAST = (0.4, 0.8)
_LEAST_CONTRAST = 40.0


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


@dataclass(frozen=True, slots=True, eq=False)
class SmallDefect:
    """A picture with a small defect, and the box of its pixels.

    Attributes
    ----------
    pixels
        RGB uint8 (height, width, 3).
    box
        x0, y0, x1, y1, ends excluded.
    """

    pixels: npt.NDArray[np.uint8]
    box: tuple[int, int, int, int]


def small_defect(
    pixels: Pixels, random: np.random.Generator, size: float, contrast: float | None = None
) -> SmallDefect:
    """Return a copy with a dot or a scratch somewhere, darker or lighter than what is there.

    A dot is `size` pixels wide; a scratch is a third as wide and three times as long.

    Parameters
    ----------
    pixels
        RGB uint8 (height, width, 3).
    random
        Random generator; the same state gives the same picture.
    size
        In pixels of the image.
    contrast
        How much darker or lighter, as a share of the image's own contrast: of the range between its
        dark and its light pixels. The defect then differs from what it covers. By default it is
        drawn, and differs from its surroundings, which may hide it.
    """
    height, width = pixels.shape[:2]
    reach = int(np.ceil(2 * size)) + 1
    y = random.uniform(min(reach, height / 2), max(height - reach, height / 2))
    x = random.uniform(min(reach, width / 2), max(width - reach, width / 2))
    rows = slice(max(0, int(y) - reach), int(y) + reach + 1)
    columns = slice(max(0, int(x) - reach), int(x) + reach + 1)
    down, across = np.mgrid[rows, columns][:, : height - rows.start, : width - columns.start]
    down, across = down - y, across - x
    if random.random() < 0.5:
        outside = np.hypot(down, across) - size / 2
    else:
        angle = random.uniform(0, np.pi)
        along = down * np.sin(angle) + across * np.cos(angle)
        aside = down * np.cos(angle) - across * np.sin(angle)
        outside = np.hypot(aside, np.maximum(np.abs(along) - 1.5 * size, 0)) - size / 6
    # A soft edge of a pixel, as a lens makes it.
    cover = np.clip(0.5 - outside, 0, 1)
    changed = pixels.copy()
    around = changed[rows, columns].astype(np.float64)
    if contrast is None:
        behind = float(around.mean())
        share = random.uniform(*_SMALL_CONTRAST)
    else:
        behind = float((around.mean(axis=2) * cover).sum() / max(float(cover.sum()), 1e-6))
        share = contrast
    shift = contrast_shift(contrast_range(pixels), behind, share)
    changed[rows, columns] = np.clip(np.rint(around + shift * cover[..., np.newaxis]), 0, 255)
    inside_y, inside_x = (np.flatnonzero(cover.any(axis=axis)) for axis in (1, 0))
    box = (
        columns.start + int(inside_x[0]),
        rows.start + int(inside_y[0]),
        columns.start + int(inside_x[-1]) + 1,
        rows.start + int(inside_y[-1]) + 1,
    )
    return SmallDefect(changed, box)


def contrast_range(pixels: Pixels) -> tuple[float, float]:
    """Return the grey values of an image's dark and light pixels."""
    dark, light = np.percentile(pixels[::4, ::4], (5, 95))
    return float(dark), float(light)


def contrast_shift(levels: tuple[float, float], behind: float, share: float) -> float:
    """Return the grey values by which a defect is darker or lighter than what is behind it.

    It is lighter on what is dark, and darker on what is light.

    Parameters
    ----------
    levels
        The image's `contrast_range`.
    share
        Of the range between them, which counts as at least 40.
    """
    dark, light = levels
    sign = -1 if behind > (dark + light) / 2 else 1
    return sign * share * max(light - dark, _LEAST_CONTRAST)
