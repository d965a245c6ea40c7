"""Find images that differ from all others in score or appearance, for a person to check."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchbank.memory.calibration import conformal_threshold

# At most this share of the scores can be outliers; it is excluded from the estimate of the scale,
# so that outliers do not hide one another.
_LARGEST_SHARE = 0.1
# How often scores with an exponential tail raise either alarm. Scores of good parts have a lighter
# tail and raise it less often.
_FAR_RATE = 0.1
_APART_RATE = 0.05
# The fewest scores from which the tail's scale can be estimated, and the fewest for any finding.
_FEWEST_FOR_TAIL = 10
_FEWEST = 5
# How many times the tail's scale an extreme score is above the median. Measured with defects mixed
# in: docs/reference-images.md.
_EXTREME = 3.5
# A few images are reported as setting the threshold if they raise it by more than this share, and
# score above the others by more than this many standard deviations. Measured:
# docs/reference-images.md.
_RAISED_SHARE = 1 / 8
_RAISED_DEVIATIONS = 2.0
# Up to this many similar images (and this share of all) do not hide one another.
_LARGEST_GROUP = 3
_GROUP_SHARE = 0.25
# How many times farther from the others a secluded image is. Images of good parts reach 1.7.
_SECLUDED_RATIO = 2.0
# Distances held in memory at once.
_DISTANCES_AT_ONCE = 1 << 22


def outlying(scores: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the indices of scores far above the rest, highest first.

    The scores above the median are assumed to have an exponential tail. Its mean s is estimated
    from m of the n scores, without the highest tenth of all (type II censoring). Allowing for the
    uncertainty of s, two things are improbable:

    - an excess over the median as large as that of a score, among the n / 2 scores above it;
    - a gap between the k-th highest score and the next: in such a tail, k times that gap has the
      mean s for every k. This finds a few similar outliers together.

    Scores that are not finite are ignored. For fewer than ten, nothing is returned.

    References
    ----------
    A. Rényi, "On the theory of order statistics", Acta Mathematica Hungarica 4, 1953;
    J. F. Lawless, "Statistical Models and Methods for Lifetime Data", 2003, chapter 4.
    """
    values, where, most = _ranked(scores)
    if len(where) < _FEWEST_FOR_TAIL:
        return where[:0]
    above = len(where) // 2
    used = above - most
    excess, scale = _tail(values[where], most)
    if not scale > 0.0:
        # Most images score the same, so any other score would be infinitely far.
        return where[:0]
    gaps = np.arange(1, most + 1) * (excess[:most] - excess[1 : most + 1])
    far = int(np.count_nonzero(excess[:most] > scale * _critical(_FAR_RATE / above, used)))
    widest = int(gaps.argmax())
    apart = widest + 1 if gaps[widest] > scale * _critical(_APART_RATE / most, used) else 0
    return where[: max(far, apart)]


def extreme(scores: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the indices of scores 3.5 scales of the tail above the median, highest first.

    The tail and its scale are those of `outlying`, without its allowance for chance: among scores
    with that tail one in 66 is extreme. So this is for looking closely, where many bad images are
    feared that each are not improbable. At most a tenth is returned.

    Scores that are not finite are ignored. For fewer than ten, nothing is returned.
    """
    values, where, most = _ranked(scores)
    if len(where) < _FEWEST_FOR_TAIL:
        return where[:0]
    excess, scale = _tail(values[where], most)
    if not scale > 0.0:
        return where[:0]
    return where[: np.count_nonzero(excess[:most] > _EXTREME * scale)]


def setting_threshold(scores: npt.ArrayLike, false_alarm_rate: float) -> npt.NDArray[np.int64]:
    """Return the indices of the few scores that alone set the threshold, highest first.

    The k highest scores, at most a tenth, do so if without them the threshold would be lower by
    more than an eighth of it, and the others score lower by more than two of their standard
    deviations. This is not a significance test: it measures the effect of the images, not how
    improbable they are, and so works for small sets too.

    Scores that are not finite are ignored. For fewer than five, nothing is returned.
    """
    values, where, most = _ranked(scores)
    if len(where) < _FEWEST:
        return where[:0]
    ranked = values[where]
    threshold = conformal_threshold(ranked, false_alarm_rate).value
    for count in range(most, 0, -1):
        others = ranked[count:]
        lower = conformal_threshold(others, false_alarm_rate).value
        gap = ranked[count - 1] - others[0]
        raised = threshold - lower
        if raised > _RAISED_SHARE * lower and gap > _RAISED_DEVIATIONS * others.std(ddof=1):
            return where[:count]
    return where[:0]


def secluded(embeddings: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return the indices of the few embeddings far from all others, farthest first.

    Similar bad images lower one another's scores. So this uses the distance to the third nearest
    other embedding, which up to three similar images cannot make small: for secluded embeddings it
    is more than twice that of any other.

    Parameters
    ----------
    embeddings
        float (n, e).
    """
    most = min(_LARGEST_GROUP, int(_GROUP_SHARE * len(embeddings)))
    if most < 1:
        return np.empty(0, np.int64)
    distances = _to_nearest(embeddings, _LARGEST_GROUP)
    where = np.argsort(-distances, kind="stable")
    ranked = distances[where]
    for count in range(most, 0, -1):
        if ranked[count - 1] > _SECLUDED_RATIO * ranked[count] > 0.0:
            return where[:count]
    return where[:0]


def _to_nearest(embeddings: npt.NDArray[np.floating], rank: int) -> npt.NDArray[np.float64]:
    """Return each embedding's distance to its nearest other, or to the one of a higher rank."""
    rows = np.asarray(embeddings, np.float32)
    squares = (rows * rows).sum(axis=1)
    squared = np.empty(len(rows), np.float64)
    step = max(1, _DISTANCES_AT_ONCE // len(rows))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        table = squares[part, None] + squares - 2 * (rows[part] @ rows.T)
        # An embedding's distance to itself must be the smallest despite rounding.
        table[np.arange(len(table)), np.arange(start, start + len(table))] = -np.inf
        squared[part] = np.partition(table, rank, axis=1)[:, rank]
    return np.sqrt(np.maximum(squared, 0.0))


def _ranked(
    scores: npt.ArrayLike,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], int]:
    """Return the scores, the indices of finite ones, highest first, and the most outliers."""
    values = np.asarray(scores, dtype=np.float64)
    where = np.flatnonzero(np.isfinite(values))
    where = where[np.argsort(-values[where], kind="stable")]
    return values, where, int(np.ceil(_LARGEST_SHARE * len(where)))


def _tail(ranked: npt.NDArray[np.float64], most: int) -> tuple[npt.NDArray[np.float64], float]:
    """Return the excess of scores, highest first, over their median, and its mean in the tail.

    The `most` highest are only known to be at least as high as the next (type II censoring).
    """
    above = len(ranked) // 2
    excess = ranked - np.median(ranked)
    return excess, float((excess[most:above].sum() + most * excess[most]) / (above - most))


def _critical(probability: float, used: int) -> float:
    """Return the ratio to its estimated mean that an exponential variable exceeds this rarely."""
    return float(used * (probability ** (-1.0 / used) - 1.0))
