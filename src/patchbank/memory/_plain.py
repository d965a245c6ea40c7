"""Neighbours, coresets and covers in NumPy, for machines that cannot compile kernels.

The results equal those of the compiled kernels up to float64 rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from patchbank.memory._matrices import FloatMatrix, typical_row

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Pairs of a query and a row held in memory at once, and components of pairs computed at once.
_PAIRS = 2_000_000
_COMPONENTS = 2_000_000


class PlainBank(NamedTuple):
    """A memory bank prepared for searching with NumPy.

    Attributes
    ----------
    features
        float32 (m, d).
    groups
        int64 (m,), or empty.
    present
        bool (m,): false for removed rows.
    """

    features: FloatMatrix
    groups: Integers
    present: npt.NDArray[np.bool_]


def squared_distances(
    left: FloatMatrix, lefts: Integers, right: FloatMatrix, rights: Integers
) -> Floats:
    """Return the squared distances of pairs of rows, by direct difference in float64."""
    squared = np.empty(len(lefts))
    step = max(1, _COMPONENTS // left.shape[1])
    for start in range(0, len(lefts), step):
        part = slice(start, start + step)
        difference = left[lefts[part]].astype(np.float64) - right[rights[part]]
        np.einsum("nd,nd->n", difference, difference, out=squared[part])
    return squared


def search(
    queries: FloatMatrix, k: int, bank: PlainBank, excluded: Integers, *, two_groups: bool = False
) -> tuple[Floats, Integers, int]:
    """Return the nearest rows' squared distances and indices, and the number of computed pairs."""
    if not two_groups:
        return _nearest(queries, k, bank, excluded)
    first, first_rows, computed = _nearest(queries, 1, bank, excluded)
    second, second_rows, more = _nearest(queries, 1, bank, bank.groups[first_rows[:, 0]])
    return np.hstack([first, second]), np.hstack([first_rows, second_rows]), computed + more


def _nearest(
    queries: FloatMatrix, k: int, bank: PlainBank, excluded: Integers
) -> tuple[Floats, Integers, int]:
    """Return the `k` nearest rows of each query, ties in row order.

    Missing neighbours have an infinite distance and row -1.
    """
    present = np.flatnonzero(bank.present)
    origin = typical_row(bank.features).astype(np.float64)
    centred = bank.features[present] - origin
    squared = np.full((len(queries), k), np.inf)
    indices = np.full((len(queries), k), -1, np.int64)
    computed = 0
    step = max(1, _PAIRS // len(present))
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        lower, upper = _bounds(part - origin, centred)
        if len(excluded):
            is_excluded = excluded[start : start + step, None] == bank.groups[present]
            lower[is_excluded] = upper[is_excluded] = np.inf
        kth = min(k, len(present)) - 1
        limits = np.partition(upper, kth, axis=1)[:, kth]
        query, row = np.nonzero((lower <= limits[:, None]) & np.isfinite(lower))
        row = present[row]
        distances = squared_distances(part, query, bank.features, row)
        computed += len(query)
        order = np.lexsort((row, distances, query))
        rank = np.arange(len(query)) - np.searchsorted(query, query)
        kept = order[rank < k]
        target = start + query[kept], rank[rank < k]
        squared[target], indices[target] = distances[kept], row[kept]
    return squared, indices, computed


def _bounds(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Return lower and upper bounds of all squared distances, each (a, b).

    The expansion ``|x|^2 + |y|^2 - 2xy`` only selects the pairs to compute directly.
    """
    norms = np.einsum("nd,nd->n", left, left)[:, None] + np.einsum("nd,nd->n", right, right)
    expanded = norms - 2.0 * (left @ right.T)
    # In any order, a sum of d products has an error of at most d roundings of their magnitudes.
    norms *= (4 * left.shape[1] + 32) * 2.0**-53
    return expanded - norms, expanded + norms


class PlainTraversal:
    """The textbook farthest-first traversal: each choice lowers all distances."""

    def __init__(self, features: FloatMatrix, count: int) -> None:
        self._features = features
        self._minima = np.full(len(features), np.inf)

    def begin_with(self, first: int) -> None:
        """Choose a row."""
        self._chosen = [first]
        self._squared_radii = [np.inf]
        lower_directly(
            self._features, 0, len(self._features), self._features[[first]], self._minima
        )

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def indices(self) -> Integers:
        """The chosen rows."""
        return np.array(self._chosen, np.int64)

    @property
    def radii(self) -> npt.NDArray[np.float32]:
        """Each choice's distance to the earlier choices."""
        return np.sqrt(self._squared_radii).astype(np.float32)

    def surface(self) -> float:
        """Return the largest squared distance of a row to the chosen rows."""
        return float(self._minima.max())

    def choose(self) -> None:
        """Choose the farthest row, the first in a tie."""
        row = int(self._minima.argmax())
        self._chosen.append(row)
        self._squared_radii.append(self._minima[row])
        self._lower_by(row)

    def _lower_by(self, row: int) -> None:
        features = self._features
        lower_directly(features, 0, len(features), features[[row]], self._minima)


def cover(
    features: FloatMatrix, rows: Integers, minima: Floats, squared_radius: float, added: Integers
) -> int:
    """Add the farthest of `rows` until none is farther than the radius; return how many.

    `minima` (rows,) are the squared distances to the existing rows.
    """
    count = 0
    members = np.ascontiguousarray(features[rows])
    while minima.max() > squared_radius:
        worst = int(minima.argmax())
        added[count] = rows[worst]
        count += 1
        lower_directly(members, 0, len(members), members[[worst]], minima)
    return count


def lower_directly(
    features: FloatMatrix, start: int, stop: int, centres: FloatMatrix, minima: Floats
) -> None:
    """Lower the squared distances ``minima[start:stop]`` by those to `centres`, (c, d)."""
    step = max(1, _COMPONENTS // features.shape[1])
    for centre in centres.astype(np.float64):
        for begin in range(start, stop, step):
            part = slice(begin, min(begin + step, stop))
            difference = features[part] - centre
            squared = np.einsum("nd,nd->n", difference, difference)
            np.minimum(minima[part], squared, out=minima[part])
