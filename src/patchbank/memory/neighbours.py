"""Exact nearest neighbours of patches in a memory bank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.memory._matrices import (
    FloatMatrix,
    checked_features,
    power_of_two_scale,
    typical_row,
)
from patchbank.memory._parallel import TileWorker, for_tiles

# Leading components the lower bound is made of; the rest enters by its length alone. Fewer cost
# less and leave more pairs to compute in full. 40 of 152 leave 0.04 to 0.4 % on good solar cells.
_COMPONENTS = 40
# Bank rows that the leading components are estimated from.
_SAMPLE = 4096


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
        How many of the pairs of a query and a bank row were computed in full.
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


class NeighbourIndex:
    """A memory bank prepared for exact nearest-neighbour search.

    Every pair's distance is bounded from below by that of its projections on the bank's leading
    components, which one matrix product gives for all pairs. Pairs whose bound does not exceed the
    nearest distance found are computed by direct difference in float64; the others are proved
    farther away. May be used by several threads at once.

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
        from patchbank.memory import _neighbour_kernels, _products

        self._kernels, self._products = _neighbour_kernels, _products
        self.bank = checked_features(bank, "memory bank")
        if groups is not None and groups.shape != (len(bank),):
            raise ParameterError(
                f"memory bank: expected a group for each of the {len(bank)} rows, "
                f"got shape {groups.shape}"
            )
        self.groups = None if groups is None else np.ascontiguousarray(groups, dtype=np.int64)
        self._origin = typical_row(self.bank).astype(np.float64)
        self._basis = _leading_components(self.bank, self._origin)
        self._shrink = _products.shrink_for(len(self._basis) + 2)
        self._scale = 1.0
        self._pack()

    def _pack(self) -> None:
        kernels, products = self._kernels, self._products
        squared_norms = np.empty(len(self.bank))
        products.squared_distances_to(self.bank, 0, len(self.bank), self._origin, squared_norms)
        self._scale = power_of_two_scale(float(squared_norms.max()))
        n_panels = -(-len(self.bank) // products.PANEL)
        self._panels = np.empty((n_panels, len(self._basis) + 2, products.PANEL), np.float32)

        def make_worker() -> TileWorker:
            centred = np.empty(self.bank.shape[1])
            projected = np.empty(len(self._basis) + 1)
            return lambda start, stop: kernels.pack_projected_panels(
                self.bank,
                start,
                stop,
                self._origin,
                self._scale,
                self._shrink,
                self._basis,
                self._panels,
                centred,
                projected,
            )

        for_tiles(n_panels, 32, make_worker)

    def __len__(self) -> int:
        return len(self.bank)

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
        queries = self._checked_queries(queries)
        excluded = self._checked_exclusion(len(queries), k, exclude_group)
        return self._search(queries, k, excluded, two_groups=False)

    def nearest_of_two_groups(self, queries: npt.NDArray[np.float32]) -> Neighbours:
        """Return of every query the nearest bank row and the nearest of any *other* group.

        So the nearest row outside of any one group is known without another search. Where all rows
        are of one group, the second distance is infinite and its index -1.

        Parameters
        ----------
        queries
            float32 (q, d), finite.
        """
        queries = self._checked_queries(queries)
        if self.groups is None:
            raise ParameterError("memory bank: has no groups to tell apart")
        return self._search(queries, 2, np.empty(0, np.int64), two_groups=True)

    def _checked_queries(self, queries: npt.NDArray[np.float32]) -> FloatMatrix:
        queries = checked_features(queries, "queries")
        if queries.shape[1] != self.bank.shape[1]:
            raise ParameterError(
                f"queries: have {queries.shape[1]} dimensions, the memory bank {self.bank.shape[1]}"
            )
        return queries

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

    def _search(
        self,
        queries: FloatMatrix,
        k: int,
        excluded: npt.NDArray[np.int64],
        *,
        two_groups: bool,
    ) -> Neighbours:
        kernels, products = self._kernels, self._products
        squared = np.empty((len(queries), k))
        indices = np.empty((len(queries), k), np.int64)
        groups = np.empty(0, np.int64) if self.groups is None else self.groups
        n_panels, depth, _ = self._panels.shape
        computed = []

        def make_worker() -> TileWorker:
            block = np.empty((1, depth, products.BLOCK), np.float32)
            bounds = np.empty((products.BLOCK, n_panels * products.PANEL), np.float32)
            least = np.empty(n_panels, np.float32)
            centred = np.empty(queries.shape[1])
            projected = np.empty(depth - 1)

            def work(start: int, stop: int) -> None:
                computed.append(
                    kernels.search_block(
                        queries,
                        start,
                        stop,
                        self.bank,
                        self._origin,
                        self._scale,
                        self._shrink,
                        self._basis,
                        self._panels,
                        groups,
                        excluded,
                        two_groups,
                        block,
                        bounds,
                        least,
                        centred,
                        projected,
                        squared,
                        indices,
                    )
                )

            return work

        for_tiles(len(queries), products.BLOCK, make_worker)
        return Neighbours(np.sqrt(squared).astype(np.float32), indices, sum(computed))


def _leading_components(
    bank: FloatMatrix, origin: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return orthonormal rows that span about the bank's leading principal components.

    Any orthonormal rows give a true bound; these give a tight one. Found by subspace iteration on a
    sample of rows, which is quick in any number of dimensions.
    """
    sample = bank[:: max(1, len(bank) // _SAMPLE)] - origin
    # Squares of the extremes of float32 stay within float64, products of four need not.
    sample /= np.abs(sample).max() or 1.0
    count = min(_COMPONENTS, bank.shape[1])
    start = np.random.default_rng(0).standard_normal((bank.shape[1], count))
    basis = np.linalg.qr(start).Q
    for _ in range(6):
        basis = np.linalg.qr(sample.T @ (sample @ basis) + 1e-12 * start).Q
    return np.ascontiguousarray(basis.T)
