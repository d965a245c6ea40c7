"""Fill the gaps that rows leave which are taken out of a memory bank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patchbank.memory._parallel import TileWorker, for_tiles
from patchbank.memory.coreset import Cover, cover_kernels
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.progress import Progress, silent

# From so many distances on, an index is quicker than computing each.
_MANY_DISTANCES = 50_000_000


def put_back(
    patches: npt.NDArray[np.float32],
    own: Sequence[slice | npt.NDArray[np.int64]],
    orphaned: npt.NDArray[np.int64],
    lost: npt.NDArray[np.int64],
    distances: npt.NDArray[np.float32],
    radius: float,
    squared: npt.NDArray[np.float64],
    progress: Progress = silent,
) -> npt.NDArray[np.int64]:
    """Cover the patches that only rows of what is left out represented, for one after another.

    Parameters
    ----------
    patches
        float32 (N, d).
    own
        The patches of each image, or group of images, that is left out.
    orphaned, lost
        int64 (o,): patches that are uncovered without such rows, and whose rows these were: places
        in `own`, ascending, and for each the patches ascending.
    distances
        float32 (o,): how far these patches are from the rows that remain.
    radius
        Within which all patches must be covered.
    squared
        float64 (N,): squared distances to the rows that remain; lowered by those to patches that
        are put back.
    progress
        Called as many patches are put back; may raise `KeyboardInterrupt`.

    Returns
    -------
    int64 (len(own),): how many patches were put back for each.
    """
    cover = Cover(patches)
    counts = np.zeros(len(own), np.int64)
    ends = np.searchsorted(lost, np.arange(len(own) + 1))
    later: list[tuple[int, npt.NDArray[np.int64]]] = []

    def cover_for(number: int, progress: Progress) -> npt.NDArray[np.int64]:
        part = slice(*ends[number : number + 2])
        minima = distances[part].astype(np.float64) ** 2
        added = cover(orphaned[part], minima, radius**2, progress)
        counts[number] = len(added)
        return added

    def lower(number: int, added: npt.NDArray[np.int64]) -> None:
        lowered = squared[own[number]]
        lower_by(patches[own[number]], patches[added], lowered)
        squared[own[number]] = lowered

    def make_worker() -> TileWorker:
        def work(start: int, stop: int) -> None:
            added = cover_for(small[start], silent)
            if len(added) * len(squared[own[small[start]]]) < _MANY_DISTANCES:
                lower(small[start], added)
            else:
                later.append((small[start], added))

        return work

    sizes = np.diff(ends).tolist()
    small = [number for number, size in enumerate(sizes) if size and not cover.is_large(size)]
    # Those with few have a thread to themselves; all threads work on one with many.
    for_tiles(len(small), 1, make_worker)
    for number, added in later:
        lower(number, added)
    for number in [number for number, size in enumerate(sizes) if cover.is_large(size)]:
        lower(number, cover_for(number, progress))
    return counts


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
