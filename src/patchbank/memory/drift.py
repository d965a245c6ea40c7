"""Detect that what is inspected has changed, with a guarantee on how often that is said in error.

Every image gives a few numbers: its score, its brightness. Each number is turned into its rank
among those of the references and of all images before. As long as images come in random order from
the same world (they are exchangeable), such ranks are independent and uniform from 0 to 1, exactly,
however few references there are. A change is evidence against that, in the form of a bet: an
e-detector. The p-values of inspections would not do: they compare with the references alone, and
the accidents of these are the same for every image.

References
----------
V. Vovk, "Testing Randomness Online", Statistical Science 36(4), 2021 (ranks and bets);
J. Shin, A. Ramdas, A. Rinaldo, "E-detectors: A Nonparametric Framework for Sequential Change
Detection", New England Journal of Statistics in Data Science 2(2), 2024 (the guarantee);
A. N. Shiryaev, "On Optimum Methods in Quickest Detection Problems", 1963; S. W. Roberts, 1966.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError

#: If nothing changes, one false alarm in so many images on average, at most.
DEFAULT_IMAGES_PER_FALSE_ALARM = 10_000

# Shifts of a bet, in standard deviations: a rank is the more probable, the higher (or lower) it is.
_SHIFTS = (-1.5, -0.75, 0.75, 1.5)
# Spreads of a bet: ranks at both ends, or in the middle, are the more probable.
_SPREADS = (0.4, 2.0)
# No image multiplies the evidence by more, or by less. So a defect now and then is no change, and
# an ordinary image in between does not undo the evidence of a change.
_MOST, _LEAST = 3.0, 0.1


@dataclass(frozen=True)
class Change:
    """An alarm.

    Attributes
    ----------
    begin
        The image from which on the evidence grew: about where the change began.
    alarm
        The image at which there was enough of it.
    evidence
        By the name of each series, how much of the evidence it gave, as a share.
    """

    begin: int
    alarm: int
    evidence: dict[str, float]


@dataclass(frozen=True, eq=False)
class Detection:
    """What a detector said of a sequence of n images.

    Attributes
    ----------
    changes
        The alarms, in their order. A change that lasts is found again and again.
    log_evidence
        float64 (n,): the natural logarithm of the evidence after each image. It begins anew after
        an alarm.
    log_limit
        There is an alarm when the logarithm reaches this.
    """

    changes: tuple[Change, ...]
    log_evidence: npt.NDArray[np.float64]
    log_limit: float


def detect_changes(
    series: Mapping[str, npt.NDArray[np.float64]],
    references: Mapping[str, npt.NDArray[np.float64]],
    *,
    images_per_false_alarm: float = DEFAULT_IMAGES_PER_FALSE_ALARM,
    seed: int = 0,
) -> Detection:
    """Return where a sequence of images changed.

    The evidence R of a bet follows ``R = (1 + R) f(u)``, u the rank of the image's number and f a
    probability density on 0 to 1: the evidence of a change at this image or any before
    (Shiryaev-Roberts). There is an alarm when the mean of R over all bets and series reaches
    `images_per_false_alarm`. Without a change the mean minus the count of images is a martingale,
    so that on average at least that many images pass before the first alarm, and an alarm within n
    images has a probability of at most n / `images_per_false_alarm`.

    After an alarm the evidence begins at 0, and the images since the change began are no longer
    compared with: while the change lasts, there are more alarms.

    Parameters
    ----------
    series
        By name, float64 (n,): the numbers of the images in their order; NaN where not known.
    references
        By the same names, float64 (any,): what to compare the first images with; may be empty.
    seed
        Of the ranks of equal numbers, which are drawn.

    Raises
    ------
    ParameterError
        If `images_per_false_alarm` is below 1 or infinite.
    """
    if not 1 <= images_per_false_alarm < math.inf:
        raise ParameterError(
            f"images per false alarm {images_per_false_alarm:g}: must be at least 1, such as 10000"
        )
    names = [name for name, values in series.items() if not np.isnan(values).all()]
    if not names:
        count = len(next(iter(series.values()))) if series else 0
        return Detection((), np.full(count, -np.inf), math.log(images_per_false_alarm))
    values = np.stack([series[name] for name in names], axis=1)
    known = ~np.isnan(values)
    ranking = [_Ranking(references[name]) for name in names]
    draws = np.random.default_rng(seed).random(values.shape)
    bets = len(_SHIFTS) + len(_SPREADS)
    limit = images_per_false_alarm * len(names) * bets
    evidence = np.zeros((len(names), bets))
    # As in Page's CUSUM: the product of the bets since it was last below 1 tells where it began.
    product = np.ones_like(evidence)
    begins = np.zeros(evidence.shape, np.int64)
    totals = np.empty(len(values))
    all_ranks = np.full(values.shape, np.nan)
    changes = []
    counted = 0
    for image, (row, is_known) in enumerate(zip(values, known, strict=True)):
        ranks = np.array(
            [
                part.rank(value, draw) if there else 0.5
                for part, value, draw, there in zip(
                    ranking, row.tolist(), draws[image].tolist(), is_known, strict=True
                )
            ]
        )
        all_ranks[image, is_known] = ranks[is_known]
        odds = _odds(ranks)
        np.copyto(evidence, (1 + evidence) * odds, where=is_known[:, np.newaxis])
        begins = np.where(product <= 1, image, begins)
        np.copyto(product, np.maximum(product, 1) * odds, where=is_known[:, np.newaxis])
        total = float(evidence.sum())
        totals[image] = total
        if total >= limit:
            series_number, bet = divmod(int(evidence.argmax()), bets)
            begin = max(counted, int(begins[series_number, bet]))
            if bet < len(_SHIFTS):
                begin = counted + _shift_began(all_ranks[counted : image + 1, series_number])
            shares = evidence.sum(axis=1) / total
            changes.append(Change(begin, image, dict(zip(names, shares.tolist(), strict=True))))
            for part, column, there in zip(ranking, values.T, known.T, strict=True):
                part.remove(column[begin : image + 1][there[begin : image + 1]].tolist())
            evidence[:], product[:] = 0, 1
            counted = image + 1
    with np.errstate(divide="ignore"):
        log_evidence = np.log(totals / (len(names) * bets))
    return Detection(tuple(changes), log_evidence, math.log(images_per_false_alarm))


def _shift_began(ranks: npt.NDArray[np.float64]) -> int:
    """Return from which rank on a shift of the mean is most likely; before, it is as expected.

    The generalised likelihood ratio of normal scores, whose mean is 0 without a change.
    """
    from scipy.special import ndtri

    # Equal ranks at the very ends have no normal score.
    scores = np.nan_to_num(ndtri(np.clip(ranks, 1e-4, 1 - 1e-4)))
    counts = np.arange(len(scores), 0, -1)
    sums = np.cumsum(scores[::-1])[::-1]
    return int((sums**2 / counts).argmax())


class _Ranking:
    """The numbers to compare with, sorted."""

    def __init__(self, numbers: npt.NDArray[np.float64]) -> None:
        self._sorted: list[float] = np.sort(numbers[~np.isnan(numbers)]).tolist()

    def rank(self, number: float, draw: float) -> float:
        """Return the rank of a number, 0 to 1, among those before, and count it in."""
        low, high = bisect_left(self._sorted, number), bisect_right(self._sorted, number)
        rank = (low + draw * (high - low + 1)) / (len(self._sorted) + 1)
        insort(self._sorted, number)
        return rank

    def remove(self, numbers: Sequence[float]) -> None:
        for number in numbers:
            del self._sorted[bisect_left(self._sorted, number)]


def _odds(ranks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the densities of all bets, (n, bets), at ranks (n,)."""
    table = _table()
    return table[(ranks * len(table)).astype(np.int64)]


@cache
def _table() -> npt.NDArray[np.float64]:
    """Return the densities of the bets in equal steps of the rank, each of mean 1."""
    from scipy.special import ndtri

    steps = 20_000
    z = ndtri((np.arange(steps) + 0.5) / steps)[:, np.newaxis]
    shifts, spreads = np.array(_SHIFTS), np.array(_SPREADS)
    ratios = np.concatenate(
        [
            np.exp(shifts * z - shifts**2 / 2),
            np.exp(z**2 / 2 - z**2 / (2 * spreads**2)) / spreads,
        ],
        axis=1,
    )
    bounded = np.clip(ratios, _LEAST, _MOST)
    densities: npt.NDArray[np.float64] = bounded / bounded.mean(axis=0)
    return densities
