"""Draw an image of the surface set: a photographed piece of a material, with or without defect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.datasets.surfaces.defects import DEFECTS
from patchbank.datasets.surfaces.materials import MATERIALS
from patchbank.datasets.surfaces.noise import Dice, Field, noise, pixels


@dataclass(frozen=True, eq=False)
class Drawing:
    """An image, with and without its defect.

    Attributes
    ----------
    image, flawless
        (side, side, 3) uint8: the image, and the same image without the defect.
    mask
        (side, side) bool: true exactly where they differ.
    """

    image: npt.NDArray[np.uint8]
    flawless: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]


def draw(material: str, kind: str | None, key: tuple[int, ...], side: int) -> Drawing:
    """Return an image of a material, with a kind of defect or without (None).

    The same key gives the same pixels on every machine.
    """
    dice = Dice(*key)
    light = _lighting(dice, side)
    grain = 2.2 * dice.grain(side, side, 1) + 1.4 * dice.grain(side, side, 3)
    piece = MATERIALS[material](dice, side)
    flawless = _photograph(piece.face, light, grain)
    if kind is None:
        return Drawing(flawless, flawless, np.zeros((side, side), dtype=np.bool_))
    damage = DEFECTS[material][kind](dice, piece)
    image = _photograph(damage.face, light, grain)
    # Where the defect happens to have the surface's colour, change it by one level, so that the
    # mask is exact.
    same = damage.touched & (image == flawless).all(axis=2)
    image[same] = np.where(image[same] < 128, image[same] + 1, image[same] - 1)
    return Drawing(image, flawless, damage.touched)


def _lighting(dice: Dice, side: int) -> Field:
    """Return the brightness of each pixel, (side, side), about 1."""
    rows, columns = pixels(side)
    uneven = noise(dice, rows, columns, 200, 200) - 0.5
    reach = (np.square(rows - 128) + np.square(columns - 128)) / (2 * 128.0**2)
    return dice.uniform(0.9, 1.08) * (1 + 0.16 * uneven) * (1 - dice.uniform(0.0, 0.10) * reach)


def _photograph(picture: Field, light: Field, grain: Field) -> npt.NDArray[np.uint8]:
    levels = np.clip(picture * light[..., np.newaxis] + grain, 0, 255)
    return np.floor(levels + 0.5).astype(np.uint8)
