"""Images that stand apart from all others by their scores or their looks, for a person to see."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchbank.memory.calibration import conformal_threshold

# At most this share of the scores is outlying; that many are left out of the scale, so that
# outliers do not hide one another.
_LARGEST_SHARE = 0.1
# How often scores of an exponential tail raise either alarm. Those of good images have a lighter
# one, so that they do so less often.
_FAR_RATE = 0.1
_APART_RATE = 0.05
# Of fewer scores the tail's scale cannot be told, and of fewer still nothing.
_FEWEST_FOR_TAIL = 10
_FEWEST = 5
# By more than this share of itself, and by so many standard deviations of the other scores, a few
# images must raise the threshold to be said to set it. Measured: see docs/reference-images.md.
_RAISED_SHARE = 1 / 8
_RAISED_DEVIATIONS = 2.0
# Images that look alike, so many at most, do not hide one another; a quarter of all at most.
_LARGEST_GROUP = 3
_GROUP_SHARE = 0.25
# So many times farther from the others than any of these is. Good images reach 1.7.
_SECLUDED_RATIO = 2.0
# Distances at hand at once.
_DISTANCES_AT_ONCE = 1 << 22


def outlying(scores: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return where the scores are that stand far above the rest, highest first.

    The scores above the median are taken to have an exponential tail. Its mean s is estimated from
    m of the n scores, without the highest tenth of all (type II censoring). With what s itself is
    uncertain by, two things are then improbable:

    - an excess over the median as large as that of some score, of the n / 2 there are;
    - a gap between the k-th highest score and the next: in such a tail k times that gap has the
      mean s, whatever k. So a few that resemble one another are found together.

    Scores that are not finite are left out. Fewer than ten say nothing.

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
    excess = values[where] - np.median(values[where])
    scale = (excess[most:above].sum() + most * excess[most]) / used
    if not scale > 0.0:
        # Most images score the same, so that anything else would be infinitely far.
        return where[:0]
    gaps = np.arange(1, most + 1) * (excess[:most] - excess[1 : most + 1])
    far = int(np.count_nonzero(excess[:most] > scale * _critical(_FAR_RATE / above, used)))
    widest = int(gaps.argmax())
    apart = widest + 1 if gaps[widest] > scale * _critical(_APART_RATE / most, used) else 0
    return where[: max(far, apart)]


def setting_threshold(scores: npt.ArrayLike, false_alarm_rate: float) -> npt.NDArray[np.int64]:
    """Return where the few scores are that set the threshold by themselves, highest first.

    The k highest, a tenth at most, do so when the others alone would have a threshold lower by
    more than an eighth of it, and score lower by more than two of their standard deviations. This
    is no test of significance: it asks what the images do, not how improbable they are, and so
    speaks of small sets too.

    Scores that are not finite are left out. Fewer than five say nothing.
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
    """Return where the few embeddings are that lie far from all others, the farthest first.

    Bad images that resemble one another vouch for one another in their scores. So what counts is
    the distance to the third nearest other embedding, which up to three of a kind cannot make
    small: that of the secluded is more than twice that of any image that is not.

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
    """Return how far each embedding is from the nearest other one of a rank, 1 for the first."""
    rows = np.asarray(embeddings, np.float32)
    squares = (rows * rows).sum(axis=1)
    found = np.empty(len(rows), np.float64)
    step = max(1, _DISTANCES_AT_ONCE // len(rows))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        table = squares[part, None] + squares - 2 * (rows[part] @ rows.T)
        # Its distance to itself must be the smallest, rounding or not.
        table[np.arange(len(table)), np.arange(start, start + len(table))] = -np.inf
        found[part] = np.partition(table, rank, axis=1)[:, rank]
    return np.sqrt(np.maximum(found, 0.0))


def _ranked(
    scores: npt.ArrayLike,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], int]:
    """Return the scores, where the finite ones are, highest first, and how many may be outlying."""
    values = np.asarray(scores, dtype=np.float64)
    where = np.flatnonzero(np.isfinite(values))
    where = where[np.argsort(-values[where], kind="stable")]
    return values, where, int(np.ceil(_LARGEST_SHARE * len(where)))


def _critical(probability: float, used: int) -> float:
    """Return what an exponential variable over its estimated mean exceeds so seldom."""
    return float(used * (probability ** (-1.0 / used) - 1.0))
