"""The five materials: each function draws a flawless piece.

Lengths are in 256ths of the image's side; colours are 0 to 255, not yet rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from patchbank.datasets.surfaces.noise import (
    Dice,
    Field,
    cells,
    direction,
    fractal,
    noise,
    pixels,
    ramp,
    wave,
)

Colour = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Piece:
    """A flawless piece of a material.

    Attributes
    ----------
    face
        The picture of the surface, (side, side, 3).
    under
        Returns the picture of what is below it, (side, side, 3).
    along, across
        Coordinates in the material's pattern, (side, side): along its grain, rows or wires, and
        across them.
    """

    face: Field
    under: Callable[[], Field]
    along: Field
    across: Field


def tile(dice: Dice, side: int) -> Piece:
    """Return terrazzo: dark and light chips of stone on a grey ground."""
    rows, columns, along, across = _laid(dice, side, 1.0)
    ground = 176 + 14 * (fractal(dice, along, across, 70, 70, 3) - 0.5)
    speckle = fractal(dice, along, across, 7.5, 8.5, 3)
    fine = fractal(dice, along, across, 5, 5, 2)
    face = _dyed(ground + 26 * (fine - 0.5), (1.0, 0.985, 0.95))
    face = _blend(face, (98, 96, 96), 0.85 * ramp(speckle, 0.58, 0.64))
    face = _blend(face, (222, 219, 212), 0.8 * ramp(speckle, 0.40, 0.34))

    def under() -> Field:
        return _dyed(92 + 50 * fractal(dice, rows, columns, 8, 8, 3), (1.0, 0.93, 0.86))

    return Piece(face, under, along, across)


def leather(dice: Dice, side: int) -> Piece:
    """Return grained leather: raised cells with creases between them, lit from one side."""
    rows, columns, along, across = _laid(dice, side, 1.0)
    size = dice.uniform(8.5, 10.5)
    drift = 9 * (noise(dice, along, across, 26, 26) - 0.5)
    sway = 9 * (noise(dice, along, across, 26, 26) - 0.5)
    first, second = cells(dice, along + drift, across + sway, size)
    height = ramp(second - first, 0.0, 0.42) * (1.15 - 0.4 * first)
    height += 0.5 * fractal(dice, along, across, 18, 18, 3)
    slope = np.zeros_like(height)
    slope[1:, 1:] = height[1:, 1:] - height[:-1, :-1]
    slope *= side / 256
    mottle = fractal(dice, rows, columns, 60, 60, 3) - 0.5
    tone = 92 + 18 * height + 40 * np.clip(slope, -0.45, 0.45) + 22 * mottle
    face = _dyed(tone, (1.12, 0.72, 0.46))

    def under() -> Field:
        return _dyed(150 + 60 * fractal(dice, rows, columns, 5, 5, 3), (1.0, 0.87, 0.68))

    return Piece(face, under, along, across)


GRID_SPACING = 25.6
GRID_WIDTH = 5.0


def grid(dice: Dice, side: int) -> Piece:
    """Return a woven wire mesh on a dark ground: wires go over and under each other in turn."""
    rows, columns, along, across = _laid(dice, side, 0.15)
    along = along + 7 * (noise(dice, along, across, 80, 80) - 0.5)
    across = across + 7 * (noise(dice, along, across, 80, 80) - 0.5)
    ground = 26 + 20 * fractal(dice, rows, columns, 45, 45, 3)
    behind = _dyed(ground, (0.94, 0.98, 1.05))
    wires = []
    for position, run, phase in ((across, along, 0.0), (along, across, 0.5)):
        number = np.floor(position / GRID_SPACING)
        offset = position - (number + 0.5) * GRID_SPACING
        # Half a period of the weave is one mesh; neighbours are out of step.
        lift = wave(run / (2 * GRID_SPACING) + number / 2 + phase - 0.25)
        cover = ramp(np.abs(offset), GRID_WIDTH + 0.9, GRID_WIDTH - 0.9)
        shine = np.maximum(1.0 - np.square((offset + 1.2) / GRID_WIDTH), 0.0)
        scuffs = fractal(dice, run, position, 14, 3, 2) - 0.5
        tone = 62 + 96 * shine * shine + 24 * lift + 60 * scuffs
        wires.append((cover, lift, _dyed(tone, (0.97, 1.0, 1.0))))
    (first, lift, colour), (second, other_lift, other_colour) = wires
    shadow = 1.0 - 0.35 * ramp(first + second, 0.0, 0.6)
    face = _over(behind * shadow[..., np.newaxis], other_colour, second)
    face = _over(face, colour, first * ramp(lift - other_lift, -0.1, 0.1) * second)
    face = _over(face, colour, first * (1.0 - second))
    return Piece(face, lambda: behind, along, across)


def wood(dice: Dice, side: int) -> Piece:
    """Return planed wood: growth rings stretched along the grain, with pores."""
    _, _, along, across = _laid(dice, side, 0.04)
    bend = 34 * (fractal(dice, along, across, 230, 110, 2) - 0.5)
    ring = across + bend
    breadth = dice.uniform(13, 18)
    year = ring / breadth + 1.3 * (noise(dice, along, ring, 700, 30) - 0.5)
    phase = year - np.floor(year)
    late = ramp(phase, 0.35, 0.97) * ramp(phase, 1.0, 0.93)
    fibre = fractal(dice, along, ring, 90, 2.6, 3) - 0.5
    tone = 188 - 44 * late + 42 * fibre + 20 * (noise(dice, along, ring, 260, 60) - 0.5)
    pores = noise(dice, along, ring, 13, 1.7) * noise(dice, along, ring, 40, 9)
    face = _dyed(tone, (1.06, 0.83, 0.60))
    face = _blend(face, (92, 60, 38), 0.7 * ramp(pores, 0.52, 0.72))

    def under() -> Field:
        return _dyed(62 + 40 * fractal(dice, along, across, 20, 5, 3), (1.0, 0.75, 0.55))

    return Piece(face, under, along, across)


CARPET_ROW = 6.4
CARPET_LOOP = 8.0


def carpet(dice: Dice, side: int) -> Piece:
    """Return loop pile: rows of yarn loops, each row shifted by half a loop."""
    rows, columns, along, across = _laid(dice, side, 0.08)
    along = along + 7 * (noise(dice, along, across, 30, 30) - 0.5)
    across = across + 3 * (noise(dice, along, across, 40, 40) - 0.5)
    row = np.floor(across / CARPET_ROW)
    shifted = along / CARPET_LOOP + row / 2
    loop = np.floor(shifted)
    x = 2 * (shifted - loop) - 1
    y = 2 * (across / CARPET_ROW - row) - 1
    # Noise at whole coordinates gives each loop a tone.
    loop_tone = noise(dice, row + 0.0, loop + 0.0, 1, 1) - 0.5
    twist = wave((x + 0.9 * y) * 1.1 + loop_tone)
    height = np.maximum(1.0 - 0.75 * x * x - 0.8 * y * y, 0.0)
    tone = 38 + 96 * np.sqrt(height) * (1 + 0.8 * loop_tone) + 9 * twist - 12 * y
    tone += 24 * (fractal(dice, rows, columns, 3, 3, 2) - 0.5)
    tone *= 1 + 0.5 * (fractal(dice, rows, columns, 50, 80, 2) - 0.5)
    face = _dyed(tone, (0.92, 0.96, 1.06))

    def under() -> Field:
        weave = 16 * wave(rows / 4.2) * wave(columns / 4.2)
        return _dyed(112 + weave + 26 * fractal(dice, rows, columns, 9, 9, 2), (1.0, 0.90, 0.70))

    return Piece(face, under, along, across)


MATERIALS: dict[str, Callable[[Dice, int], Piece]] = {
    "carpet": carpet,
    "grid": grid,
    "leather": leather,
    "tile": tile,
    "wood": wood,
}


def _laid(dice: Dice, side: int, tilt: float) -> tuple[Field, Field, Field, Field]:
    """Return pixel coordinates, and coordinates in a randomly turned and shifted material."""
    rows, columns = pixels(side)
    cosine, sine = direction(dice, tilt)
    down, right = dice.uniform(0, 512), dice.uniform(0, 512)
    along = cosine * (rows - 128) - sine * (columns - 128) + 128 + down
    across = sine * (rows - 128) + cosine * (columns - 128) + 128 + right
    return rows, columns, along, across


def _dyed(tone: Field, dye: Colour) -> Field:
    return tone[..., np.newaxis] * np.array(dye, dtype=np.float32)


def _blend(picture: Field, colour: Colour, opacity: Field) -> Field:
    return _over(picture, np.array(colour, dtype=np.float32), opacity)


def _over(picture: Field, upper: Field, opacity: Field) -> Field:
    cover = opacity[..., np.newaxis]
    return picture * (1.0 - cover) + upper * cover
