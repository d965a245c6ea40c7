"""Thresholds and p-values from images of good parts only."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.printable import counted

Verdict = Literal["pass", "review", "fail"]


def p_value(calibration_scores: npt.ArrayLike, score: float) -> float:
    """Return how unlikely a score is for a good part: ``(1 + #{calibration >= s}) / (n + 1)``.

    An image of a good part, exchangeable with the calibration images, has a p-value of at most a
    with a probability of at most a.

    References
    ----------
    V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", 2005, chapter 2;
    H. Papadopoulos et al., "Inductive Confidence Machines for Regression", ECML 2002 (the split).
    """
    scores = _checked_scores(calibration_scores, "calibration scores")
    at_least = len(scores) - int(np.searchsorted(scores, score, side="left"))
    return (1 + at_least) / (len(scores) + 1)


def rarity(p_value: float, images: int) -> str:
    """Return a p-value in words, for scores of so many good parts."""
    as_high = round(p_value * (images + 1)) - 1
    parts = counted(images, "good part")
    if as_high == 0:
        return f"of {parts} none scored this high"
    return f"of {parts} {as_high:,} scored this high or higher"


@dataclass(frozen=True)
class Thresholds:
    """The two thresholds of an image's score; in between, a person decides.

    Attributes
    ----------
    pass_below
        An image passes up to and including this score.
    fail_above
        An image fails above this score.

    Raises
    ------
    ValueError
        If an image could both pass and fail.
    """

    pass_below: float
    fail_above: float

    def __post_init__(self) -> None:
        if not self.pass_below <= self.fail_above:
            raise ValueError(
                f"expected pass_below <= fail_above, got {self.pass_below} and {self.fail_above}"
            )

    @property
    def equal(self) -> bool:
        """Whether the two thresholds are equal, so that no score needs a review."""
        return self.pass_below == self.fail_above

    def verdict(self, score: float) -> Verdict:
        """Return the verdict on an image's score."""
        if score > self.fail_above:
            return "fail"
        # NaN compares false and must not pass.
        return "pass" if score <= self.pass_below else "review"

    def describe(self, number_format: str = ".4g") -> str:
        """Return the thresholds in words."""
        low, high = format(self.pass_below, number_format), format(self.fail_above, number_format)
        return f"threshold {high}" if self.equal else f"passes up to {low}, fails above {high}"

    def to_json(self) -> dict[str, float]:
        """Return the JSON object that the commands print."""
        return {"pass_below": self.pass_below, "fail_above": self.fail_above}


@dataclass(frozen=True)
class ConformalThreshold:
    """A threshold with its guarantee; an image fails if its score is *above* it.

    Attributes
    ----------
    requested_rate
        The requested false-alarm rate, as a share.
    sample_size
        The number n of calibration images.
    value
        The threshold: the k-th largest calibration score.
    rank
        k, ``floor(requested_rate (n + 1))``, at least 1.
    guaranteed_rate
        ``k / (n + 1)``: an upper bound of the false-alarm rate, on average over random draws of the
        calibration images.
    """

    requested_rate: float
    sample_size: int
    value: float
    rank: int
    guaranteed_rate: float

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= self.sample_size:
            raise ParameterError(
                f"threshold: expected a rank of 1 to {self.sample_size}, got {self.rank}"
            )

    @cached_property
    def realised(self) -> tuple[float, float]:
        """The 5 % and 95 % points of the actual false-alarm rate.

        For a given set of calibration images it follows Beta(k, n + 1 - k).
        """
        # Imported here because it takes a quarter of a second and no verdict needs it.
        from scipy.special import betaincinv

        low, high = (
            float(betaincinv(self.rank, self.sample_size + 1 - self.rank, q)) for q in (0.05, 0.95)
        )
        return low, high

    @property
    def sufficient(self) -> bool:
        """Whether there are enough calibration images for the requested rate."""
        return self.guaranteed_rate <= self.requested_rate + 1e-9

    def describe(self) -> str:
        """Return the threshold and its guarantee in words that can be repeated to a customer."""
        low, high = self.realised
        # Rounded down: the promise holds for fewer.
        parts = math.floor(1 / self.guaranteed_rate + 1e-9)
        text = (
            f"threshold {self.value:.4g} from {counted(self.sample_size, 'good part')}: on "
            f"average, at most 1 in {counted(parts, 'good part')} fails; of ten such thresholds, "
            f"nine fail {_percent(low)} to {_percent(high)} of good parts"
        )
        if self.sufficient:
            return f"{text} ({_percent(self.requested_rate)} requested)"
        needed = counted(images_needed(self.requested_rate), "good part")
        return f"{text}; {_percent(self.requested_rate)}, as requested, needs {needed}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the commands print."""
        return {
            "images": self.sample_size,
            "requested_false_alarm_rate": self.requested_rate,
            "guaranteed_false_alarm_rate": self.guaranteed_rate,
            "sufficient": self.sufficient,
            "text": self.describe(),
        }


def _percent(rate: float) -> str:
    return f"{100.0 * rate:.3g} %"


def images_needed(false_alarm_rate: float) -> int:
    """Return the minimum number of calibration images for a rate, such as 99 for 1 %."""
    check_false_alarm_rate(false_alarm_rate)
    return max(1, math.ceil(1.0 / false_alarm_rate - 1e-9) - 1)


def conformal_threshold(
    calibration_scores: npt.ArrayLike, false_alarm_rate: float = 0.01
) -> ConformalThreshold:
    """Return the split-conformal threshold for a false-alarm rate.

    An image's p-value is at most the rate if its score is above the k-th largest of n calibration
    scores, ``k = floor(rate (n + 1))``; this happens to an image of a good part with a probability
    of at most ``k / (n + 1)``. If n is too small (k = 0), the largest score is the threshold, and
    the guaranteed rate ``1 / (n + 1)`` is above the requested one.
    """
    scores = _checked_scores(calibration_scores, "calibration scores")
    check_false_alarm_rate(false_alarm_rate)
    n = len(scores)
    # 1e-9 undoes binary rounding: 0.29 x 100 is 28.999999999999996.
    rank = min(n, max(1, math.floor(false_alarm_rate * (n + 1) + 1e-9)))
    return ConformalThreshold(false_alarm_rate, n, float(scores[n - rank]), rank, rank / (n + 1))


def check_false_alarm_rate(rate: float) -> None:
    """Raise `ParameterError` unless `rate` is between 0 and 1."""
    if not 0.0 < rate < 1.0:
        raise ParameterError(f"false-alarm rate {rate}: must be between 0 and 1, such as 0.01")


def check_review_rate(rate: float, false_alarm_rate: float) -> None:
    """Raise `ParameterError` unless good parts are left to pass beside those that may not."""
    if not (rate >= 0.0 and false_alarm_rate + rate < 1.0):
        raise ParameterError(
            f"review rate {rate}: must be 0 or more, and below 1 with the false-alarm rate "
            f"{false_alarm_rate} added, such as 0.01"
        )


def images_needed_to_review(false_alarm_rate: float, review_rate: float) -> int:
    """Return how many calibration images always tell the two thresholds of these rates apart."""
    check_false_alarm_rate(false_alarm_rate)
    # One of n + 1 good parts must fall between, and two above the lower threshold.
    return math.ceil(max(1 / review_rate, 2 / (false_alarm_rate + review_rate)) - 1e-9) - 1


def _checked_scores(scores: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """Return `scores` sorted, or raise."""
    array = np.sort(np.asarray(scores, dtype=np.float64))
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
        raise ParameterError(f"{name}: expected a nonempty list of finite numbers")
    return array


@dataclass(frozen=True)
class Calibration:
    """Scores of images by a bank that does not contain their patches.

    Attributes
    ----------
    scores
        Image scores, sorted.
    map_maxima
        The largest value of each image's anomaly map, sorted, for the threshold of regions.
    score_method
        The method of the image scores.
    """

    scores: tuple[float, ...]
    map_maxima: tuple[float, ...]
    score_method: str

    def __post_init__(self) -> None:
        for name in ("scores", "map_maxima"):
            values = _checked_scores(getattr(self, name), f"calibration {name}")
            object.__setattr__(self, name, tuple(values.tolist()))
        if len(self.scores) != len(self.map_maxima):
            raise ParameterError(
                f"calibration: expected as many scores as map maxima, "
                f"got {len(self.scores)} and {len(self.map_maxima)}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def p_value(self, score: float) -> float:
        """Return how unlikely a score is for an image of a good part; see `p_value`."""
        return p_value(self.scores, score)

    def threshold(self, false_alarm_rate: float = 0.01) -> ConformalThreshold:
        """Return the threshold on the image score."""
        return conformal_threshold(self.scores, false_alarm_rate)

    def thresholds(self, false_alarm_rate: float = 0.01, review_rate: float = 0.0) -> Thresholds:
        """Return the scores at which an image passes and fails.

        Of good parts, at most `false_alarm_rate` fail and at most both rates together do not pass.
        With too few images, no score lies between that of the one and of the other: the two
        thresholds are then equal, and nothing goes to review.
        """
        check_review_rate(review_rate, false_alarm_rate)
        fail_above = self.threshold(false_alarm_rate).value
        not_passed = self.threshold(false_alarm_rate + review_rate).value
        return Thresholds(min(not_passed, fail_above), fail_above)

    def map_threshold(self, false_alarm_rate: float = 0.01) -> ConformalThreshold:
        """Return the threshold on anomaly maps; above it, that share of good parts has a region."""
        return conformal_threshold(self.map_maxima, false_alarm_rate)

    def to_json(self) -> str:
        """Return the calibration as JSON, with exact numbers."""
        return json.dumps(
            {
                "score_method": self.score_method,
                "scores": self.scores,
                "map_maxima": self.map_maxima,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Return the calibration that `to_json` wrote; raises `ParameterError` for other text."""
        try:
            document: dict[str, Any] = json.loads(text)
            return cls(
                tuple(document["scores"]),
                tuple(document["map_maxima"]),
                str(document["score_method"]),
            )
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise ParameterError(
                f"calibration: not in the format of to_json ({error!r})"
            ) from error
