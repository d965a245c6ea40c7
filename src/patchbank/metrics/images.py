"""How well image scores separate good from anomalous images, and the error rates at a threshold.

Thresholds for operation are not chosen here; `rates_at` assesses one that was chosen from images of
good parts alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.metrics.curve import Curve, FloatArray


@dataclass(frozen=True, slots=True)
class ImageMetrics:
    """How well image scores separate; None where both classes are needed and one is missing."""

    good: int
    anomalous: int
    image_auroc: float | None
    average_precision: float | None
    f1_max: float | None
    f1_max_threshold: float | None
    roc: Curve | None
    precision_recall: Curve | None


# For a test set without labels.
NO_IMAGE_METRICS = ImageMetrics(0, 0, None, None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class Proportion:
    """An observed share, with the Clopper-Pearson interval of the true share."""

    count: int
    total: int
    low: float
    high: float
    confidence: float

    @property
    def value(self) -> float:
        """The observed share, 0 to 1."""
        return self.count / self.total


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates at one threshold; None for a class without images.

    `false_alarm_rate` is the share of good images that fail, `recall` that of anomalous images.
    """

    threshold: float
    false_alarm_rate: Proportion | None
    recall: Proportion | None


def image_metrics(anomalous: npt.ArrayLike, scores: npt.ArrayLike) -> ImageMetrics:
    """Return how well scores separate good from anomalous images.

    Parameters
    ----------
    anomalous
        (n,) of bool: whether each image is anomalous.
    scores
        (n,) of float: its anomaly score, higher is more anomalous.
    """
    labels, values = _checked(anomalous, scores)
    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return ImageMetrics(negative, positive, None, None, None, None, None, None)
    from sklearn import metrics  # takes about a second to import

    false_positive, true_positive, _ = metrics.roc_curve(labels, values)
    precision, recall, thresholds = metrics.precision_recall_curve(labels, values)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)
    best = int(np.argmax(f1[:-1]))  # the last point has no threshold
    return ImageMetrics(
        good=negative,
        anomalous=positive,
        image_auroc=float(metrics.auc(false_positive, true_positive)),
        average_precision=float(metrics.average_precision_score(labels, values)),
        f1_max=float(f1[best]),
        f1_max_threshold=float(thresholds[best]),
        roc=Curve(false_positive, true_positive),
        precision_recall=Curve(recall[::-1], precision[::-1]),
    )


def rates_at(
    anomalous: npt.ArrayLike,
    scores: npt.ArrayLike,
    threshold: float,
    *,
    confidence: float = 0.95,
) -> Rates:
    """Return the false-alarm rate and the recall if scores above a threshold fail.

    Parameters
    ----------
    anomalous, scores
        As for `image_metrics`.
    threshold
        An image fails if its score is greater.
    confidence
        Confidence of the binomial intervals.

    Raises
    ------
    ParameterError
        If the threshold is not a number.
    """
    labels, values = _checked(anomalous, scores)
    if np.isnan(threshold):
        raise ParameterError("the threshold is not a number")
    fails = values > threshold

    def rate(group: npt.NDArray[np.bool_]) -> Proportion | None:
        total = int(group.sum())
        return proportion(int(fails[group].sum()), total, confidence) if total else None

    return Rates(float(threshold), false_alarm_rate=rate(~labels), recall=rate(labels))


def proportion(count: int, total: int, confidence: float = 0.95) -> Proportion:
    """Return an observed share with its exact binomial interval (Clopper & Pearson, 1934).

    Raises
    ------
    ParameterError
        If `count` is not between 0 and `total`, `total` is 0, or `confidence` is not between 0
        and 1.
    """
    if total < 1 or not 0 <= count <= total:
        raise ParameterError(f"{count} of {total} is not a share")
    if not 0 < confidence < 1:
        raise ParameterError(f"the confidence is {confidence}; give a number between 0 and 1")
    # Quantiles of the beta distribution, without `scipy.stats`, which takes a second to import.
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return Proportion(count, total, low, high, confidence)


def _checked(
    anomalous: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    labels = np.asarray(anomalous, dtype=np.bool_)
    values = np.asarray(scores, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != values.shape:
        raise ParameterError(f"labels have shape {labels.shape} and scores {values.shape}")
    if not len(labels):
        raise ParameterError("no image was judged: nothing to measure")
    if not np.isfinite(values).all():
        raise ParameterError(f"{int((~np.isfinite(values)).sum())} scores are not finite")
    return labels, values
