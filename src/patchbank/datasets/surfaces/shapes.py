"""The shapes of defects: wandering lines, and blots with ragged rims.

Lengths are in 256ths of the image's side.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from patchbank.datasets.surfaces.noise import Dice, Field, direction, noise

_MARGIN = 34.0


@dataclass(frozen=True, eq=False)
class Line:
    """A line through an image.

    Attributes
    ----------
    distance
        Distance of each pixel from the line, (side, side): positive on one side, negative on the
        other.
    course
        Position of the nearest point along the line, 0 to 1, (side, side).
    """

    distance: Field
    course: Field


def line(
    dice: Dice,
    rows: Field,
    columns: Field,
    length: float,
    *,
    wander: float,
    pieces: int = 10,
    along_rows: bool = False,
) -> Line:
    """Return a line whose pieces each turn by up to `wander` (tangent of half the angle).

    Its direction is random or, with `along_rows`, roughly down the rows.
    """
    step = length / pieces
    cosine, sine = direction(dice, 0.08 if along_rows else 1.0)
    if not along_rows and dice.uniform(0, 1) < 0.5:
        cosine, sine = sine, cosine
    points = [(0.0, 0.0)]
    for _ in range(pieces):
        turn, lean = direction(dice, wander)
        heading = (cosine * turn - sine * lean, sine * turn + cosine * lean)
        points.append((points[-1][0] + step * heading[0], points[-1][1] + step * heading[1]))
        # Follow the piece only in part, so that the line does not coil up.
        cosine, sine = 0.6 * cosine + 0.4 * heading[0], 0.6 * sine + 0.4 * heading[1]
        norm = float(np.sqrt(cosine * cosine + sine * sine))
        cosine, sine = cosine / norm, sine / norm
    middle = points[pieces // 2]
    centre = _centre(dice)
    shift = (centre[0] - middle[0], centre[1] - middle[1])
    best = np.full_like(rows, 1e9)
    signed = np.full_like(rows, 1e9)
    course = np.zeros_like(rows)
    for number, (start, end) in enumerate(pairwise(points)):
        y, x = rows - (start[0] + shift[0]), columns - (start[1] + shift[1])
        dy, dx = end[0] - start[0], end[1] - start[1]
        t = np.clip((y * dy + x * dx) / (dy * dy + dx * dx), 0.0, 1.0)
        off = np.square(y - t * dy) + np.square(x - t * dx)
        nearer = off < best
        best = np.where(nearer, off, best)
        signed = np.where(nearer, y * dx - x * dy, signed)
        course = np.where(nearer, (number + t) / pieces, course)
    distance = np.sqrt(best)
    return Line(np.where(signed < 0, -distance, distance), course)


def blot(
    dice: Dice, rows: Field, columns: Field, radius: float, *, ragged: float, stretch: float = 1.6
) -> Field:
    """Return the distance from a blot's centre in units of its radius, (side, side).

    The rim is at 1. The blot is stretched by up to `stretch`, and its rim varies by up to `ragged`
    times the radius.
    """
    row, column = _centre(dice)
    cosine, sine = direction(dice, 1.0)
    longer = dice.uniform(1.0, stretch)
    y = (cosine * (rows - row) - sine * (columns - column)) / longer
    x = (sine * (rows - row) + cosine * (columns - column)) * longer
    rim = noise(dice, rows, columns, 0.9 * radius, 0.9 * radius)
    rim = 0.65 * rim + 0.35 * noise(dice, rows, columns, 0.3 * radius, 0.3 * radius)
    return np.sqrt(y * y + x * x) / radius + 2 * ragged * (rim - 0.5)


def _centre(dice: Dice) -> tuple[float, float]:
    return dice.uniform(_MARGIN, 256 - _MARGIN), dice.uniform(_MARGIN, 256 - _MARGIN)
