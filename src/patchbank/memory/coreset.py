"""Exact greedy k-center: choose patches that represent all patches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchbank.compiler import compiles
from patchbank.errors import ParameterError
from patchbank.memory._matrices import (
    FloatMatrix,
    checked_features,
    power_of_two_scale,
    typical_row,
)
from patchbank.memory._parallel import TileWorker, for_tiles
from patchbank.memory._plain import PlainTraversal
from patchbank.progress import Progress, silent

# Rows of a tile: packed, with 152 to 1,536 dimensions, they fit into a core's L2 cache.
_TILE_ROWS = 192
# Rows of the pool in which choices are made ahead of the rest.
_POOL = 1024
# Only rows whose distance is at least this share of the current radius are kept up to date.
_LEVEL = 0.9
# Centres packed at once when other rows are brought up to date.
_CENTRES_AT_ONCE = 2048
# Rows to cover from which on the search is quicker than computing all distances.
_MANY_ROWS = 5_000


@dataclass(frozen=True, eq=False)
class Coreset:
    """A greedy k-center selection.

    Attributes
    ----------
    indices
        int64 (count,): the chosen rows, in order of choice.
    radii
        float32 (count,): each choice's distance to the earlier choices, which is the covering
        radius before it; never increasing. The first is infinite.
    covering_radius
        The largest distance of any row to its nearest chosen row.
    """

    indices: npt.NDArray[np.int64]
    radii: npt.NDArray[np.float32]
    covering_radius: float

    def __post_init__(self) -> None:
        if self.indices.ndim != 1 or self.radii.shape != self.indices.shape:
            raise ParameterError(
                f"coreset: indices and radii must have the same length, "
                f"got shapes {self.indices.shape} and {self.radii.shape}"
            )

    def __len__(self) -> int:
        return len(self.indices)


def coreset_size(count: int, ratio: float) -> int:
    """Return how many of `count` patches a coreset of `ratio` keeps: rounded, at least one."""
    if not 0.0 < ratio <= 1.0:
        raise ParameterError(
            f"coreset ratio {ratio}: must be above 0 and at most 1; 0.1 keeps one patch in ten"
        )
    if count < 1:
        raise ParameterError("coreset: no patches to choose from")
    return min(count, max(1, round(count * ratio)))


def greedy_k_center(
    features: npt.NDArray[np.float32], count: int, *, seed: int = 0, progress: Progress = silent
) -> Coreset:
    """Choose `count` rows, each the farthest from the rows chosen before (Gonzalez, 1985).

    The choices equal those of the textbook loop in float64, up to rounding; ties go to the first
    row. The first choice is drawn with `seed`. If fewer than `count` rows are distinct, the coreset
    contains each distinct row once and is smaller.

    Parameters
    ----------
    features
        float32 (n, d), finite.
    count
        Rows to choose, 1 to n.
    seed
        Seed of the first choice.
    progress
        Called as choices are made; may raise `KeyboardInterrupt`.

    Raises
    ------
    ParameterError
        If `count` is out of range.

    References
    ----------
    T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer
    Science 38, 1985. K. Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR
    2022, algorithm 1.
    """
    features = checked_features(features)
    if not 1 <= count <= len(features):
        raise ParameterError(
            f"coreset of {count} patches: must be 1 to {len(features)}, the number of patches"
        )
    traversal = _Search if compiles() else PlainTraversal
    search = traversal(features, count)
    search.begin_with(int(np.random.default_rng(seed).integers(len(features))))
    while True:
        progress("coreset", len(search), count)
        squared_radius = search.surface()
        if len(search) == count or squared_radius == 0.0:
            break
        search.choose()
    progress("coreset", count, count)
    return Coreset(search.indices, search.radii, math.sqrt(squared_radius))


class Cover:
    """Adds rows to those of a bank until all are within a radius, the farthest first.

    Many rows are searched as a coreset's are: computing every distance took an hour where millions
    of patches lose thousands of rows. The choices are the same.
    """

    def __init__(self, features: FloatMatrix) -> None:
        self._features = features
        self._search: _Search | None = None

    @staticmethod
    def is_large(count: int) -> bool:
        """Return whether rows are so many that all threads work on them together."""
        return count >= _MANY_ROWS and compiles()

    def __call__(
        self,
        rows: npt.NDArray[np.int64],
        minima: npt.NDArray[np.float64],
        squared_radius: float,
        progress: Progress = silent,
    ) -> npt.NDArray[np.int64]:
        """Return the rows that are added, in order of choice.

        Parameters
        ----------
        rows
            int64 (n,), ascending: those to cover and to choose from.
        minima
            float64 (n,): their squared distances to the bank. May be changed.
        progress
            Called as many rows are added; may raise `KeyboardInterrupt`.
        """
        if not self.is_large(len(rows)):
            added = np.empty(len(rows), np.int64)
            count = cover_kernels().cover(self._features, rows, minima, squared_radius, added)
            return added[:count]
        if self._search is None:
            self._search = _Search(self._features, len(self._features))
        self._search.begin_near(rows, minima)
        while self._search.surface() > squared_radius:
            progress("put back", len(self._search), len(rows))
            self._search.choose(squared_radius)
        progress("put back", len(rows), len(rows))
        return self._search.indices


def cover_kernels() -> Any:
    """Return the module with `cover` and `lower_directly`: compiled, or in NumPy."""
    if compiles():
        from patchbank.memory import _coreset_kernels

        return _coreset_kernels
    from patchbank.memory import _plain

    return _plain


class _Search:
    """The state of a farthest-first traversal.

    Every row has an upper bound of its squared distance to the chosen rows: the squared distance to
    the first ``seen[row]`` of them. Rows at or above `level` are *active* and up to date. The
    others cannot be chosen before the radius falls to `level`; they are then brought up to date by
    a large matrix product. This computes only a third of the distances.
    """

    def __init__(self, features: FloatMatrix, count: int) -> None:
        from patchbank.memory import _coreset_kernels, _products

        self._kernels, self._products = _coreset_kernels, _products
        self._features = features
        n = len(features)
        centre = typical_row(features)
        self._shrink = _products.shrink_for(features.shape[1] + 1)
        self._minima = np.empty(n)
        self._measure_from(centre)
        self._scale = np.float32(power_of_two_scale(float(self._minima.max())))
        self._origin = centre * self._scale
        self._square = float(self._scale) ** 2

        self._chosen = np.empty(count, np.int64)
        self._squared_radii = np.empty(count)
        self._seen = np.empty(n, np.int64)

    def begin_with(self, first: int) -> None:
        """Choose a row."""
        self._measure_from(self._features[first])
        self._chosen[0], self._squared_radii[0] = first, np.inf
        self._restart(1)

    def begin_near(self, rows: npt.NDArray[np.int64], minima: npt.NDArray[np.float64]) -> None:
        """Begin with rows at squared distances from others; the rest is not chosen from."""
        self._minima[:] = 0.0
        self._minima[rows] = minima
        self._restart(0)

    def _restart(self, length: int) -> None:
        self._length = length
        self._seen[:] = length
        self._level = np.inf
        self._active = np.empty(0, np.int64)

    def __len__(self) -> int:
        return self._length

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        return self._chosen[: self._length].copy()

    @property
    def radii(self) -> npt.NDArray[np.float32]:
        return np.sqrt(self._squared_radii[: self._length]).astype(np.float32)

    def surface(self) -> float:
        """Make the farthest row active and return its squared distance, the exact radius."""
        while True:
            if len(self._active):
                minima = self._minima[self._active]
                live = minima >= self._level
                if 4 * np.count_nonzero(live) < 3 * len(live):
                    # `_seen` records how many choices the inactive rows have seen.
                    self._active = self._active[live]
                largest = float(minima.max())
                if largest >= self._level:
                    return largest
            upper_bound = float(self._minima.max())
            if upper_bound == 0.0:
                return 0.0
            self._level = _LEVEL**2 * upper_bound
            self._active = np.flatnonzero(self._minima >= self._level)
            self._catch_up(self._active)

    def choose(self, squared_radius: float = 0.0) -> None:
        """Make all choices beyond a radius that are certain from the farthest rows alone."""
        minima = self._minima[self._active]
        active = self._active[minima >= self._level]
        minima = minima[minima >= self._level]
        floor, floor_row = self._level, len(self._minima)
        if len(active) > _POOL:
            floor = float(np.partition(minima, len(minima) - _POOL)[len(minima) - _POOL])
            above = active[minima > floor]
            equal = active[minima == floor]
            room = _POOL - len(above)
            pool = np.sort(np.concatenate([above, equal[:room]]))
            if len(equal) > room:
                floor_row = int(equal[room])
        else:
            pool = active
        if squared_radius >= floor:
            floor, floor_row = math.nextafter(squared_radius, math.inf), len(self._minima)
        before = self._length
        self._choose_in_pool(pool, floor, floor_row)
        # The pool's rows have seen the new choices.
        self._seen[pool] = self._length
        assert before < self._length, "the farthest row of all is always a certain choice"
        self._catch_up(self._active)

    def _choose_in_pool(self, pool: npt.NDArray[np.int64], floor: float, floor_row: int) -> None:
        kernels, products = self._kernels, self._products
        block, panel = products.BLOCK, products.PANEL
        depth = self._features.shape[1] + 1
        n_blocks, n_panels = -(-len(pool) // block), -(-len(pool) // panel)
        blocks = np.empty((n_blocks, depth, block), np.float32)
        norms = np.empty(n_blocks * block)
        bounds = np.empty((n_blocks * block, n_panels * panel), np.float32)
        products.pack_blocks(
            self._features, pool, 0, len(pool), self._origin, self._scale, blocks, norms
        )
        panels = self._packed(pool)

        def make_worker() -> TileWorker:
            return lambda start, stop: kernels.mutual_bounds(
                blocks, panels, start, stop, n_panels, bounds
            )

        for_tiles(n_blocks, 8, make_worker)
        self._length += kernels.choose_in_pool(
            self._features,
            pool,
            bounds,
            norms,
            self._square,
            self._shrink,
            floor,
            floor_row,
            len(self._chosen) - self._length,
            self._minima,
            np.empty(len(pool), np.float32),
            self._chosen[self._length :],
            self._squared_radii[self._length :],
        )

    def _catch_up(self, rows: npt.NDArray[np.int64]) -> None:
        """Bring the minima of `rows` up to date with all choices."""
        seen = self._seen[rows]
        order = np.argsort(seen, kind="stable")
        starts = np.flatnonzero(np.diff(seen[order], prepend=-1))
        for group in np.split(order, starts[1:]):
            behind = int(seen[group[0]]) if len(group) else self._length
            for start in range(behind, self._length, _CENTRES_AT_ONCE):
                stop = min(start + _CENTRES_AT_ONCE, self._length)
                self._lower(rows[group], self._chosen[start:stop])
        self._seen[rows] = self._length

    def _lower(self, rows: npt.NDArray[np.int64], centres: npt.NDArray[np.int64]) -> None:
        kernels, products = self._kernels, self._products
        depth = self._features.shape[1] + 1
        panels = self._packed(centres)

        def make_worker() -> TileWorker:
            n_blocks = _TILE_ROWS // products.BLOCK
            blocks = np.empty((n_blocks, depth, products.BLOCK), np.float32)
            norms = np.empty(_TILE_ROWS)
            limits = np.empty(_TILE_ROWS, np.float32)
            masks = np.empty(products.BLOCK, np.int64)

            def work(start: int, stop: int) -> None:
                kernels.lower_minima(
                    self._features,
                    rows,
                    start,
                    stop,
                    self._origin,
                    self._scale,
                    self._shrink,
                    centres,
                    panels,
                    self._minima,
                    blocks,
                    norms,
                    limits,
                    masks,
                )

            return work

        for_tiles(len(rows), _TILE_ROWS, make_worker)

    def _packed(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        products = self._products
        shape = (-(-len(rows) // products.PANEL), self._features.shape[1] + 1, products.PANEL)
        panels = np.empty(shape, np.float32)
        products.pack_panels(self._features, rows, self._origin, self._scale, self._shrink, panels)
        return panels

    def _measure_from(self, point: npt.NDArray[np.float32]) -> None:
        products = self._products

        def make_worker() -> TileWorker:
            return lambda start, stop: products.squared_distances_to(
                self._features, start, stop, point, self._minima
            )

        for_tiles(len(self._features), 8192, make_worker)
