"""How well anomaly maps find masked regions, exactly and over all thresholds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.metrics.curve import Curve, FloatArray
from patchbank.settings import usable_cores

# Good pixels sorted at once by a thread: 16 MB as float32.
_BLOCK = 1 << 22


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
        merge = _compiled_merge()
        threads = usable_cores()
        above = np.zeros((threads, len(falling)), dtype=np.int64)
        equal = np.zeros((threads, len(falling)), dtype=np.int64)
        blocks = self._good_blocks()

        def count(thread: int) -> None:
            for block in blocks[thread::threads]:
                block.sort()  # without the interpreter's lock, as the merge
                merge(falling, block, above[thread], equal[thread])

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(count, range(threads)))
        return above.sum(axis=0), equal.sum(axis=0)

    def _good_blocks(self) -> list[npt.NDArray[np.float32]]:
        """Join the good pixels of small images, since every block costs a pass over all scores."""
        blocks: list[npt.NDArray[np.float32]] = []
        while self._good:  # emptied as it goes, so that no pixel is held twice for long
            group = [self._good.pop()]
            size = len(group[0])
            while self._good and size < _BLOCK:
                group.append(self._good.pop())
                size += len(group[-1])
            blocks.append(np.concatenate(group) if len(group) > 1 else group[0])
        self._good = blocks
        return blocks


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


def _merge_counts(
    falling: npt.NDArray[np.float32],
    rising: npt.NDArray[np.float32],
    above: npt.NDArray[np.int64],
    equal: npt.NDArray[np.int64],
) -> None:
    """Add to `above` and `equal` how many of `rising` lie above and at each of `falling`.

    Two sorted lists are walked side by side. Looking each pixel up in a table needs no sorting, but
    waits for memory three times as long.
    """
    position = len(rising)
    for index in range(len(falling)):
        score = falling[index]
        while position > 0 and rising[position - 1] > score:
            position -= 1
        above[index] += len(rising) - position
        # The falling scores are distinct, so what is equal to this one is above the next.
        tied = position
        while tied > 0 and rising[tied - 1] == score:
            tied -= 1
        equal[index] += position - tied
        position = tied


@cache
def _compiled_merge() -> Callable[..., None]:
    import numba  # half a second to import, and only needed where masks exist

    compiled: Callable[..., None] = numba.njit(cache=True, nogil=True)(_merge_counts)
    return compiled
