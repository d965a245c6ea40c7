"""Coresets and calibration of more patches than memory holds: in parts, then merged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.memory.coreset import Coreset, cover_kernels, greedy_k_center
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.progress import Progress, silent

# Rows searched between two reports of progress.
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, eq=False)
class MergedCoreset:
    """A coreset of the patches kept of all parts.

    Attributes
    ----------
    candidates
        float32 (kept, d): the rows kept of all parts.
    images, positions
        int64 (kept,): the image each row is of, and its position in the image.
    coreset
        The choice among the candidates.
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
        """No patch of any part is farther from the bank: from it to a candidate, and on."""
        return self.part_radius + self.coreset.covering_radius


class PartCoresets:
    """Keeps the coreset of each part of the patches, so that a coreset of all can be made of them.

    Composable coresets: within a part every patch is within the part's covering radius of a row
    that was kept, and every kept row within the merged coreset's of a row of the bank, so the sum
    bounds what the parts cost.

    Parameters
    ----------
    capacity
        Rows that will be kept, at most.
    dimension
        Of a row.
    seed
        Seed of each coreset's first choice.

    References
    ----------
    P. Indyk, S. Mahabadi, M. Mahdian, V. Mirrokni, "Composable core-sets for diversity and coverage
    maximization", PODS 2014. G. Malkomes et al., "Fast distributed k-center clustering with
    outliers on massive data", NeurIPS 2015.
    """

    def __init__(self, capacity: int, dimension: int, *, seed: int = 0) -> None:
        # Reserved at once and filled as parts come: growing would hold two copies.
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
        """Keep `count` rows of one part.

        Parameters
        ----------
        patches
            float32 (n, p, d): all patches of the part's images.
        images
            int64 (n,): the images' numbers.
        count
            Rows to keep, 1 to n p.

        Raises
        ------
        ParameterError
            For patches that are not finite, a count out of range, or more rows than the capacity.
        """
        per_image = patches.shape[1]
        rows = patches.reshape(-1, patches.shape[2])
        if self._length + count > len(self._candidates):
            raise ParameterError(
                f"parts: {self._length + count} rows to keep, "
                f"but room for {len(self._candidates)} was reserved"
            )
        coreset = greedy_k_center(rows, count, seed=self._seed, progress=progress)
        kept = slice(self._length, self._length + len(coreset))
        np.take(rows, coreset.indices, axis=0, out=self._candidates[kept])
        image, self._positions[kept] = np.divmod(coreset.indices, per_image)
        self._images[kept] = images[image]
        self._length += len(coreset)
        self._part_radius = max(self._part_radius, coreset.covering_radius)
        self.parts += 1

    def merge(self, count: int, *, progress: Progress = silent) -> MergedCoreset:
        """Choose `count` rows of all that were kept; of fewer, all of them."""
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
    """One reference image's patch distances to the bank without its own patches.

    Attributes
    ----------
    distances
        float32 (h, w).
    nearest
        int64 (h, w): the nearest row of the bank that is not of the image; -1 where there is none.
    farthest
        The largest distance of a patch to the whole bank: the covering radius on this image.
    """

    distances: npt.NDArray[np.float32]
    nearest: npt.NDArray[np.int64]
    farthest: float


class StreamedLeaveOneOut:
    """Scores reference images that come one by one as if each were new.

    As `leave_one_out_distances`, with one difference: the patches put back in place of an image's
    rows are chosen among the candidates, because the others are not in memory. The bank an image
    meets is therefore at most sparser than with all patches at hand: its distances are rather too
    large than too small, thresholds rather too high than too low.

    Parameters
    ----------
    merged
        What the bank was chosen from. Not held on to: only the rows put back are copied.
    progress
        Called as candidates are searched; may raise `KeyboardInterrupt`.
    """

    def __init__(self, merged: MergedCoreset, *, progress: Progress = silent) -> None:
        chosen = merged.coreset.indices
        self.index = NeighbourIndex(
            np.ascontiguousarray(merged.candidates[chosen]), merged.images[chosen]
        )
        self._put_back = self._mend(merged, progress)

    def _mend(
        self, merged: MergedCoreset, progress: Progress
    ) -> dict[int, npt.NDArray[np.float32]]:
        """Return for each image the candidates that take the place of its rows of the bank."""
        kernels = cover_kernels()
        assert self.index.groups is not None
        radius = merged.coreset.covering_radius
        total = len(merged.candidates)
        orphaned: list[npt.NDArray[np.int64]] = []
        lost: list[npt.NDArray[np.int64]] = []
        distances: list[npt.NDArray[np.float32]] = []
        for start in range(0, total, _ROWS_AT_ONCE):
            progress("mend", start, total)
            part = slice(start, start + _ROWS_AT_ONCE)
            found = self.index.nearest_of_two_groups(merged.candidates[part])
            owner = self.index.groups[found.indices[:, 0]]
            second = found.distances[:, 1]
            rows = np.flatnonzero((owner != merged.images[part]) & (second > radius))
            orphaned.append(start + rows)
            lost.append(owner[rows])
            distances.append(second[rows])
        progress("mend", total, total)
        all_orphaned, all_lost = np.concatenate(orphaned), np.concatenate(lost)
        squared = np.concatenate(distances).astype(np.float64) ** 2
        put_back = {}
        order = np.argsort(all_lost, kind="stable")
        losers, starts = np.unique(all_lost[order], return_index=True)
        for image, members in zip(losers, np.split(order, starts[1:]), strict=True):
            rows = all_orphaned[members]
            added = np.empty(len(rows), np.int64)
            count = kernels.cover(merged.candidates, rows, squared[members], radius**2, added)
            put_back[int(image)] = merged.candidates[added[:count]]
        return put_back

    def put_back(self, image: int) -> int:
        """Return how many candidates take the place of an image's rows."""
        return len(self._put_back.get(image, ()))

    def __call__(self, image: int, patches: npt.NDArray[np.float32]) -> ImageLeftOut:
        """Return the distances of an image's patches, float32 (h, w, d)."""
        kernels = cover_kernels()
        assert self.index.groups is not None
        height, width, dimension = patches.shape
        rows = patches.reshape(-1, dimension)
        found = self.index.nearest_of_two_groups(rows)
        own = self.index.groups[found.indices[:, 0]] == image
        nearest = np.where(own, found.indices[:, 1], found.indices[:, 0])
        squared = np.where(own, found.distances[:, 1], found.distances[:, 0]).astype(np.float64)
        squared **= 2
        added = self._put_back.get(image)
        if added is not None:
            count = len(rows)
            kernels.lower_directly(
                np.concatenate([rows, added]),
                0,
                count,
                np.arange(count, count + len(added)),
                squared,
            )
        shape = (height, width)
        return ImageLeftOut(
            np.sqrt(squared).astype(np.float32).reshape(shape),
            nearest.reshape(shape),
            float(found.distances[:, 0].max()),
        )
