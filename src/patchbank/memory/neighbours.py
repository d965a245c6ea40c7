"""Exact nearest neighbours of patches in a memory bank."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from patchbank.memory._neighbour_kernels import Bank
    from patchbank.memory._projections import Projection

# Blocks of queries that meet a panel while it is in the cache.
_TILE_BLOCKS = 4


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest bank rows of each query, nearest first.

    Attributes
    ----------
    distances
        float32 (queries, k): Euclidean distances.
    indices
        int64 (queries, k): rows of the bank; of rows at the same distance the first.
    computed
        How often a pair of a query and a bank row was computed in full; a query's first ones count
        again where they are met again.
    """

    distances: npt.NDArray[np.float32]
    indices: npt.NDArray[np.int64]
    computed: int

    def __post_init__(self) -> None:
        if self.distances.ndim != 2 or self.indices.shape != self.distances.shape:
            raise ParameterError(
                f"neighbours: expected distances and indices of one shape (queries, k), "
                f"got {self.distances.shape} and {self.indices.shape}"
            )


class NeighbourSource(Protocol):
    """A memory bank that can be asked for nearest neighbours, wherever it is."""

    @property
    def groups(self) -> npt.NDArray[np.int64] | None:
        """The image each row comes from, where that is known."""

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

    Every pair's distance is bounded from below by that of short integer vectors, the coordinates on
    the bank's leading components, which one product gives for all pairs. Pairs whose bound does not
    exceed the nearest distance found are computed by direct difference in float64; the others are
    proved farther away. May be used by several threads at once.

    Parameters
    ----------
    bank
        float32 (m, d), finite.
    groups
        int64 (m,): the image each row comes from, for `nearest`'s `exclude_group`.

    Raises
    ------
    ParameterError
        For a bank that is not a finite float32 matrix, or groups of another length.
    """

    def __init__(
        self, bank: npt.NDArray[np.float32], groups: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.bank = checked_features(bank, "memory bank")
        if groups is not None and groups.shape != (len(bank),):
            raise ParameterError(
                f"memory bank: expected a group for each of the {len(bank)} rows, "
                f"got shape {groups.shape}"
            )
        self.groups = None if groups is None else np.ascontiguousarray(groups, dtype=np.int64)
        self._projection, self._packed = laid_out(self.bank, self.groups)

    def __len__(self) -> int:
        return len(self.bank)

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
        """Return the `k` nearest bank rows of every query, not counting an excluded group's.

        Parameters
        ----------
        queries
            float32 (q, d), finite.
        k
            Neighbours wanted of each query.
        exclude_group
            A group for all queries, or int64 (q,) for each, whose bank rows are left out.

        Raises
        ------
        ParameterError
            For queries that do not fit the bank, a bank without groups where one is excluded, and
            fewer than `k` rows to choose from.
        """
        queries = checked_queries(queries, self.bank.shape[1])
        excluded = self._checked_exclusion(len(queries), k, exclude_group)
        return search(queries, k, self._projection, self._packed, excluded)

    def nearest_of_two_groups(self, queries: npt.NDArray[np.float32]) -> Neighbours:
        """Return of every query the nearest bank row and the nearest of any *other* group.

        So the nearest row outside of any one group is known without another search. Where all rows
        are of one group, the second distance is infinite and its index -1.

        Parameters
        ----------
        queries
            float32 (q, d), finite.
        """
        queries = checked_queries(queries, self.bank.shape[1])
        if self.groups is None:
            raise ParameterError("memory bank: has no groups to tell apart")
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
                    f"exclude_group: expected one group or one for each of the {count} queries, "
                    f"got shape {excluded.shape}"
                )
            groups, sizes = np.unique(self.groups, return_counts=True)
            found = sizes[np.isin(groups, excluded)]
            available -= int(found.max()) if len(found) else 0
        if not 1 <= k <= available:
            raise ParameterError(
                f"{k} neighbours: must be 1 to {available}, the rows of the memory bank"
                + (" outside of the excluded group" if exclude_group is not None else "")
            )
        return excluded


def checked_queries(queries: npt.NDArray[np.float32], dimensions: int) -> FloatMatrix:
    """Return queries of a bank of so many dimensions, or raise `ParameterError`."""
    queries = checked_features(queries, "queries")
    if queries.shape[1] != dimensions:
        raise ParameterError(
            f"queries: have {queries.shape[1]} dimensions, the memory bank {dimensions}"
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
    """Return the `k` nearest rows of every query in a bank that is laid out."""
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

    for_tiles(len(queries), tile, make_worker)
    return Neighbours(np.sqrt(squared).astype(np.float32), indices, sum(computed))
