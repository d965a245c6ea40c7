"""What a fit keeps in memory, and how to cut it into parts where that is too much.

Counts what grows with the images: features, the coreset's and the calibration's bookkeeping, the
bank and its index. `tests/unit/memory/test_budget.py` holds the figures against measured peaks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from patchbank.memory.coreset import coreset_size

# Bytes of bookkeeping for each row that a coreset or a calibration runs over, at its peak.
_ROW = 96
# Bytes for where a row comes from: its image and its position.
_ORIGIN = 24
# Bytes for each bank row in an index, beside at most one more copy of the row.
_INDEX_ROW = 256
# Bytes for each image's thumbnail, name and records, twice: as they are and on their way out.
_IMAGE = 32_768
# Bytes for buffers that do not grow with the images: packed tiles, pools, blocks of a COPY.
_BUFFERS = 64_000_000
# How many rows parts may keep for each that the bank will hold: the more, the nearer the merged
# coreset is to the exact one. Beyond two it takes longer than it is worth (docs/method.md).
_KEPT = (2.0, 1.5, 1.25, 1.0)
# Images a part should at least have before more rows are kept of each.
_GOOD_PART = 8


@dataclass(frozen=True)
class FitSize:
    """What a fit has to hold.

    Attributes
    ----------
    images
        How many there are, at most.
    patches
        Of one image.
    dimension
        Of a patch's feature.
    embedding_dimension
        Of an image's embedding.
    ratio
        The coreset's.
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
    """How a fit is cut into parts.

    Attributes
    ----------
    count
        Parts, at most.
    images
        Of one part, at most.
    kept_ratio
        Share of a part's patches that are kept for the merge.
    """

    count: int
    images: int
    kept_ratio: float

    def kept_rows(self, rows: int) -> int:
        """Return how many of a part's rows are kept."""
        return min(rows, math.ceil(rows * self.kept_ratio))


def whole_bytes(size: FitSize) -> int:
    """Return what a fit takes with all patches in memory."""
    feature = 4 * size.dimension
    # The bank's rows are held by the index, packed in it, and by the result.
    bank = size.bank_rows * (3 * feature + _INDEX_ROW)
    return _fixed(size) + size.rows * (feature + _ROW) + bank


def plan_parts(size: FitSize, room: int) -> Parts | None:
    """Return the parts in which a fit stays within `room` bytes, or None if there is no way.

    The rows kept of all parts and one part with its bookkeeping must fit; later those rows with the
    bookkeeping of their merge, the bank and its index. Keeping more rows comes first, unless it
    leaves a part less than eight images. Parts are of even size.
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
    """Return the least room with which `plan_parts` finds a way."""
    return max(_gathering(size, size.ratio, 1), _merging(size, size.ratio))


def largest_ratio(size: FitSize, room: int) -> float | None:
    """Return a round coreset ratio below the one of `size` that has room, or None if none has."""
    for exponent in range(-1, -6, -1):
        for digit in (5, 2, 1):
            ratio = digit * 10.0**exponent
            if ratio < size.ratio and least_bytes(replace(size, ratio=ratio)) <= room:
                return ratio
    return None


def _most_images(size: FitSize, kept_ratio: float, room: int) -> int:
    """Return how many images a part may have; 0 where even the merge has no room."""
    if _merging(size, kept_ratio) > room:
        return 0
    one_more = _gathering(size, kept_ratio, 2) - _gathering(size, kept_ratio, 1)
    spare = room - _gathering(size, kept_ratio, 1)
    return 0 if spare < 0 else min(size.images, 1 + spare // one_more)


def _gathering(size: FitSize, kept_ratio: float, images: int) -> int:
    """Return the bytes while parts of `images` images are gathered and reduced."""
    part = images * size.patches * (4 * size.dimension + _ROW)
    return _fixed(size) + _kept_rows(size, kept_ratio) * (4 * size.dimension + _ORIGIN) + part


def _merging(size: FitSize, kept_ratio: float) -> int:
    """Return the bytes while what was kept is merged and images are scored against the bank."""
    feature = 4 * size.dimension
    kept = _kept_rows(size, kept_ratio) * (feature + _ORIGIN + _ROW)
    return _fixed(size) + kept + size.bank_rows * (2 * feature + _INDEX_ROW)


def _kept_rows(size: FitSize, kept_ratio: float) -> int:
    # Rounded up in every part, of which there are at most as many as images.
    return min(size.rows, math.ceil(size.rows * kept_ratio) + size.images)


def _fixed(size: FitSize) -> int:
    return _BUFFERS + size.images * (_IMAGE + 2 * 4 * size.embedding_dimension)
