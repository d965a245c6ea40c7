"""Random fields that are the same, bit for bit, on every machine.

Numbers come from PCG64's raw stream, which NumPy guarantees. They are combined only by elementwise
operations that IEEE 754 rounds exactly (+, −, ×, ÷, √, floor, comparisons) and by integer sums.
Sines, exponentials, float reductions and BLAS are avoided, because their last bits depend on the
processor.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

# Single precision is faster: allocating arrays takes longer than filling them.
Field = npt.NDArray[np.floating[Any]]


class Dice:
    """A source of random numbers for an image."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * float(self.field(1)[0])

    def integer(self, low: int, high: int) -> int:
        """Return a whole number from low to high, both included."""
        return low + math.floor((high - low + 1) * float(self.field(1)[0]))

    def sign(self) -> float:
        """Return 1 or −1."""
        return 1.0 if self.uniform(0, 1) < 0.5 else -1.0

    def field(self, *shape: int) -> Field:
        """Return an array of numbers in [0, 1)."""
        raw = self._bits.random_raw(math.prod(shape))
        # Single precision has 24 bits.
        field: Field = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
        return field.reshape(shape)

    def grain(self, *shape: int) -> Field:
        """Return numbers with mean 0 and deviation 1, almost normal: sums of four bytes."""
        count = math.prod(shape)
        raw = self._bits.random_raw((count + 1) // 2).astype("<u8").view(np.uint8).reshape(-1, 4)
        total = raw[:count, 0].astype(np.int16)
        for byte in (1, 2, 3):
            total += raw[:count, byte]
        # A byte has the variance (256² − 1) / 12.
        spread = np.float32(math.sqrt(4 * (256**2 - 1) / 12))
        grain: Field = (total - 510).astype(np.float32) / spread
        return grain.reshape(shape)


def ramp(values: Field, low: float, high: float) -> Field:
    """Return 0 below `low`, 1 above `high` and a smooth step between them."""
    t = np.minimum(np.maximum((values - low) / (high - low), 0.0), 1.0)
    return _eased(t)


def wave(phase: Field) -> Field:
    """Return a sine with period 1, approximated by parabolas to within 0.1 %."""
    t = 2.0 * (phase - np.floor(phase)) - 1.0
    arch = 4.0 * t * (np.abs(t) - 1.0)
    rounded: Field = 0.225 * (arch * np.abs(arch) - arch) + arch
    return rounded


def direction(dice: Dice, tilt: float) -> tuple[float, float]:
    """Return the cosine and sine of an angle; the tangent of its half is at most `tilt`."""
    half = dice.uniform(-tilt, tilt)
    return (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)


def pixels(side: int) -> tuple[Field, Field]:
    """Return the row and column of each pixel in 256ths of the side, so that patterns scale."""
    steps = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(256 / side)
    rows, columns = np.meshgrid(steps, steps, indexing="ij")
    return rows, columns


def noise(dice: Dice, rows: Field, columns: Field, height: float, width: float) -> Field:
    """Return smooth noise in [0, 1) with lumps of a height and width."""
    y = rows / height
    x = columns / width
    row, column = np.floor(y), np.floor(x)
    top, left = float(row.min()), float(column.min())
    breadth = int(column.max() - left) + 2
    lattice = dice.field((int(row.max() - top) + 2) * breadth)
    down = _eased(y - row)
    right = _eased(x - column)
    at = ((row - top) * breadth + (column - left)).astype(np.intp)
    corner, beside = lattice.take(at), lattice.take(at + 1)
    above = corner + (beside - corner) * right
    at += breadth
    corner, beside = lattice.take(at), lattice.take(at + 1)
    below = corner + (beside - corner) * right
    between: Field = above + (below - above) * down
    return between


def fractal(
    dice: Dice, rows: Field, columns: Field, height: float, width: float, octaves: int
) -> Field:
    """Return noise in [0, 1) in octaves, each with half the lump size and half the amplitude."""
    total = np.zeros_like(rows)
    weight, weights = 1.0, 0.0
    for _ in range(octaves):
        total += weight * noise(dice, rows, columns, height, width)
        weights += weight
        weight, height, width = weight / 2, height / 2, width / 2
    return total / weights


def cells(dice: Dice, rows: Field, columns: Field, size: float) -> tuple[Field, Field]:
    """Return the distances to the nearest two points of a jittered grid, in units of `size`.

    Worley, "A Cellular Texture Basis Function", SIGGRAPH 1996.
    """
    y = rows / size
    x = columns / size
    row, column = np.floor(y), np.floor(x)
    top, left = float(row.min()) - 1, float(column.min()) - 1
    breadth = int(column.max() - left) + 2
    count = (int(row.max() - top) + 2) * breadth
    point_rows, point_columns = dice.field(count), dice.field(count)
    middle = ((row - top) * breadth + (column - left)).astype(np.intp)
    y, x = y - row, x - column
    first = np.full_like(rows, 9.0)
    second = np.full_like(rows, 9.0)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            at = middle + (down * breadth + right)
            dy = point_rows.take(at) + down - y
            dx = point_columns.take(at) + right - x
            distance = dy * dy + dx * dx
            second = np.minimum(second, np.maximum(first, distance))
            first = np.minimum(first, distance)
    return np.sqrt(first), np.sqrt(second)


def colour(red: float, green: float, blue: float) -> Field:
    """Return a colour, or a factor for colours, (3,)."""
    return np.array([red, green, blue], dtype=np.float32)


def sample(picture: Field, rows: Field, columns: Field) -> Field:
    """Return interpolated values of a picture at fractional pixel indices."""
    last = len(picture) - 1
    y = np.minimum(np.maximum(rows, 0.0), last)
    x = np.minimum(np.maximum(columns, 0.0), last)
    row, column = np.minimum(np.floor(y), last - 1), np.minimum(np.floor(x), last - 1)
    i, j = row.astype(np.intp), column.astype(np.intp)
    down = (y - row)[..., np.newaxis]
    right = (x - column)[..., np.newaxis]
    above = picture[i, j] * (1.0 - right) + picture[i, j + 1] * right
    below = picture[i + 1, j] * (1.0 - right) + picture[i + 1, j + 1] * right
    between: Field = above * (1.0 - down) + below * down
    return between


def _eased(t: Field) -> Field:
    return t * t * (3.0 - 2.0 * t)
