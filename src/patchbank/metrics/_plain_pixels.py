"""NumPy versions of `_pixel_kernels`, for machines that cannot compile kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# A page contains all values with the same upper 16 bits.
PAGE = PAGES = 1 << 16
_LOWER = np.uint32(PAGE - 1)


def _ranks(bits: npt.NDArray[np.int32]) -> npt.NDArray[np.uint32]:
    """Return the ranks of float32 values, given as bits, among all values in ascending order."""
    signed = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    return signed.view(np.uint32) ^ np.uint32(0x80000000)


def count_pages(bits: npt.NDArray[np.int32], pages: npt.NDArray[np.int64]) -> None:
    """Add the number of values in each page to ``pages[page]``."""
    pages += np.bincount(_ranks(bits) >> np.uint32(16), minlength=PAGES)


def tally(
    bits: Any, weights: Any, slots: Any, counts: Any, weighed: Any, loose: Any, loose_weights: Any
) -> None:
    """Count values and sum their weights; see the compiled version."""
    ranks = _ranks(bits)
    slot = slots[ranks >> np.uint32(16)]
    inside = slot >= 0
    target = slot[inside], ranks[inside] & _LOWER
    np.add.at(counts, target, counts.dtype.type(1))
    loose[:] = ranks[~inside]
    if len(weights):
        np.add.at(weighed, target, weights[inside])
        loose_weights[:] = weights[~inside]


def _values(
    slots: Any, table: Any, loose: Any, loose_values: Any
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the ranks that have values, and the values; ranks may repeat."""
    pages = np.flatnonzero(slots >= 0)
    tables = table[slots[pages]]
    row, position = np.nonzero(tables)
    ranks = np.concatenate([(pages[row] << 16) + position, loose.astype(np.int64)])
    return ranks, np.concatenate([tables[row, position], loose_values]).astype(np.float64)


def walk(
    good: Any, anomalous: Any, totals: Any, limit: float, curve: Any
) -> tuple[float, float, float, int]:
    """Return ROC area, average precision, PRO area and points; see the compiled version."""
    good_slots, good_counts, _, good_loose, _ = good
    slots, counts, weighed, loose, loose_weights = anomalous
    all_good, all_anomalous, all_overlap = totals
    found = [
        _values(good_slots, good_counts, good_loose, np.ones(len(good_loose))),
        _values(slots, counts, loose, np.ones(len(loose))),
        _values(slots, weighed, loose, loose_weights),
    ]
    ranks = np.unique(np.concatenate([found[0][0], found[1][0]]))[::-1]
    # From high to low, starting at zero.
    seen_good, seen_anomalous, seen_overlap = (
        np.concatenate([[0.0], np.cumsum(_summed(ranks, *pair))]) for pair in found
    )
    rate, recall = seen_good / all_good, seen_anomalous / all_anomalous
    # Rounding leaves the sum of 1/area slightly off; it must end at exactly 1.
    pro = np.where(seen_anomalous < all_anomalous, seen_overlap / all_overlap, 1.0)
    width = np.diff(rate)
    roc_area = float(np.sum(width * (recall[:-1] + recall[1:]) / 2))
    precision = seen_anomalous[1:] / (seen_anomalous[1:] + seen_good[1:])
    precision_area = float(np.sum(np.diff(recall) * precision))
    inside = rate[1:] <= limit
    pro_area = float(np.sum((width * (pro[:-1] + pro[1:]) / 2)[inside]))
    across = np.flatnonzero(~inside & (rate[:-1] < limit))
    if len(across):
        at = int(across[0])
        at_limit = pro[at] + (pro[at + 1] - pro[at]) * (limit - rate[at]) / width[at]
        pro_area += float((limit - rate[at]) * (pro[at] + at_limit) / 2)
    return roc_area, precision_area, pro_area / limit, _draw(rate, pro, curve)


def _summed(ranks: Any, present: Any, values: Any) -> npt.NDArray[np.float64]:
    """Return the sum of values at each of the descending `ranks`."""
    positions = len(ranks) - 1 - np.searchsorted(ranks[::-1], present)
    return np.bincount(positions, weights=values, minlength=len(ranks)).astype(np.float64)


def _draw(rate: Any, pro: Any, curve: Any) -> int:
    """Write the first point of each equal step of the curve's length; return their number."""
    step = 2.0 / (curve.shape[1] - 2)
    length = (rate + pro) // step
    chosen = np.concatenate([[0], 1 + np.flatnonzero(np.diff(np.maximum.accumulate(length)) > 0)])
    points = len(chosen)
    curve[:, :points] = rate[chosen], pro[chosen]
    if curve[0, points - 1] < 1.0 or curve[1, points - 1] < 1.0:
        curve[:, points] = 1.0
        points += 1
    return points
