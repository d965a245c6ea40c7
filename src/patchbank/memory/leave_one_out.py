"""Score reference images as if they were new: each against the bank without its own patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.memory._parallel import TileWorker, for_tiles
from patchbank.memory.coreset import Coreset, Cover, cover_kernels
from patchbank.memory.groups import Groups
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.progress import Progress, silent

# Images searched between progress reports.
_IMAGES_AT_ONCE = 8
# From so many distances on, an index is quicker than computing each.
_MANY_DISTANCES = 50_000_000


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Patch distances of reference images to the bank without their own patches.

    Attributes
    ----------
    distances
        float32 (N,).
    nearest
        int64 (N,): the nearest bank row from another image; -1 without one. Patches put
        back in place of the image's rows (see `leave_one_out_distances`) are not in the bank and
        may be nearer.
    put_back
        int64 (n,): how many patches of other images were put back for each image.
    """

    distances: npt.NDArray[np.float32]
    nearest: npt.NDArray[np.int64]
    put_back: npt.NDArray[np.int64]


def leave_one_out_distances(
    patches: npt.NDArray[np.float32],
    images: npt.NDArray[np.int64],
    coreset: Coreset,
    *,
    index: NeighbourIndex | None = None,
    groups: Groups | None = None,
    progress: Progress = silent,
) -> LeftOut:
    """Return each reference image's patch distances to a bank without that image.

    Removing an image's rows from the bank leaves gaps: patches of *other* images that only those
    rows represented. A bank fitted without the image would have kept some of them. So patches that
    are then farther from the bank than its covering radius are put back, farthest first, until all
    are covered again, as in the coreset's greedy selection. Without this, references score higher
    than new images of good parts.

    Parameters
    ----------
    patches
        float32 (N, d): the patches of at least two reference images, which may differ in number.
    images
        int64 (N,): the number of each patch's image, from 0 on, ascending.
    coreset
        The bank: rows of `patches`.
    index
        The bank's index, with image numbers as groups; built if not given.
    groups
        Images that depend on one another, and are left out together; by default every image is
        left out alone.
    progress
        Called as images are scored; may raise `KeyboardInterrupt`.

    Raises
    ------
    ParameterError
        For fewer than two images, or the index of another bank.
    """
    if patches.ndim != 2 or images.shape != patches.shape[:1]:
        raise ParameterError(
            f"patches: expected shape (patches, dimensions) and an image number for each, "
            f"got {patches.shape} and {images.shape}"
        )
    n = int(images[-1]) + 1 if len(images) else 0
    if n < 2:
        raise ParameterError(
            f"{n} reference: leaving one out needs at least two; give more images of good parts"
        )
    owners = images[coreset.indices]
    if index is None:
        index = NeighbourIndex(patches[coreset.indices], owners)
    elif index.groups is None or not np.array_equal(index.groups, owners):
        raise ParameterError("leave one out: the index does not belong to this coreset")
    if groups is not None and len(groups.number) != n:
        raise ParameterError(
            f"leave one out: groups of {len(groups.number)} images, and there are {n}"
        )
    return left_out_of(
        index, coreset.covering_radius, patches, images, groups=groups, progress=progress
    )


def left_out_of(
    index: NeighbourIndex,
    radius: float,
    patches: npt.NDArray[np.float32],
    images: npt.NDArray[np.int64],
    *,
    groups: Groups | None = None,
    slack: npt.NDArray[np.float32] | None = None,
    progress: Progress = silent,
) -> LeftOut:
    """Return what `leave_one_out_distances` does, of a bank that may have rows of other images too.

    Parameters
    ----------
    index
        The bank's index, with the images of its rows as groups.
    radius
        Within which the bank covers the patches.
    patches, images, groups
        As there; images without patches are allowed.
    slack
        As in `left_out_from`; only with groups.
    """
    assert index.groups is not None
    patches = np.ascontiguousarray(patches)
    if groups is not None and not groups.are_single:
        return _leave_groups_out(index, radius, patches, images, groups, slack, progress)
    n = int(images[-1]) + 1
    starts = np.searchsorted(images, np.arange(n + 1))
    distances = np.empty((len(patches), 2), np.float32)
    rows = np.empty((len(patches), 2), np.int64)
    for first in range(0, n, _IMAGES_AT_ONCE):
        progress("calibrate", first, n)
        part = slice(starts[first], starts[min(first + _IMAGES_AT_ONCE, n)])
        found = index.nearest_of_two_groups(patches[part])
        distances[part], rows[part] = found.distances, found.indices
    return left_out_from(distances, rows, index.groups, radius, patches, images, progress=progress)


def left_out_from(
    distances: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    radius: float,
    patches: npt.NDArray[np.float32],
    images: npt.NDArray[np.int64],
    *,
    slack: npt.NDArray[np.float32] | None = None,
    only: npt.NDArray[np.bool_] | None = None,
    progress: Progress = silent,
) -> LeftOut:
    """Return what `left_out_of` does, from the patches' nearest rows of two groups each.

    Parameters
    ----------
    distances, rows
        float32 and int64 (N, 2): as `NeighbourIndex.nearest_of_two_groups` gives them.
    groups
        int64 (m,): the images of the bank's rows.
    slack
        float32 (N,): how inexact each patch's distances may be. One is put back only where it is
        beyond the radius for certain.
    only
        bool (n,): the images for which patches are put back; the distances of the others are too
        large.
    """
    n = int(images[-1]) + 1
    starts = np.searchsorted(images, np.arange(n + 1))
    first_distance, second_distance = distances.T
    owner = groups[rows[:, 0]]
    is_own = owner == images
    squared = np.where(is_own, second_distance, first_distance).astype(np.float64) ** 2
    nearest = np.where(is_own, rows[:, 1], rows[:, 0])

    certain = second_distance if slack is None else second_distance - slack
    is_orphaned = ~is_own & (certain > radius)
    if only is not None:
        is_orphaned &= (owner >= 0) & (owner < n)
        is_orphaned[is_orphaned] = only[owner[is_orphaned]]
    orphaned = np.flatnonzero(is_orphaned)
    orphaned = orphaned[np.argsort(owner[orphaned], kind="stable")]
    put_back = _put_back(
        patches, starts, orphaned, owner[orphaned], second_distance, radius, squared, progress
    )
    progress("calibrate", n, n)
    return LeftOut(np.sqrt(squared).astype(np.float32), nearest, put_back)


