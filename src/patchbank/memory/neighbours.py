"""Exact nearest neighbours of patches in a memory bank."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.memory._bank_layout import laid_out
from patchbank.memory._matrices import FloatMatrix, checked_features
from patchbank.memory._parallel import TileWorker, for_tiles
from patchbank.memory._plain import PlainBank
from patchbank.memory._plain import search as plain_search
from patchbank.memory.threads import works_alone

if TYPE_CHECKING:
    from patchbank.memory._neighbour_kernels import Bank
    from patchbank.memory._projections import Projection

# Blocks of queries compared with a panel while it is in the cache.
_TILE_BLOCKS = 4
# What a thread that works alone searches in one call: each return to Python waits for its lock
# while other threads hold it.
_ALONE_TILES = 64


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest bank rows of each query, nearest first.

    Attributes
    ----------
    distances
        float32 (queries, k): Euclidean distances.
    indices
        int64 (queries, k): rows of the bank; in a tie, the first.
    computed
        The number of exact distance computations between a query and a bank row, repeated ones
        included.
    """

    distances: npt.NDArray[np.float32]
    indices: npt.NDArray[np.int64]
    computed: int

    def __post_init__(self) -> None:
        if self.distances.ndim != 2 or self.indices.shape != self.distances.shape:
            raise ParameterError(
                f"neighbours: distances and indices must have the same shape (queries, k), "
                f"got {self.distances.shape} and {self.indices.shape}"
            )


class NeighbourSource(Protocol):
    """A memory bank, wherever it is stored, that can be searched for nearest neighbours."""

    @property
    def groups(self) -> npt.NDArray[np.int64] | None:
        """The image that each row comes from, if known."""

    def __len__(self) -> int: ...

    def nearest(
        self,
        queries: npt.NDArray[np.float32],
        k: int = 1,
        *,
        exclude_group: int | npt.NDArray[np.int64] | None = None,
    ) -> Neighbours:
        """Return the `k` nearest bank rows of every query."""

    def rows(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return bank rows, float32 (n, d)."""


class NeighbourIndex:
    """A memory bank prepared for exact nearest-neighbour search.

    The distance of short integer vectors, coordinates on the bank's leading components, is a lower
    bound of each pair's distance, and one matrix product gives it for all pairs. Pairs whose bound
    does not exceed the nearest distance found are computed by direct difference in float64; the
    others are provably farther. Thread-safe.

    Parameters
    ----------
    bank
        float32 (m, d), finite.
    groups
        int64 (m,): the image that each row comes from, for `exclude_group` in `nearest`.

    Raises
    ------
    ParameterError
        If `groups` does not have one value per row.
    """

    def __init__(
        self, bank: npt.NDArray[np.float32], groups: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.bank = checked_features(bank, "memory bank")
        if groups is not None and groups.shape != (len(bank),):
            raise ParameterError(
                f"memory bank: expected one group per row ({len(bank)}), got shape {groups.shape}"
            )
        self.groups = None if groups is None else np.ascontiguousarray(groups, dtype=np.int64)
        self._projection, self._packed = laid_out(self.bank, self.groups)

    def __len__(self) -> int:
        return len(self.bank)

    def with_groups(self, groups: npt.NDArray[np.int64]) -> NeighbourIndex:
        """Return an index of the same bank with other groups, int64 (m,); nothing is copied."""
        index = copy.copy(self)
        index.groups = np.ascontiguousarray(groups, dtype=np.int64)
        index._packed = self._packed._replace(groups=index.groups)
        return index

    def rows(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return bank rows, float32 (n, d)."""
        return self.bank[indices]

    def nearest(
        self,
        queries: npt.NDArray[np.float32],
        k: int = 1,
        *,
        exclude_group: int | npt.NDArray[np.int64] | None = None,
    ) -> Neighbours:
        """Return the `k` nearest bank rows of every query, without those of an excluded group.

        Parameters
        ----------
        queries
            float32 (q, d), finite.
        k
            Number of neighbours per query.
        exclude_group
            The group whose bank rows are ignored: one for all queries, or int64 (q,).
        """
        queries = checked_queries(queries, self.bank.shape[1])
        excluded = self._checked_exclusion(len(queries), k, exclude_group)
        return search(queries, k, self._projection, self._packed, excluded)

    def nearest_of_two_groups(self, queries: npt.NDArray[np.float32]) -> Neighbours:
        """Return each query's nearest bank row and the nearest row of any *other* group.

        This gives the nearest row outside any group without another search. If all rows belong to
        one group, the second distance is infinite and its index -1.

        Parameters
        ----------
        queries
            float32 (q, d), finite.
        """
        queries = checked_queries(queries, self.bank.shape[1])
        if self.groups is None:
            raise ParameterError("memory bank: has no groups")
        return search(queries, 2, self._projection, self._packed, two_groups=True)

    def _checked_exclusion(
        self, count: int, k: int, exclude_group: int | npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.int64]:
        available = len(self.bank)
        excluded = np.empty(0, np.int64)
        if exclude_group is not None:
            if self.groups is None:
                raise ParameterError("memory bank: has no groups, so none can be excluded")
            excluded = np.asarray(exclude_group, dtype=np.int64)
            excluded = np.full(count, excluded) if excluded.ndim == 0 else excluded.copy()
            if excluded.shape != (count,):
                raise ParameterError(
                    f"exclude_group: expected a single group or one per query ({count}), "
                    f"got shape {excluded.shape}"
                )
            groups, sizes = np.unique(self.groups, return_counts=True)
            found = sizes[np.isin(groups, excluded)]
            available -= int(found.max()) if len(found) else 0
        if not 1 <= k <= available:
            raise ParameterError(
                f"{k} neighbours: must be 1 to {available}, the rows of the memory bank"
                + (" outside the excluded group" if exclude_group is not None else "")
            )
        return excluded


def checked_queries(queries: npt.NDArray[np.float32], dimensions: int) -> FloatMatrix:
    """Return the queries if they have the bank's dimensions, or raise `ParameterError`."""
    queries = checked_features(queries, "queries")
    if queries.shape[1] != dimensions:
        raise ParameterError(
            f"queries: have {queries.shape[1]} dimensions, but the memory bank has {dimensions}"
        )
    return queries


def search(
    queries: FloatMatrix,
    k: int,
    projection: Projection | None,
    bank: Bank | PlainBank,
    excluded: npt.NDArray[np.int64] | None = None,
    *,
    two_groups: bool = False,
) -> Neighbours:
    """Return the `k` nearest rows of every query in a bank prepared by `laid_out`."""
    if excluded is None:
        excluded = np.empty(0, np.int64)
    if isinstance(bank, PlainBank):
        found = plain_search(queries, k, bank, excluded, two_groups=two_groups)
        return Neighbours(np.sqrt(found[0]).astype(np.float32), *found[1:])
    from patchbank.memory import _neighbour_kernels as kernels
    from patchbank.memory import _products as products

    assert projection is not None
    squared = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), np.int64)
    tile = _TILE_BLOCKS * products.BLOCK
    computed = []

    def make_worker() -> TileWorker:
        buffers = kernels.buffers_for(tile, projection, bank)

        def work(start: int, stop: int) -> None:
            computed.append(
                kernels.search(
                    queries,
                    start,
                    stop,
                    projection,
                    bank,
                    excluded,
                    two_groups,
                    buffers,
                    squared,
                    indices,
                )
            )

        return work

    for_tiles(len(queries), tile * _ALONE_TILES if works_alone() else tile, make_worker)
    return Neighbours(np.sqrt(squared).astype(np.float32), indices, sum(computed))
