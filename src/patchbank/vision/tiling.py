"""Where the network looks: an image of any size through overlapping tiles."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from patchbank.vision.preprocess import Square


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a line that a tile contributes, in patches.

    Attributes
    ----------
    origin
        The tile's first patch.
    start, stop
        The patches taken from the tile: those that are more central in it than in its neighbours.
    """

    origin: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Tiling:
    """Square tiles over a grid of patches, which is the same wherever the tiles are.

    A patch is taken from the tile in which it is most central, so the map has no seams but what
    the network sees beyond the overlap.

    Attributes
    ----------
    tile
        Side of a tile in pixels; a multiple of `coarse`.
    overlap
        Least overlap of neighbouring tiles in pixels, less than `tile`.
    stride
        Pixels between patches.
    coarse
        Pixels between positions of the deepest layer, a multiple of `stride`: tiles start at
        multiples of it, so that its positions are the same in every tile.
    """

    tile: int
    overlap: int
    stride: int
    coarse: int

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of patches: those whose centres are in the image."""
        rows, columns = (
            max(1, (side + self.stride // 2) // self.stride) for side in (height, width)
        )
        return rows, columns

    def spans(self, count: int) -> tuple[Span, ...]:
        """Return what each tile contributes to a line of `count` patches."""
        length, grain = self.tile // self.stride, self.coarse // self.stride
        if count <= length:
            return (Span(0, 0, count),)
        step = max(1, (self.tile - self.overlap) // self.coarse)
        # In units of the deepest layer's positions; the last tile may end behind the image.
        last = -(-(count - length) // grain)
        tiles = -(-last // step) + 1
        origins = [grain * (last * number // (tiles - 1)) for number in range(tiles)]
        between = [(first + length + second) // 2 for first, second in pairwise(origins)]
        return tuple(
            Span(origin, start, stop)
            for origin, start, stop in zip(origins, [0, *between], [*between, count], strict=True)
        )

    def pixels(self, height: int, width: int) -> int:
        """Return how many pixels the tiles of an image have together."""
        rows, columns = (len(self.spans(count)) for count in self.grid(height, width))
        return rows * columns * self.tile**2

    def cut(self, pixels: Square, row: int, column: int) -> Square:
        """Return the tile at a patch; behind the image, its last pixels are repeated.

        Parameters
        ----------
        pixels
            uint8 or float32 (height, width, 3).
        row, column
            The tile's first patch.
        """
        top, left = row * self.stride, column * self.stride
        found = pixels[top : top + self.tile, left : left + self.tile]
        missing = [(0, self.tile - side) for side in found.shape[:2]]
        if any(after for _, after in missing):
            found = np.pad(found, (*missing, (0, 0)), mode="edge")
        return np.ascontiguousarray(found)
