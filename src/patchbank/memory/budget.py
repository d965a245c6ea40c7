"""Estimate the memory of a fit, and split it into parts if that is too much.

The estimate counts what grows with the images: features, bookkeeping of coreset and calibration,
the bank and its index. `tests/unit/memory/test_budget.py` compares it with measured peaks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from patchbank.memory.coreset import coreset_size

# Peak bytes of bookkeeping per row that a coreset or a calibration processes.
_ROW = 96
# Bytes per row for its origin: image and position.
_ORIGIN = 24
# Bytes per bank row in an index, besides at most one more copy of the row.
_INDEX_ROW = 256
# Bytes per image for thumbnail, name and records, twice: in memory and while being written.
_IMAGE = 32_768
# Bytes of buffers that do not grow with the images: packed tiles, pools, COPY blocks.
_BUFFERS = 64_000_000
# How many rows the parts may keep per row of the bank: the more, the closer the merged coreset is
# to the exact one. More than two is not worth the time (docs/method.md).
_KEPT = (2.0, 1.5, 1.25, 1.0)
# The fewest images a part should have; only then are more rows kept.
_GOOD_PART = 8


@dataclass(frozen=True)
class FitSize:
    """The size of a fit.

    Attributes
    ----------
    images
        The maximum number of images.
    patches
        Patches per image.
    dimension
        Dimensions of a patch feature.
    embedding_dimension
        Dimensions of an image's embedding.
    ratio
        The coreset ratio.
    """

    images: int
    patches: int
    dimension: int
    embedding_dimension: int
    ratio: float

    @property
    def rows(self) -> int:
        """Patches of all images."""
        return self.images * self.patches

    @property
    def bank_rows(self) -> int:
        """Patches in the bank."""
        return coreset_size(self.rows, self.ratio)


@dataclass(frozen=True)
class Parts:
    """The parts that a fit is split into.

    Attributes
    ----------
    count
        The maximum number of parts.
    images
        The maximum number of images per part.
    kept_ratio
        The share of a part's patches that is kept for the merge.
    """

    count: int
    images: int
    kept_ratio: float

    def kept_rows(self, rows: int) -> int:
        """Return how many of a part's rows are kept."""
        return min(rows, math.ceil(rows * self.kept_ratio))


def whole_bytes(size: FitSize) -> int:
    """Return the memory of a fit with all patches in memory."""
    feature = 4 * size.dimension
    # The bank's rows are in memory three times: in the index, packed, and in the result.
    bank = size.bank_rows * (3 * feature + _INDEX_ROW)
    return _fixed(size) + size.rows * (feature + _ROW) + bank


def plan_parts(size: FitSize, room: int) -> Parts | None:
    """Return the parts in which a fit stays within `room` bytes, or None if it cannot.

    The rows kept from all parts must fit together with one part and its bookkeeping, and later with
    the bookkeeping of the merge, the bank and its index. Keeping more rows is preferred unless it
    leaves fewer than eight images per part. Parts have equal sizes.
    """
    fallback: Parts | None = None
    for factor in _KEPT:
        ratio = min(1.0, factor * size.ratio)
        most = _most_images(size, ratio, room)
        if most < 1:
            continue
        count = math.ceil(size.images / most)
        parts = Parts(count, math.ceil(size.images / count), ratio)
        if most >= min(_GOOD_PART, size.images):
            return parts
        fallback = parts
    return fallback


def least_bytes(size: FitSize) -> int:
    """Return the smallest `room` for which `plan_parts` returns parts."""
    return max(_gathering(size, size.ratio, 1), _merging(size, size.ratio))


def largest_ratio(size: FitSize, room: int) -> float | None:
    """Return a round coreset ratio, below that of `size`, that fits, or None."""
    for exponent in range(-1, -6, -1):
        for digit in (5, 2, 1):
            ratio = digit * 10.0**exponent
            if ratio < size.ratio and least_bytes(replace(size, ratio=ratio)) <= room:
                return ratio
    return None


def _most_images(size: FitSize, kept_ratio: float, room: int) -> int:
    """Return how many images a part may have; 0 if even the merge does not fit."""
    if _merging(size, kept_ratio) > room:
        return 0
    one_more = _gathering(size, kept_ratio, 2) - _gathering(size, kept_ratio, 1)
    spare = room - _gathering(size, kept_ratio, 1)
    return 0 if spare < 0 else min(size.images, 1 + spare // one_more)


def _gathering(size: FitSize, kept_ratio: float, images: int) -> int:
    """Return the bytes used while parts of `images` images are gathered and reduced."""
    part = images * size.patches * (4 * size.dimension + _ROW)
    return _fixed(size) + _kept_rows(size, kept_ratio) * (4 * size.dimension + _ORIGIN) + part


def _merging(size: FitSize, kept_ratio: float) -> int:
    """Return the bytes used while kept rows are merged and images scored against the bank."""
    feature = 4 * size.dimension
    kept = _kept_rows(size, kept_ratio) * (feature + _ORIGIN + _ROW)
    return _fixed(size) + kept + size.bank_rows * (2 * feature + _INDEX_ROW)


def _kept_rows(size: FitSize, kept_ratio: float) -> int:
    # Rounded up in every part, and there are at most as many parts as images.
    return min(size.rows, math.ceil(size.rows * kept_ratio) + size.images)


def _fixed(size: FitSize) -> int:
    return _BUFFERS + size.images * (_IMAGE + 2 * 4 * size.embedding_dimension)
