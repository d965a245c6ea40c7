"""Coresets and calibration for more patches than fit in memory: in parts, then merged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.memory.coreset import Coreset, Cover, greedy_k_center
from patchbank.memory.groups import Groups
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.put_back import lower_by
from patchbank.memory.without_groups import search_without_groups
from patchbank.progress import Progress, silent

# Rows searched between progress reports.
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, eq=False)
class MergedCoreset:
    """A coreset of the patches kept from all parts.

    Attributes
    ----------
    candidates
        float32 (kept, d): the rows kept from all parts.
    images, positions
        int64 (kept,): each row's image, and its position in the image.
    coreset
        The selection among the candidates.
    part_radius
        The largest covering radius of a part: no patch is farther from the candidates.
    """

    candidates: npt.NDArray[np.float32]
    images: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    coreset: Coreset
    part_radius: float

    @property
    def radius_bound(self) -> float:
        """An upper bound of any patch's distance to the bank (via the nearest candidate)."""
        return self.part_radius + self.coreset.covering_radius


class PartCoresets:
    """Coresets of the parts of all patches, to be merged into one coreset.

    These are composable coresets: every patch is within its part's covering radius of a kept row,
    and every kept row within the merged coreset's covering radius of a bank row. The sum bounds the
    distance of any patch to the bank.

    Parameters
    ----------
    capacity
        The maximum number of rows kept.
    dimension
        Dimensions of a row.
    seed
        Seed of each coreset's first choice.

    References
    ----------
    P. Indyk, S. Mahabadi, M. Mahdian, V. Mirrokni, "Composable core-sets for diversity and coverage
    maximization", PODS 2014. G. Malkomes et al., "Fast distributed k-center clustering with
    outliers on massive data", NeurIPS 2015.
    """

    def __init__(self, capacity: int, dimension: int, *, seed: int = 0) -> None:
        # Allocated once, because growing would hold two copies.
        self._candidates = np.empty((capacity, dimension), np.float32)
        self._images = np.empty(capacity, np.int64)
        self._positions = np.empty(capacity, np.int64)
        self._length = 0
        self._seed = seed
        self._part_radius = 0.0
        self.parts = 0

    def __len__(self) -> int:
        return self._length

    def add(
        self,
        patches: npt.NDArray[np.float32],
        images: npt.NDArray[np.int64],
        count: int,
        *,
        progress: Progress = silent,
    ) -> None:
        """Add a part and keep `count` of its rows.

        Parameters
        ----------
        patches
            float32 (N, d): all patches of the part's images, one image after another.
        images
            int64 (N,): the number of each patch's image, ascending.
        count
            Rows to keep, 1 to N.

        Raises
        ------
        ParameterError
            If there are more rows than the capacity.
        """
        if self._length + count > len(self._candidates):
            raise ParameterError(
                f"parts: {self._length + count} rows to keep exceed "
                f"the capacity of {len(self._candidates)}"
            )
        coreset = greedy_k_center(patches, count, seed=self._seed, progress=progress)
        kept = slice(self._length, self._length + len(coreset))
        np.take(patches, coreset.indices, axis=0, out=self._candidates[kept])
        self._images[kept] = images[coreset.indices]
        self._positions[kept] = coreset.indices - np.searchsorted(images, self._images[kept])
        self._length += len(coreset)
        self._part_radius = max(self._part_radius, coreset.covering_radius)
        self.parts += 1

    def merge(self, count: int, *, progress: Progress = silent) -> MergedCoreset:
        """Choose `count` of the kept rows, or all if there are fewer."""
        candidates = self._candidates[: self._length]
        coreset = greedy_k_center(
            candidates, min(count, len(candidates)), seed=self._seed, progress=progress
        )
        return MergedCoreset(
            candidates,
            self._images[: self._length],
            self._positions[: self._length],
            coreset,
            self._part_radius,
        )


@dataclass(frozen=True, eq=False)
class ImageLeftOut:
    """A reference image's patch distances to the bank without its own patches.

    Attributes
    ----------
    distances
        float32 (h, w).
    nearest
        int64 (h, w): the nearest bank row from another image; -1 without one.
    farthest
        The largest distance of a patch to the whole bank: the covering radius on this image.
    """

    distances: npt.NDArray[np.float32]
    nearest: npt.NDArray[np.int64]
    farthest: float