def _leave_groups_out(
    index: NeighbourIndex,
    radius: float,
    patches: npt.NDArray[np.float32],
    images: npt.NDArray[np.int64],
    groups: Groups,
    slack: npt.NDArray[np.float32] | None,
    progress: Progress,
) -> LeftOut:
    """Return each image's patch distances to a bank without all that its group depends on."""
    owners = index.groups
    assert owners is not None
    starts = np.searchsorted(images, np.arange(len(groups.number) + 1))
    owner = np.empty(len(patches), np.int64)
    for first in range(0, len(groups.number), _IMAGES_AT_ONCE):
        part = slice(starts[first], starts[min(first + _IMAGES_AT_ONCE, len(starts) - 1)])
        owner[part] = owners[index.nearest(patches[part]).indices[:, 0]]
    cover = Cover(patches)
    squared = np.empty(len(patches))
    nearest = np.empty(len(patches), np.int64)
    put_back = np.zeros(len(groups.number), np.int64)
    for group in range(len(groups)):
        progress("calibrate", group, len(groups))
        members = groups.members(group)
        away = groups.left_out_with(int(members[0]))
        own = np.flatnonzero(np.isin(images, members))
        if not len(own):
            continue
        rest = WithoutImages(index, owners, away)
        distances, nearest[own] = rest.nearest(patches[own])
        # Other images' patches that lose the row that represented them.
        orphaned = np.flatnonzero(away[owner] & ~away[images])
        without = rest.nearest(patches[orphaned])[0] if len(orphaned) else np.empty(0, np.float32)
        certain = without if slack is None else without - slack[orphaned]
        is_far = certain > radius
        squares = without[is_far].astype(np.float64) ** 2
        added = cover(orphaned[is_far], squares, radius**2, silent)
        lowered = distances.astype(np.float64) ** 2
        if len(added):
            lower_by(patches[own], patches[added], lowered)
        squared[own] = lowered
        put_back[members] = len(added)
    progress("calibrate", len(groups), len(groups))
    return LeftOut(np.sqrt(squared).astype(np.float32), nearest, put_back)


class WithoutImages:
    """A bank without the rows of some images.

    Parameters
    ----------
    index
        The whole bank.
    owners
        int64 (m,): the image of each row.
    away
        bool (n,): the images left out.
    """

    def __init__(
        self,
        index: NeighbourIndex,
        owners: npt.NDArray[np.int64],
        away: npt.NDArray[np.bool_],
    ) -> None:
        self.index = index.with_groups(away[owners].astype(np.int64))

    def nearest(
        self, queries: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return distances to the nearest rows, and these; infinite and -1 if none is left."""
        assert self.index.groups is not None
        found = self.index.nearest_of_two_groups(queries)
        first_is_away = self.index.groups[found.indices[:, 0]] == 1
        return (
            np.where(first_is_away, found.distances[:, 1], found.distances[:, 0]),
            np.where(first_is_away, found.indices[:, 1], found.indices[:, 0]),
        )


def lower_by(
    rows: npt.NDArray[np.float32],
    centres: npt.NDArray[np.float32],
    squared: npt.NDArray[np.float64],
) -> None:
    """Lower squared distances of rows, float64 (n,), by those to rows that were put back."""
    if len(rows) * len(centres) < _MANY_DISTANCES:
        cover_kernels().lower_directly(rows, 0, len(rows), centres, squared)
        return
    found = NeighbourIndex(centres).nearest(rows).distances[:, 0]
    np.minimum(squared, found.astype(np.float64) ** 2, out=squared)


def _put_back(
    patches: npt.NDArray[np.float32],
    starts: npt.NDArray[np.int64],
    orphaned: npt.NDArray[np.int64],
    lost: npt.NDArray[np.int64],
    distances: npt.NDArray[np.float32],
    radius: float,
    squared: npt.NDArray[np.float64],
    progress: Progress,
) -> npt.NDArray[np.int64]:
    """Put patches back for each removed image; lower its squared distances; return the counts."""
    cover = Cover(patches)
    n = len(starts) - 1
    counts = np.zeros(n, np.int64)
    ends = np.searchsorted(lost, np.arange(n + 1))

    def put_back_for(image: int, progress: Progress) -> None:
        rows = orphaned[ends[image] : ends[image + 1]]
        if len(rows) == 0:
            return
        minima = distances[rows].astype(np.float64) ** 2
        added = cover(rows, minima, radius**2, progress)
        counts[image] = len(added)
        own = slice(*starts[image : image + 2])
        lower_by(patches[own], patches[added], squared[own])

    is_large = np.array([cover.is_large(count) for count in np.diff(ends).tolist()])
    small = np.flatnonzero(~is_large).tolist()

    def make_worker() -> TileWorker:
        return lambda start, stop: put_back_for(small[start], silent)

    # An image with few has a thread to itself; all threads work on one with many.
    for_tiles(len(small), 1, make_worker)
    for image in np.flatnonzero(is_large).tolist():
        put_back_for(image, progress)
    return counts
