"""Compute anomaly maps and their regions from patch distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError

# The smoothing weights beyond this many sigmas are below 0.0004 of the peak's.
_TRUNCATE = 4.0

# OpenBLAS computes products of at most 2^18 multiplications in the calling thread
# (SMP_THRESHOLD_MIN x GEMM_MULTITHREAD_THRESHOLD in its interface/gemm.c).
_ONE_THREAD_PRODUCT = 1 << 18


@lru_cache(maxsize=64)
def _upsampling_and_smoothing(
    count: int, side: int, sigma: float, extent: float
) -> npt.NDArray[np.float32]:
    """Return the float32 (side, count) matrix that upsamples and smooths a line.

    The line of `count` positions starts with the `side` pixels, which are `extent` positions long.
    Both steps are linear and separable, so two small matrix products process a map.
    """
    # Half-pixel centres: pixel x of `side` is at (x + 0.5) extent / side - 0.5.
    position = np.clip((np.arange(side) + 0.5) * extent / side - 0.5, 0, count - 1)
    left = np.minimum(position.astype(np.int64), max(count - 2, 0))
    fraction = position - left
    matrix = np.zeros((side, count))
    matrix[np.arange(side), left] += 1.0 - fraction
    matrix[np.arange(side), np.minimum(left + 1, count - 1)] += fraction
    # Below this the kernel is a single pixel, and SciPy divides by a square that may be 0.
    if _TRUNCATE * sigma >= 0.5:
        from scipy.ndimage import gaussian_filter1d

        matrix = gaussian_filter1d(matrix, sigma, axis=0, mode="reflect", truncate=_TRUNCATE)
    result: npt.NDArray[np.float32] = matrix.astype(np.float32)
    result.setflags(write=False)
    return result


def anomaly_map(
    distances: npt.NDArray[np.float32],
    size: tuple[int, int],
    sigma: float = 4.0,
    *,
    extent: tuple[float, float] | None = None,
    inspected: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.float32]:
    """Return the anomaly map of an image.

    The distances are upsampled bilinearly (half-pixel centres, edges extended) and smoothed with a
    Gaussian; the map is mirrored at the border (``d c b a | a b c d``), so that a defect there
    keeps its score.

    Parameters
    ----------
    distances
        float32 (h, w) or (n, h, w): each patch's distance to the memory bank.
    size
        Height and width of the map in pixels.
    sigma
        Standard deviation of the smoothing in pixels of the map; 0 for none.
    extent
        Height and width of the map in patches, where its border cuts through patches; by default
        all of them.
    inspected
        bool (h, w): which patches count, where not all do. The map is the mean of those around,
        weighted as ever, and 0 where no patch that counts is nearest (`cells_inspected`).

    Returns
    -------
    float32 (height, width) or (n, height, width).
    """
    if distances.ndim not in (2, 3) or 0 in distances.shape:
        raise ParameterError(
            f"patch distances: expected shape (height, width) or (images, height, width), "
            f"got {distances.shape}"
        )
    if min(size) < 1 or not sigma >= 0.0:
        raise ParameterError(
            f"anomaly map: size {size} must be positive, and sigma {sigma} not negative"
        )
    rows, columns = (
        _upsampling_and_smoothing(count, side, float(sigma), float(length))
        for count, side, length in zip(
            distances.shape[-2:], size, extent or distances.shape[-2:], strict=True
        )
    )
    values = distances.astype(np.float32, copy=False)
    if inspected is None:
        return _small_product(_small_product(rows, values), columns.T)
    counting = inspected.astype(np.float32)
    cells = cells_inspected(inspected, size, extent)
    weights = _small_product(_small_product(rows, counting), columns.T)
    sums = _small_product(_small_product(rows, values * counting), columns.T)
    # Where a patch that counts is nearest, it has at least a little weight.
    return np.where(cells, sums / np.where(cells, weights, np.float32(1)), np.float32(0))


def cells_inspected(
    inspected: npt.NDArray[np.bool_],
    size: tuple[int, int],
    extent: tuple[float, float] | None = None,
) -> npt.NDArray[np.bool_]:
    """Return which pixels of a map of this size belong to inspected patches, (height, width).

    `inspected` is (h, w); `size` and `extent` are those of `anomaly_map`.
    """
    rows, columns = (
        np.minimum(((np.arange(side) + 0.5) * length / side).astype(np.int64), count - 1)
        for count, side, length in zip(
            inspected.shape, size, extent or inspected.shape, strict=True
        )
    )
    cells: npt.NDArray[np.bool_] = inspected[rows[:, np.newaxis], columns]
    return cells


def _small_product(
    left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return ``left @ right``, computed in the calling thread unless it is large.

    OpenBLAS's other threads busy-wait for about 25 ms after each product. That would take a core
    from the network for all of the next image, to save a tenth of a millisecond.
    """
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    count = left.shape[-2]
    result = np.empty((*batch, count, right.shape[-1]), np.float32)
    most = _ONE_THREAD_PRODUCT // (right.shape[-2] * right.shape[-1])
    # A single row would be a matrix-vector product, for which OpenBLAS uses threads much earlier.
    pieces = 1 if most < 4 else -(-count // most)
    for piece in range(pieces):
        rows = slice(count * piece // pieces, count * (piece + 1) // pieces)
        np.matmul(left[..., rows, :], right, out=result[..., rows, :])
    return result


def place_map(
    anomaly: npt.NDArray[np.float32],
    box: Sequence[int],
    width: int,
    height: int,
    inspected: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.float32]:
    """Return the map of the whole original image, NaN where nothing was inspected.

    Parameters
    ----------
    anomaly
        float32 (rows, columns): the anomaly map.
    box
        x0, y0, x1, y1 of the inspected area in pixels of the original image, ends excluded.
    width, height
        Size of the original image in pixels.
    inspected
        bool (rows, columns): which parts of the map were inspected, where not all were.

    Returns
    -------
    float32 (height, width).
    """
    x0, y0, x1, y1 = _checked_box(box, width, height)
    placed = np.full((height, width), np.nan, np.float32)
    height, width = anomaly.shape
    rows = _upsampling_and_smoothing(height, y1 - y0, 0.0, float(height))
    columns = _upsampling_and_smoothing(width, x1 - x0, 0.0, float(width))
    placed[y0:y1, x0:x1] = rows @ anomaly @ columns.T
    if inspected is not None:
        placed[y0:y1, x0:x1][~cells_inspected(inspected, (y1 - y0, x1 - x0))] = np.nan
    return placed


def _checked_box(box: Sequence[int], width: int, height: int) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (int(value) for value in box)
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ParameterError(
            f"box ({x0}, {y0}, {x1}, {y1}): must be inside the image of {width} x {height} pixels"
        )
    return x0, y0, x1, y1


@dataclass(frozen=True)
class Region:
    """A connected area of an image above the threshold.

    Attributes
    ----------
    box_xyxy
        x0, y0, x1, y1 in pixels of the original image, ends excluded.
    area_pixels
        Area in pixels of the original image.
    area_percent
        Area in per cent of the original image.
    peak_score
        The anomaly map's largest value in the region.
    peak_xy
        The position of the peak, in pixels of the original image.
    """

    box_xyxy: tuple[int, int, int, int]
    area_pixels: int
    area_percent: float
    peak_score: float
    peak_xy: tuple[int, int]

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box_xyxy
        x, y = self.peak_xy
        if not (0 <= x0 <= x < x1 and 0 <= y0 <= y < y1):
            raise ParameterError(
                f"region: the peak must be inside the box, got box {self.box_xyxy} and peak "
                f"{self.peak_xy}"
            )
        if not 1 <= self.area_pixels <= (x1 - x0) * (y1 - y0):
            raise ParameterError(
                f"region: expected an area of 1 to {(x1 - x0) * (y1 - y0)} pixels, "
                f"got {self.area_pixels}"
            )
        if not 0.0 < self.area_percent <= 100.0 or not np.isfinite(self.peak_score):
            raise ParameterError(
                f"region: expected an area above 0 and at most 100 % and a finite score, "
                f"got {self.area_percent} % and {self.peak_score}"
            )


def find_regions(
    anomaly: npt.NDArray[np.float32],
    threshold: float,
    *,
    box: Sequence[int],
    width: int,
    height: int,
    minimum_area_percent: float = 0.0,
) -> list[Region]:
    """Return the connected areas of the map above the threshold, highest peak first.

    Pixels that share a side or a corner are connected.

    Parameters
    ----------
    anomaly
        float32 (rows, columns): the anomaly map.
    threshold
        Only pixels strictly above it count.
    box
        x0, y0, x1, y1 of the map in pixels of the original image.
    width, height
        Size of the original image in pixels.
    minimum_area_percent
        Smaller regions, in per cent of the original image, are left out.
    """
    x0, y0, x1, y1 = _checked_box(box, width, height)
    above = anomaly > threshold
    if not above.any():
        return []
    from scipy import ndimage

    labels, _ = ndimage.label(above, structure=np.ones((3, 3)))
    box_width, box_height = x1 - x0, y1 - y0
    side_y, side_x = anomaly.shape
    regions = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[rows, columns] == number
        cells = int(np.count_nonzero(inside))
        area = max(1, round(cells * box_width * box_height / (side_x * side_y)))
        percent = 100.0 * area / (width * height)
        if percent < minimum_area_percent:
            continue
        values = np.where(inside, anomaly[rows, columns], -np.inf)
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        peak_row, peak_column = int(rows.start + row), int(columns.start + column)
        regions.append(
            Region(
                # Integer arithmetic, so that a box never extends past the pixels of its cells.
                box_xyxy=(
                    x0 + columns.start * box_width // side_x,
                    y0 + rows.start * box_height // side_y,
                    x0 - (-columns.stop * box_width // side_x),
                    y0 - (-rows.stop * box_height // side_y),
                ),
                area_pixels=area,
                area_percent=percent,
                peak_score=float(anomaly[peak_row, peak_column]),
                peak_xy=(
                    x0 + (2 * peak_column + 1) * box_width // (2 * side_x),
                    y0 + (2 * peak_row + 1) * box_height // (2 * side_y),
                ),
            )
        )
    return sorted(regions, key=lambda region: -region.peak_score)
