"""How well anomaly maps find masked regions, exactly and over all thresholds."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.metrics.curve import Curve, FloatArray
from patchbank.settings import get_settings

# Cells of the table that leads a good pixel to the anomalous scores near its own.
_CELLS = 1 << 20


@dataclass(frozen=True, slots=True)
class PixelMetrics:
    """How well pixel scores find the masked regions; what cannot be told is None.

    Attributes
    ----------
    images, regions
        Number of images, and of connected regions in their masks.
    pixel_auroc, pixel_average_precision
        Over all pixels of all images.
    aupro
        Area under the per-region overlap (Bergmann et al., IJCV 2021) up to the false-positive rate
        `fpr_limit`, divided by it.
    pro
        The curve, thinned out for drawing; `aupro` is computed on all its points.
    """

    images: int
    regions: int
    fpr_limit: float
    pixel_auroc: float | None
    pixel_average_precision: float | None
    aupro: float | None
    pro: Curve | None


class PixelScores:
    """Gathers the maps and masks of a test set, image by image, and computes its `PixelMetrics`.

    It keeps 4 bytes per good pixel and 8 per anomalous one. The figures are exact over all
    thresholds: between two scores of anomalous pixels every curve is a horizontal line, so good
    pixels need only be counted between those, and ties are straight lines.

    Examples
    --------
    >>> gathered = PixelScores()
    >>> gathered.add(np.array([[0.1, 0.9]]), np.array([[False, True]]))
    >>> gathered.metrics().aupro
    1.0
    """

    def __init__(self) -> None:
        self._good: list[npt.NDArray[np.float32]] = []
        self._anomalous: list[npt.NDArray[np.float32]] = []
        self._areas: list[npt.NDArray[np.int32]] = []
        self._images = 0
        self._regions = 0

    def add(
        self, anomaly_map: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """Take the map of one more image.

        Parameters
        ----------
        anomaly_map
            (h, w) of float; NaN where the image was not inspected, which counts as never flagged:
            a defect there is a miss.
        mask
            (h, w) of bool, the anomalous pixels; None for a good image.

        Raises
        ------
        ParameterError
            If the shapes differ or the map holds infinite values.
        """
        scores = np.ascontiguousarray(anomaly_map, dtype=np.float32)
        if scores.ndim != 2 or (mask is not None and mask.shape != scores.shape):
            shape = None if mask is None else mask.shape
            raise ParameterError(f"the map has shape {scores.shape} and the mask {shape}")
        if np.isinf(scores).any():
            raise ParameterError("the anomaly map holds infinite values")
        missing = np.isnan(scores)
        if missing.any():
            scores = np.where(missing, np.float32(-np.inf), scores)
        self._images += 1
        if mask is None or not mask.any():
            self._good.append(scores.ravel().copy())
            return
        from scipy import ndimage

        # Eight neighbours, as in MVTec's own evaluation.
        labels, count = ndimage.label(mask, structure=np.ones((3, 3), dtype=np.int8))
        inside = mask.astype(np.bool_)
        regions = labels[inside]
        areas = np.bincount(regions, minlength=count + 1).astype(np.int32)
        self._good.append(scores[~inside])
        self._anomalous.append(scores[inside])
        self._areas.append(areas[regions])
        self._regions += count

    def metrics(self, fpr_limit: float = 0.3) -> PixelMetrics:
        """Return the figures over all images taken so far.

        Parameters
        ----------
        fpr_limit
            False-positive rate up to which the per-region overlap is integrated (MVTec AD: 0.3,
            MVTec AD 2: 0.05).

        Raises
        ------
        ParameterError
            If the limit is not in (0, 1].
        """
        if not 0 < fpr_limit <= 1:
            raise ParameterError(f"the false-positive limit is {fpr_limit}; give 0 < limit <= 1")
        total_good = sum(len(good) for good in self._good)
        if not self._anomalous or not total_good:
            return PixelMetrics(self._images, self._regions, fpr_limit, None, None, None, None)
        scores, pixels, overlap = self._anomalous_by_score()
        above, equal = self._good_counts(scores)
        before, after = above.astype(np.float64), (above + equal).astype(np.float64)
        overlap /= overlap[-1]  # sums of 1/area, which rounding leaves a little off
        false_positive = np.concatenate([[0.0], _interleave(before, after), [total_good]])
        false_positive /= total_good
        recall = np.cumsum(pixels) / pixels.sum()
        rate, pro = false_positive, _steps(overlap)
        precision = np.cumsum(pixels) / (np.cumsum(pixels) + after)
        return PixelMetrics(
            images=self._images,
            regions=self._regions,
            fpr_limit=fpr_limit,
            pixel_auroc=_area(rate, _steps(recall), 1.0),
            pixel_average_precision=float(np.sum(np.diff(recall, prepend=0.0) * precision)),
            aupro=_area(rate, pro, fpr_limit),
            pro=_thinned(rate, pro),
        )

    def _anomalous_by_score(
        self,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], FloatArray]:
        """Return the distinct scores of anomalous pixels, falling, and what each adds.

        That is (m,) scores, (m,) numbers of pixels, and (m,) the overlap reached, summed over
        regions.
        """
        scores = np.concatenate(self._anomalous)
        weights = 1.0 / np.concatenate(self._areas)
        order = np.argsort(-scores)
        scores, reached = scores[order], np.cumsum(weights[order])
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
        return scores[last], np.diff(last, prepend=-1), reached[last]

    def _good_counts(
        self, falling: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return how many good pixels lie above each of the `falling` scores, and at it."""
        rising = np.ascontiguousarray(falling[::-1])
        finite = rising[np.isfinite(rising)]
        low = float(finite[0]) if len(finite) else 0.0
        spread = float(finite[-1]) - low if len(finite) else 0.0
        scale = _CELLS / spread if spread > 0 else 0.0
        starts = np.searchsorted(_cells(rising, low, scale), np.arange(_CELLS + 2))
        kernel = _compiled_counts()
        threads = get_settings().threads or os.cpu_count() or 1
        below = np.zeros((threads, len(rising) + 1), dtype=np.int64)
        equal = np.zeros((threads, len(rising)), dtype=np.int64)

        def count(thread: int) -> None:
            for scores in self._good[thread::threads]:
                kernel(rising, starts, low, scale, scores, below[thread], equal[thread])

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(count, range(threads)))
        tied = equal.sum(axis=0)
        # `below[i]` lie between rising[i - 1] and rising[i]: what is above i are those after it.
        between = below.sum(axis=0)
        at_or_above = np.cumsum((between[1:] + tied)[::-1])
        return at_or_above - tied[::-1], tied[::-1]


