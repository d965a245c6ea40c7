"""Score reference images as if they were new: each against the bank without its own patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.memory.coreset import Coreset
from patchbank.memory.groups import Groups
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.put_back import put_back
from patchbank.memory.without_groups import search_without_groups
from patchbank.progress import Progress, silent

# Images searched between progress reports.
_IMAGES_AT_ONCE = 8


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
    counts = put_back(
        patches,
        [slice(*starts[image : image + 2]) for image in range(n)],
        orphaned,
        owner[orphaned],
        second_distance[orphaned],
        radius,
        squared,
        progress,
    )
    progress("calibrate", n, n)
    return LeftOut(np.sqrt(squared).astype(np.float32), nearest, counts)


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
    found = search_without_groups(
        index, radius, patches, images, groups, slack=slack, progress=progress
    )
    squared = found.distances.astype(np.float64) ** 2
    group = groups.number[images]
    order = np.argsort(group, kind="stable")
    own = np.split(order, np.searchsorted(group[order], np.arange(1, len(groups))))
    counts = put_back(
        patches, own, found.orphaned, found.lost, found.uncovered, radius, squared, progress
    )
    return LeftOut(np.sqrt(squared).astype(np.float32), found.nearest, counts[groups.number])
