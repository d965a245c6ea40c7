"""Compiled loops over the pixels of anomaly maps and over the tables that count them.

Importing this module imports Numba, which takes half a second.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from patchbank.compiled import compiled
from patchbank.metrics._plain_pixels import PAGE, PAGES

_LOWER = np.uint32(PAGE - 1)


@compiled
def _rank(bits: Any) -> Any:
    """Return the rank of a float32, given as bits, among all float32 values in ascending order."""
    signed = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    return np.uint32(signed) ^ np.uint32(0x80000000)


@compiled
def count_pages(bits: Any, pages: Any) -> None:
    """Add the number of values in each page to ``pages[page]``."""
    for value in bits:
        pages[_rank(value) >> 16] += 1


@compiled
def tally(
    bits: Any, weights: Any, slots: Any, counts: Any, weighed: Any, loose: Any, loose_weights: Any
) -> None:
    """Count values and sum their weights in the tables; list those whose page has no table.

    ``slots[page]`` is the row of a page in `counts` and `weighed`, or -1. `loose` and
    `loose_weights` have room for exactly the values whose page has no table. If `weights` is empty,
    values are only counted.
    """
    written = 0
    for index in range(len(bits)):
        rank = _rank(bits[index])
        slot, position = slots[rank >> 16], rank & _LOWER
        if slot >= 0:
            counts[slot, position] += 1
            if len(weights):
                weighed[slot, position] += weights[index]
        else:
            loose[written] = rank
            if len(weights):
                loose_weights[written] = weights[index]
            written += 1


@compiled
def _open_page(
    page: int, slots: Any, table: Any, loose: Any, end: int, values: Any, loose_values: Any
) -> int:
    """Copy a page to `values`; return the start of its loose values, which stop at `end`."""
    slot = slots[page]
    if slot >= 0:
        for position in range(PAGE):
            values[position] = table[slot, position]
    else:
        values[:] = 0
    while end > 0 and loose[end - 1] >> 16 == page:
        end -= 1
        values[loose[end] & _LOWER] += loose_values[end] if len(loose_values) else 1
    return end


@compiled
def walk(good: Any, anomalous: Any, totals: Any, limit: float, curve: Any) -> Any:
    """Return ROC area, average precision, PRO area and the number of curve points.

    Every score is a threshold, from high to low. Pixels with equal scores pass it together, so that
    ties become straight lines.

    Parameters
    ----------
    good, anomalous
        ``(slots, counts, weighed, loose, loose_weights)`` from `tally`, with `loose` sorted.
    totals
        The numbers of good and of anomalous pixels, and the sum of weights.
    curve
        (2, points): receives the PRO curve, one point for each equal step of its length. The length
        is 2 (the sum of both coordinates), since the curve rises from (0, 0) to (1, 1).
    """
    good_slots, good_counts, _, good_loose, _ = good
    slots, counts, weighed, loose, loose_weights = anomalous
    all_good, all_anomalous, all_overlap = totals
    none = np.empty(0)
    page_good, page_anomalous, page_overlap = np.empty(PAGE), np.empty(PAGE), np.empty(PAGE)
    good_end, end = len(good_loose), len(loose)
    step = 2.0 / (curve.shape[1] - 2)
    points, drawn = 1, 0.0
    curve[:, 0] = 0.0
    roc_area = precision_area = pro_area = 0.0
    seen_good = seen_anomalous = seen_overlap = 0.0
    rate = recall = pro = 0.0
    for page in range(PAGES - 1, -1, -1):
        has_good = good_slots[page] >= 0 or (good_end and good_loose[good_end - 1] >> 16 == page)
        has_anomalous = slots[page] >= 0 or (end and loose[end - 1] >> 16 == page)
        if not has_good and not has_anomalous:
            continue
        good_end = _open_page(page, good_slots, good_counts, good_loose, good_end, page_good, none)
        _open_page(page, slots, weighed, loose, end, page_overlap, loose_weights)
        end = _open_page(page, slots, counts, loose, end, page_anomalous, none)
        for position in range(PAGE - 1, -1, -1):
            if page_good[position] == 0 and page_anomalous[position] == 0:
                continue
            seen_good += page_good[position]
            seen_anomalous += page_anomalous[position]
            seen_overlap += page_overlap[position]
            next_rate = seen_good / all_good
            next_recall = seen_anomalous / all_anomalous
            # Rounding leaves the sum of 1/area slightly off; it must end at exactly 1.
            next_pro = seen_overlap / all_overlap if seen_anomalous < all_anomalous else 1.0
            width = next_rate - rate
            roc_area += width * (recall + next_recall) / 2
            precision_area += (next_recall - recall) * seen_anomalous / (seen_anomalous + seen_good)
            if next_rate <= limit:
                pro_area += width * (pro + next_pro) / 2
            elif rate < limit:
                at_limit = pro + (next_pro - pro) * (limit - rate) / width
                pro_area += (limit - rate) * (pro + at_limit) / 2
            rate, recall, pro = next_rate, next_recall, next_pro
            if rate + pro >= drawn + step:
                curve[0, points], curve[1, points] = rate, pro
                points += 1
                drawn += step * ((rate + pro - drawn) // step)
    if curve[0, points - 1] < 1.0 or curve[1, points - 1] < 1.0:
        curve[:, points] = 1.0
        points += 1
    return roc_area, precision_area, pro_area / limit, points
