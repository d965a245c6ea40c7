"""Scores that stand far above all others, for a person to look at their images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# At most this share of the scores is outlying; that many are left out of the scale, so that
# outliers do not hide one another.
_LARGEST_SHARE = 0.1
# How often scores of an exponential tail raise either alarm. Those of good images have a lighter
# one, so that they do so less often.
_FAR_RATE = 0.1
_APART_RATE = 0.05


def outlying(scores: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return where the scores are that stand far above the rest, highest first.

    The scores above the median are taken to have an exponential tail. Its mean s is estimated from
    m of the n scores, without the highest tenth of all (type II censoring). With what s itself is
    uncertain by, two things are then improbable:

    - an excess over the median as large as that of some score, of the n / 2 there are;
    - a gap between the k-th highest score and the next: in such a tail k times that gap has the
      mean s, whatever k. So a few that resemble one another are found together.

    Scores that are not finite are left out. Too few, below about ten, say nothing.

    References
    ----------
    A. Rényi, "On the theory of order statistics", Acta Mathematica Hungarica 4, 1953;
    J. F. Lawless, "Statistical Models and Methods for Lifetime Data", 2003, chapter 4.
    """
    values = np.asarray(scores, dtype=np.float64)
    where = np.flatnonzero(np.isfinite(values))
    where = where[np.argsort(-values[where], kind="stable")]
    count = len(where)
    most = int(np.ceil(_LARGEST_SHARE * count))
    above = count // 2
    used = above - most
    if used < 1:
        return where[:0]
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


def _critical(probability: float, used: int) -> float:
    """Return what an exponential variable over its estimated mean exceeds so seldom."""
    return float(used * (probability ** (-1.0 / used) - 1.0))