class StreamedLeaveOneOut:
    """Leave-one-out distances of reference images that arrive one at a time.

    Like `leave_one_out_distances`, except that the patches put back in place of an image's rows are
    chosen among the candidates, because the others are not in memory. The bank is then, if
    anything, sparser: distances and thresholds may be too large, not too small.

    Parameters
    ----------
    merged
        The candidates and the bank. Not retained: only the rows put back are copied.
    groups
        Images that depend on one another, and are left out together; by default every image is
        left out alone.
    progress
        Called as candidates are searched; may raise `KeyboardInterrupt`.
    """

    def __init__(
        self, merged: MergedCoreset, groups: Groups | None = None, *, progress: Progress = silent
    ) -> None:
        chosen = merged.coreset.indices
        self.index = NeighbourIndex(
            np.ascontiguousarray(merged.candidates[chosen]), merged.images[chosen]
        )
        self._groups = None if groups is None or groups.are_single else groups
        if self._groups is None:
            self._put_back = self._find_replacements(merged, progress)
        else:
            self._put_back = self._find_replacements_of_groups(merged, self._groups, progress)

    def _find_replacements(
        self, merged: MergedCoreset, progress: Progress
    ) -> dict[int, npt.NDArray[np.float32]]:
        """Return for each image the candidates that replace its bank rows."""
        cover = Cover(merged.candidates)
        assert self.index.groups is not None
        radius = merged.coreset.covering_radius
        total = len(merged.candidates)
        orphaned: list[npt.NDArray[np.int64]] = []
        lost: list[npt.NDArray[np.int64]] = []
        distances: list[npt.NDArray[np.float32]] = []
        for start in range(0, total, _ROWS_AT_ONCE):
            progress("put back", start, total)
            part = slice(start, start + _ROWS_AT_ONCE)
            found = self.index.nearest_of_two_groups(merged.candidates[part])
            owner = self.index.groups[found.indices[:, 0]]
            second = found.distances[:, 1]
            rows = np.flatnonzero((owner != merged.images[part]) & (second > radius))
            orphaned.append(start + rows)
            lost.append(owner[rows])
            distances.append(second[rows])
        progress("put back", total, total)
        all_orphaned, all_lost = np.concatenate(orphaned), np.concatenate(lost)
        squared = np.concatenate(distances).astype(np.float64) ** 2
        put_back = {}
        order = np.argsort(all_lost, kind="stable")
        losers, starts = np.unique(all_lost[order], return_index=True)
        for image, members in zip(losers, np.split(order, starts[1:]), strict=True):
            added = cover(all_orphaned[members], squared[members], radius**2, progress)
            put_back[int(image)] = merged.candidates[added]
        return put_back

    def _find_replacements_of_groups(
        self, merged: MergedCoreset, groups: Groups, progress: Progress
    ) -> dict[int, npt.NDArray[np.float32]]:
        """Return for each group the candidates that replace the rows left out with it."""
        cover = Cover(merged.candidates)
        radius = merged.coreset.covering_radius
        found = search_without_groups(
            self.index,
            radius,
            merged.candidates,
            merged.images,
            groups,
            stage="put back",
            progress=progress,
        )
        ends = np.searchsorted(found.lost, np.arange(len(groups) + 1))
        put_back = {}
        for group in np.flatnonzero(np.diff(ends)).tolist():
            own = slice(*ends[group : group + 2])
            squared = found.uncovered[own].astype(np.float64) ** 2
            added = cover(found.orphaned[own], squared, radius**2, progress)
            put_back[group] = merged.candidates[added]
        return put_back

    def put_back(self, image: int) -> int:
        """Return how many candidates replace an image's rows."""
        return len(self._put_back.get(self._group(image), ()))

    def _group(self, image: int) -> int:
        return image if self._groups is None else int(self._groups.number[image])

    def __call__(self, image: int, patches: npt.NDArray[np.float32]) -> ImageLeftOut:
        """Return the distances of an image's patches, which are float32 (h, w, d)."""
        assert self.index.groups is not None
        height, width, dimension = patches.shape
        rows = patches.reshape(-1, dimension)
        index, label = self.index, image
        if self._groups is not None:
            gone = self._groups.rows_left_out_with(image, self.index.groups)
            index, label = self.index.with_groups(gone.astype(np.int64)), 1
        assert index.groups is not None
        found = index.nearest_of_two_groups(rows)
        own = index.groups[found.indices[:, 0]] == label
        nearest = np.where(own, found.indices[:, 1], found.indices[:, 0])
        squared = np.where(own, found.distances[:, 1], found.distances[:, 0]).astype(np.float64)
        squared **= 2
        added = self._put_back.get(self._group(image))
        if added is not None and len(added):
            lower_by(rows, added, squared)
        shape = (height, width)
        return ImageLeftOut(
            np.sqrt(squared).astype(np.float32).reshape(shape),
            nearest.reshape(shape),
            float(found.distances[:, 0].max()),
        )