def _interleave(first: FloatArray, second: FloatArray) -> FloatArray:
    return np.stack([first, second], axis=1).ravel()


def _steps(reached: FloatArray) -> FloatArray:
    """Return the heights that belong to before and after each score, from 0 to the last."""
    before = np.concatenate([[0.0], reached[:-1]])
    return np.concatenate([[0.0], _interleave(before, reached), reached[-1:]])


def _area(x: FloatArray, y: FloatArray, limit: float) -> float:
    """Return the area under a polyline up to `limit`, divided by it; `x` never falls."""
    inside = int(np.searchsorted(x, limit, side="right"))
    if inside < len(x):
        slope = (y[inside] - y[inside - 1]) / (x[inside] - x[inside - 1])
        end = y[inside - 1] + slope * (limit - x[inside - 1])
        x, y = np.append(x[:inside], limit), np.append(y[:inside], end)
    return float(np.trapezoid(y, x) / limit)


def _thinned(x: FloatArray, y: FloatArray, points: int = 1000) -> Curve:
    """Return at most about `points` points, evenly spread along the curve's length."""
    if len(x) > points:
        length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        wanted = np.linspace(0.0, length[-1], points)
        kept = np.unique(np.clip(np.searchsorted(length, wanted), 0, len(x) - 1))
        x, y = x[kept], y[kept]
    return Curve(x, y)


def _cells(scores: npt.NDArray[np.float32], low: float, scale: float) -> npt.NDArray[np.int64]:
    """Return the cell of a table each score falls in; it never falls as the score rises."""
    with np.errstate(invalid="ignore"):  # minus infinity times a scale of zero
        cells = (scores.astype(np.float64) - low) * scale
    return np.asarray(np.clip(np.nan_to_num(cells, neginf=0.0), 0, _CELLS), dtype=np.int64)


def _count_between(
    rising: npt.NDArray[np.float32],
    starts: npt.NDArray[np.int64],
    low: float,
    scale: float,
    scores: npt.NDArray[np.float32],
    below: npt.NDArray[np.int64],
    equal: npt.NDArray[np.int64],
) -> None:
    """Add to `below` and `equal` how many scores lie just below and at each of `rising`.

    A table of cells of equal width says where to look; a binary search does the rest. Sorting all
    good pixels instead takes longer where the processor has no quick sort.
    """
    last = len(starts) - 2
    for score in scores:
        place = (np.float64(score) - low) * scale
        if place >= last:
            cell = last
        elif place > 0:
            cell = int(place)
        else:  # minus infinity, and also what it gives times a scale of zero
            cell = 0
        first, end = starts[cell], starts[cell + 1]
        while first < end:
            middle = (first + end) // 2
            if rising[middle] < score:
                first = middle + 1
            else:
                end = middle
        if first < len(rising) and rising[first] == score:
            equal[first] += 1
        else:
            below[first] += 1


@cache
def _compiled_counts() -> Callable[..., None]:
    import numba  # half a second to import, and only needed where masks exist

    compiled: Callable[..., None] = numba.njit(cache=True, nogil=True)(_count_between)
    return compiled
