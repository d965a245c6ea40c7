"""Compute image scores from patch distances."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.memory.neighbours import NeighbourSource

ScoreMethod = Literal["max", "top8", "top1percent", "reweighted"]
PlainScoreMethod = Literal["max", "top8", "top1percent"]
SCORE_METHODS: tuple[ScoreMethod, ...] = get_args(ScoreMethod)

# Of 28 x 28 patches it is 1 %, which is best there (docs/evaluation.md).
_TOP = 8


def checked_score_method(method: str) -> ScoreMethod:
    """Return `method` if it is one of `SCORE_METHODS`, or raise `ParameterError`."""
    for known in SCORE_METHODS:
        if method == known:
            return known
    raise ParameterError(f"score method {method!r}: must be one of {', '.join(SCORE_METHODS)}")


def image_scores(
    distances: npt.NDArray[np.float32], method: PlainScoreMethod = "max"
) -> npt.NDArray[np.float64]:
    """Return the anomaly score of each image.

    Parameters
    ----------
    distances
        float32 (n, h, w): each patch's distance to the memory bank.
    method
        ``"max"``, the largest distance; ``"top1percent"``, the mean of the largest 1 % (at least
        one); or ``"top8"``, the same but of at most eight: a small defect in a large image has few
        patches, and more would bury it. The paper's re-weighted score also needs the features:
        `reweighted_score`.
    """
    if distances.ndim != 3 or 0 in distances.shape:
        raise ParameterError(
            f"patch distances: expected shape (images, height, width), got {distances.shape}"
        )
    flat = distances.reshape(len(distances), -1)
    if method == "max":
        return np.asarray(flat.max(axis=1), dtype=np.float64)
    if method in ("top8", "top1percent"):
        count = max(1, round(flat.shape[1] / 100))
        if method == "top8":
            count = min(count, _TOP)
        largest = np.partition(flat, flat.shape[1] - count, axis=1)[:, -count:]
        return np.asarray(largest.mean(axis=1, dtype=np.float64))
    raise ParameterError(f"score method {method!r}: must be max, top8 or top1percent here")


def image_score(distances: npt.NDArray[np.float32], method: PlainScoreMethod = "max") -> float:
    """Return the anomaly score of one image from its (h, w) map; see `image_scores`."""
    return float(image_scores(distances[np.newaxis], method)[0])


def reweighted_score(
    features: npt.NDArray[np.float32],
    distances: npt.NDArray[np.float32],
    nearest: npt.NDArray[np.int64],
    index: NeighbourSource,
    *,
    neighbours: int = 9,
    exclude_group: int | None = None,
) -> float:
    """Return the paper's re-weighted score of one image.

    The most anomalous patch x has distance s to its nearest bank row m. The score is
    ``(1 - exp(s) / sum of exp(|x - b|))  s`` with b over the `neighbours` bank rows nearest to m,
    including m: a patch near a *rare* row of the bank counts more.

    Parameters
    ----------
    features
        float32 (h, w, d).
    distances
        float32 (h, w): distances to the nearest bank row.
    nearest
        int64 (h, w): the nearest bank rows.
    index
        The memory bank.
    neighbours
        Number of rows around m; fewer if the bank has fewer.
    exclude_group
        Group of bank rows to ignore.

    References
    ----------
    K. Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, equation 7.
    """
    if not features.shape[:2] == distances.shape == nearest.shape:
        raise ParameterError(
            f"re-weighted score: features, distances and nearest rows differ in height or "
            f"width: {features.shape[:2]}, {distances.shape}, {nearest.shape}"
        )
    worst = np.unravel_index(int(distances.argmax()), distances.shape)
    score = float(distances[worst])
    available = len(index)
    if exclude_group is not None and index.groups is not None:
        available -= int(np.count_nonzero(index.groups == exclude_group))
    if available < 1:
        # All rows are excluded: there are no neighbours to weight by.
        return score
    around = index.nearest(
        index.rows(nearest[worst].reshape(1)),
        min(neighbours, available),
        exclude_group=exclude_group,
    ).indices[0]
    to_around = np.linalg.norm(
        index.rows(around).astype(np.float64) - features[worst].astype(np.float64), axis=1
    )
    # Exponents are relative to s, because distances of a few hundred would overflow.
    share = 1.0 / float(np.exp(np.minimum(to_around - score, 700.0)).sum())
    return (1.0 - min(1.0, share)) * score
