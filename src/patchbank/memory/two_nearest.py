"""The two nearest rows of reference patches, from two images, kept up to date as rows change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.memory._parallel import for_tiles
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.threads import one_blas_thread
from patchbank.progress import Progress, silent

# Patches searched between progress reports.
_AT_ONCE = 8192
# Patches compared with new rows at once.
_COMPARED = 2048
# Where more than this share of the rows are new, all patches are searched again.
_MANY_NEW = 0.25

# Of the sum of two squared lengths, by which an expanded squared distance may be wrong, generously:
# sums of a few thousand float32 products are wrong by 1e-4 of it at worst.
_ROUNDING = 5e-4

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TwoNearest:
    """For each patch the nearest row of a bank, and the nearest of any other image.

    Attributes
    ----------
    bank
        int64 (m,), ascending: the ordinals of the bank's rows.
    distances
        float32 (N, 2).
    ordinals
        int64 (N, 2): those of the rows; -1 for a missing row, at an infinite distance.
    """

    bank: Integers
    distances: Floats
    ordinals: Integers

    @classmethod
    def searched(
        cls, index: NeighbourIndex, bank: Integers, patches: Floats, progress: Progress = silent
    ) -> TwoNearest:
        """Search a bank whose rows have the ordinals `bank`, and their images as groups."""
        distances = np.empty((len(patches), 2), np.float32)
        ordinals = np.empty((len(patches), 2), np.int64)
        for start in range(0, len(patches), _AT_ONCE):
            progress("calibrate", start, len(patches))
            part = slice(start, start + _AT_ONCE)
            found = index.nearest_of_two_groups(patches[part])
            distances[part] = found.distances
            ordinals[part] = np.where(found.indices >= 0, bank[found.indices], -1)
        progress("calibrate", len(patches), len(patches))
        return cls(bank, distances, ordinals)

    def of(self, chosen: npt.NDArray[np.bool_]) -> TwoNearest:
        """Return the rows of some of the patches."""
        return TwoNearest(self.bank, self.distances[chosen], self.ordinals[chosen])

    def updated(
        self,
        index: Callable[[], NeighbourIndex],
        bank: Integers,
        features: Floats,
        groups: Integers,
        patches: Floats,
        progress: Progress = silent,
    ) -> TwoNearest:
        """Return the state for other rows, the same as `searched` gives.

        Only patches that had a row that is gone are searched again; the others are compared with
        the new rows.

        Parameters
        ----------
        index
            Gives the index of the new bank; only called where patches are searched again.
        bank, features, groups
            The ordinals, features and images of its rows.
        """
        is_new = ~np.isin(bank, self.bank)
        if np.count_nonzero(is_new) > _MANY_NEW * len(bank):
            return TwoNearest.searched(index(), bank, patches, progress)
        gone = self.bank[~np.isin(self.bank, bank)]
        distances, ordinals = self.distances.copy(), self.ordinals.copy()
        lost = np.isin(ordinals, gone).any(axis=1)
        if is_new.any():
            rows = np.ascontiguousarray(features[is_new])
            # Patches that no new row is near keep their rows.
            reached = np.flatnonzero(~lost & _may_be_within(patches, rows, distances[:, 1]))
            came = NeighbourIndex(rows, groups[is_new])
            near = np.ascontiguousarray(patches[reached])
            found = TwoNearest.searched(came, bank[is_new], near, progress)
            distances[reached], ordinals[reached] = _merged(
                np.hstack([distances[reached], found.distances]),
                np.hstack([ordinals[reached], found.ordinals]),
                bank,
                groups,
            )
        if lost.any():
            again = np.ascontiguousarray(patches[lost])
            found = TwoNearest.searched(index(), bank, again, progress)
            distances[lost], ordinals[lost] = found.distances, found.ordinals
        return TwoNearest(bank, distances, ordinals)

    def rows(self, bank: Integers | None = None) -> Integers:
        """Return the rows as their places in the bank, int64 (N, 2); -1 for a missing one."""
        bank = self.bank if bank is None else bank
        # A table is faster than a search; its last place stands for a missing row.
        last = max(int(bank[-1]), int(self.ordinals.max(initial=-1)))
        places = np.full(last + 2, -1)
        places[bank] = np.arange(len(bank))
        return places[self.ordinals]


def _may_be_within(patches: Floats, rows: Floats, limits: Floats) -> npt.NDArray[np.bool_]:
    """Return which patches may have a row within their limit: all that have, and few others."""
    found = np.empty(len(patches), np.bool_)
    lengths = np.einsum("md,md->m", rows, rows)

    def compare(start: int, stop: int) -> None:
        part = slice(start, stop)
        own = np.einsum("nd,nd->n", patches[part], patches[part])
        squares = own[:, np.newaxis] + lengths
        # |x|^2 + |r|^2 - 2xr cancels; far more than its rounding is allowed for.
        least = (squares * np.float32(1 - _ROUNDING) - 2 * (patches[part] @ rows.T)).min(axis=1)
        found[part] = least <= np.square(limits[part])

    # Threads of ours share busy cores better than those of the BLAS.
    with one_blas_thread():
        for_tiles(len(patches), _COMPARED, lambda: compare)
    return found


def _merged(
    distances: Floats, ordinals: Integers, bank: Integers, groups: Integers
) -> tuple[Floats, Integers]:
    """Return the two nearest of four, from two groups; of equal distances, the first row's."""
    by_ordinal = np.argsort(ordinals, axis=1, kind="stable")
    distances = np.take_along_axis(distances, by_ordinal, axis=1)
    ordinals = np.take_along_axis(ordinals, by_ordinal, axis=1)
    order = np.argsort(distances, axis=1, kind="stable")
    distances = np.take_along_axis(distances, order, axis=1)
    ordinals = np.take_along_axis(ordinals, order, axis=1)
    owners = groups[np.searchsorted(bank, np.maximum(ordinals, bank[0]))]
    # A group of its own where there is no row.
    owners = np.where(ordinals < 0, np.iinfo(np.int64).min, owners)
    is_other = owners != owners[:, :1]
    second = np.where(is_other.any(axis=1), is_other.argmax(axis=1), -1)[:, np.newaxis]
    none = second < 0
    chosen = np.maximum(second, 0)
    return (
        np.hstack(
            [
                distances[:, :1],
                np.where(none, np.float32(np.inf), np.take_along_axis(distances, chosen, axis=1)),
            ]
        ),
        np.hstack(
            [ordinals[:, :1], np.where(none, -1, np.take_along_axis(ordinals, chosen, axis=1))]
        ),
    )
