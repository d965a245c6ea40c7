"""What a region looks like: how its patches differ from the memory bank."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# A patch weighs the more the more it differs, so that a box around a thin scratch is not described
# by the good surface in it. Measured in docs/defects.md.
_POWER = 4


def region_embedding(
    features: npt.NDArray[np.float32],
    nearest: npt.NDArray[np.float32],
    distances: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Return the embedding of a region, float32 (d,).

    It is the mean difference of its patches from the nearest rows of the bank, weighted by the
    fourth power of their distance: what the part itself looks like cancels, so that the same kind
    of defect is similar on different backgrounds.

    Parameters
    ----------
    features, nearest
        float32 (n, d): the region's patch features, at least one, and the bank row nearest to each.
    distances
        float32 (n,): between the two.
    """
    largest = float(distances.max())
    if not largest > 0:
        return np.zeros(features.shape[1], np.float32)
    # As shares of the largest: the fourth power of a distance may overflow.
    weights = (distances.astype(np.float64) / largest) ** _POWER
    difference = features.astype(np.float64) - nearest
    return np.asarray(weights @ difference / weights.sum(), np.float32)


def patches_in_box(
    box: tuple[int, int, int, int],
    down: npt.NDArray[np.float64],
    across: npt.NDArray[np.float64],
) -> npt.NDArray[np.bool_]:
    """Return which patches have their centre in a box, (rows, columns) of bool.

    If none has, because the box is smaller than a patch, it is the one nearest to its middle.

    Parameters
    ----------
    box
        x0, y0, x1, y1 in pixels, ends excluded.
    down, across
        The patches' centres in pixels, float64 (rows,) and (columns,).
    """
    x0, y0, x1, y1 = box
    rows, columns = (down >= y0) & (down < y1), (across >= x0) & (across < x1)
    for inside, centres, middle in ((rows, down, y0 + y1), (columns, across, x0 + x1)):
        if not inside.any():
            inside[np.abs(centres - middle / 2).argmin()] = True
    chosen: npt.NDArray[np.bool_] = rows[:, np.newaxis] & columns
    return chosen
