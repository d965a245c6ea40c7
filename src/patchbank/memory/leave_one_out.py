"""Score reference images as if they were new: each against the bank without its own patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.memory._parallel import TileWorker, for_tiles
from patchbank.memory.coreset import Coreset, cover_kernels
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.progress import Progress, silent

# Images searched between progress reports.
_IMAGES_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Patch distances of reference images to the bank without their own patches.

    Attributes
    ----------
    distances
        float32 (n, h, w).
    nearest
        int64 (n, h, w): the nearest bank row from another image; -1 if there is none. Patches put
        back in place of the image's rows (see `leave_one_out_distances`) are not in the bank and
        may be nearer.
    put_back
        int64 (n,): how many patches of other images were put back for each image.
    """

    distances: npt.NDArray[np.float32]
    nearest: npt.NDArray[np.int64]
    put_back: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.distances.ndim != 3 or self.nearest.shape != self.distances.shape:
            raise ParameterError(
                f"left out: distances and nearest rows must have the same shape (images, height, "
                f"width), got {self.distances.shape} and {self.nearest.shape}"
            )


def leave_one_out_distances(
    features: npt.NDArray[np.float32],
    coreset: Coreset,
    *,
    index: NeighbourIndex | None = None,
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
    features
        float32 (n, h, w, d): the patches of at least two reference images.
    coreset
        The bank: rows of ``features.reshape(-1, d)``.
    index
        The bank's index, with image numbers as groups; built if not given.
    progress
        Called as images are scored; may raise `KeyboardInterrupt`.

    Raises
    ------
    ParameterError
        For fewer than two images, or the index of another bank.
    """
    if features.ndim != 4:
        raise ParameterError(
            f"features: expected shape (images, height, width, dimensions), got {features.shape}"
        )
    n, height, width, dimensions = features.shape
    if n < 2:
        raise ParameterError(
            f"{n} reference: leaving one out needs at least two; give more images of good parts"
        )
    patches = np.ascontiguousarray(features).reshape(-1, dimensions)
    per_image = height * width
    groups = coreset.indices // per_image
    if index is None:
        index = NeighbourIndex(patches[coreset.indices], groups)
    elif index.groups is None or not np.array_equal(index.groups, groups):
        raise ParameterError("leave one out: the index does not belong to this coreset")

    first_distance = np.empty(len(patches), np.float32)
    second_distance = np.empty(len(patches), np.float32)
    rows = np.empty((len(patches), 2), np.int64)
    for start in range(0, n, _IMAGES_AT_ONCE):
        progress("calibrate", start, n)
        part = slice(start * per_image, (start + _IMAGES_AT_ONCE) * per_image)
        found = index.nearest_of_two_groups(patches[part])
        first_distance[part], second_distance[part] = found.distances.T
        rows[part] = found.indices
    owner = groups[rows[:, 0]]
    own = np.repeat(np.arange(n), per_image)
    is_own = owner == own
    squared = np.where(is_own, second_distance, first_distance).astype(np.float64) ** 2
    nearest = np.where(is_own, rows[:, 1], rows[:, 0])

    orphaned = np.flatnonzero(~is_own & (second_distance > coreset.covering_radius))
    orphaned = orphaned[np.argsort(owner[orphaned], kind="stable")]
    put_back = _put_back(
        patches, per_image, orphaned, owner[orphaned], second_distance, coreset, squared
    )
    progress("calibrate", n, n)
    shape = (n, height, width)
    return LeftOut(
        np.sqrt(squared).astype(np.float32).reshape(shape), nearest.reshape(shape), put_back
    )


def _put_back(
    patches: npt.NDArray[np.float32],
    per_image: int,
    orphaned: npt.NDArray[np.int64],
    lost: npt.NDArray[np.int64],
    distances: npt.NDArray[np.float32],
    coreset: Coreset,
    squared: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    """Put patches back for each removed image; lower its squared distances; return the counts."""
    kernels = cover_kernels()
    n = len(patches) // per_image
    counts = np.zeros(n, np.int64)
    ends = np.searchsorted(lost, np.arange(n + 1))

    def put_back_for(image: int) -> None:
        rows = orphaned[ends[image] : ends[image + 1]]
        if len(rows) == 0:
            return
        added = np.empty(len(rows), np.int64)
        minima = distances[rows].astype(np.float64) ** 2
        counts[image] = kernels.cover(patches, rows, minima, coreset.covering_radius**2, added)
        begin = image * per_image
        kernels.lower_directly(patches, begin, begin + per_image, added[: counts[image]], squared)

    def make_worker() -> TileWorker:
        return lambda start, stop: put_back_for(start)

    for_tiles(n, 1, make_worker)
    return counts
