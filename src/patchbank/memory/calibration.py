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

# Scores sorted, what each weighs, and the number of groups.
_Ranked = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], int]


def p_value(
    calibration_scores: npt.ArrayLike, score: float, groups: npt.ArrayLike | None = None
) -> float:
    """Return how unlikely a score is for a good part: ``(1 + #{calibration >= s}) / (n + 1)``.

    An image of a good part, exchangeable with the calibration images, has a p-value of at most a
    with a probability of at most a.

    Images of a group, such as those of one part, depend on one another, so that a group counts as
    one: the share of its scores that are at least s, and n is the number of groups. The promise is
    then one for an image of a new group.

    Parameters
    ----------
    groups
        int (n,): the group of each score; negative if it is a group of its own, as all are by
        default.

    References
    ----------
    V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", 2005, chapter 2;
    H. Papadopoulos et al., "Inductive Confidence Machines for Regression", ECML 2002 (the split);
    R. Dunn, L. Wasserman, A. Ramdas, "Distribution-Free Prediction Sets for Two-Layer Hierarchical
    Models", JASA 118, 2023; Y. Lee, R. Barber, R. Willett, "Distribution-Free Inference with
    Hierarchical Data", 2023 (groups).
    """
    return _p_value(_ranked(calibration_scores, groups), score)


def rarity(p_value: float, images: int, independent: int | None = None) -> str:
    """Return a p-value in words, for scores of so many good parts, of which some are independent.

    `independent` is the number of groups; by default every image is one.
    """
    if independent is not None and independent < images:
        share = max(0.0, p_value * (independent + 1) - 1) / independent
        parts = f"{counted(images, 'good part')}, about {independent:,} of them independent,"
        # No single image of the largest possible group has so small a share.
        if share < 0.5 / independent / images:
            return f"of {parts} none scored this high"
        return f"of {parts} {_percent(share)} scored this high or higher"
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
        The number of calibration images.
    value
        The threshold: the k-th largest calibration score.
    rank
        k, ``floor(requested_rate (n + 1))``, at least 1. Where images depend on one another, k is 1
        and the weight of the images that score higher, and need not be a whole number.
    guaranteed_rate
        ``k / (n + 1)``: an upper bound of the false-alarm rate, on average over random draws of the
        calibration images.
    independent
        The number n of groups of calibration images: `sample_size` where each is its own.
    """

    requested_rate: float
    sample_size: int
    value: float
    rank: float
    guaranteed_rate: float
    independent: int

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= self.independent:
            raise ParameterError(
                f"threshold: expected a rank of 1 to {self.independent}, got {self.rank}"
            )

    @cached_property
    def realised(self) -> tuple[float, float]:
        """The 5 % and 95 % points of the actual false-alarm rate.

        For a given set of calibration images it follows Beta(k, n + 1 - k). Where images depend on
        one another, it does so in the worst case: all images of a group score the same.
        """
        # Imported here because it takes a quarter of a second and no verdict needs it.
        from scipy.special import betaincinv

        low, high = (
            float(betaincinv(self.rank, self.independent + 1 - self.rank, q)) for q in (0.05, 0.95)
        )
        return low, high

    @property
    def are_independent(self) -> bool:
        """Whether every calibration image is a group of its own."""
        return self.independent == self.sample_size

    @property
    def sufficient(self) -> bool:
        """Whether there are enough calibration images for the requested rate."""
        return self.guaranteed_rate <= self.requested_rate + 1e-9

    def describe(self) -> str:
        """Return the threshold and its guarantee in words that can be repeated to a customer."""
        low, high = self.realised
        # Rounded down: the promise holds for fewer.
        parts = math.floor(1 / self.guaranteed_rate + 1e-9)
        promise = f"1 in {counted(parts, 'good part')} fails"
        if parts == 1:
            promise = f"{_percent(self.guaranteed_rate)} of good parts fail"
        text = (
            f"threshold {self.value:.4g} from {self._images()}: on average, at most {promise}; of "
            f"ten such thresholds, nine fail {_percent(low)} to {_percent(high)} of good parts"
        )
        if self.sufficient:
            return f"{text} ({_percent(self.requested_rate)} requested)"
        kind = "good part" if self.are_independent else "independent good part"
        needed = counted(images_needed(self.requested_rate), kind)
        return f"{text}; {_percent(self.requested_rate)}, as requested, needs {needed}"

    def _images(self) -> str:
        if self.are_independent:
            return counted(self.sample_size, "good part")
        return f"{counted(self.sample_size, 'image')}, about {self.independent:,} independent"

    def stated(self) -> dict[str, float]:
        """Return how many independent images there are and what they promise, for JSON objects."""
        return {
            "independent_references": self.independent,
            "stated_false_alarm_rate": self.guaranteed_rate,
        }

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
    calibration_scores: npt.ArrayLike,
    false_alarm_rate: float = 0.01,
    groups: npt.ArrayLike | None = None,
) -> ConformalThreshold:
    """Return the split-conformal threshold for a false-alarm rate.

    An image's p-value is at most the rate if its score is above the k-th largest of n calibration
    scores, ``k = floor(rate (n + 1))``; this happens to an image of a good part with a probability
    of at most ``k / (n + 1)``. If n is too small (k = 0), the largest score is the threshold, and
    the guaranteed rate ``1 / (n + 1)`` is above the requested one.

    With `groups`, each counts as one: see `p_value`.
    """
    scores, weights, independent = _ranked(calibration_scores, groups)
    check_false_alarm_rate(false_alarm_rate)
    # The weight of the scores before each, from the highest on.
    higher = np.concatenate([[0.0], np.cumsum(weights[::-1])[:-1]])
    # 1e-9 undoes binary rounding: 0.29 x 100 is 28.999999999999996.
    allowed = false_alarm_rate * (independent + 1) - 1 + 1e-9
    chosen = max(0, int(np.searchsorted(higher, allowed, side="right")) - 1)
    # A cumulative sum of shares such as 1/3 is not exactly a whole number.
    rank = round(1 + float(higher[chosen]), 9)
    return ConformalThreshold(
        false_alarm_rate,
        len(scores),
        float(scores[-1 - chosen]),
        rank,
        rank / (independent + 1),
        independent,
    )


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


def _p_value(ranked: _Ranked, score: float) -> float:
    scores, weights, independent = ranked
    at_least = weights[np.searchsorted(scores, score, side="left") :].sum()
    # Shares of a group may sum to a little more than 1.
    return (1 + min(float(at_least), independent)) / (independent + 1)


def _ranked(scores: npt.ArrayLike, groups: npt.ArrayLike | None) -> _Ranked:
    """Return the scores sorted, what each weighs, and the number of groups, or raise."""
    values = _checked_scores(scores, "calibration scores")
    order = np.argsort(values, kind="stable")
    if groups is None:
        return values[order], np.ones(len(values)), len(values)
    numbers = np.asarray(groups, np.int64)
    if numbers.shape != values.shape:
        raise ParameterError(
            f"calibration groups: expected one per score, got {numbers.shape} for {values.shape}"
        )
    _, member, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    alone = numbers < 0
    weights = np.where(alone, 1.0, 1.0 / sizes[member])
    independent = np.count_nonzero(alone) + len(np.unique(numbers[~alone]))
    return values[order], weights[order], int(independent)


def _checked_scores(scores: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """Return `scores` as an array, or raise."""
    array = np.asarray(scores, dtype=np.float64)
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
        The largest value of each image's anomaly map, for the threshold of regions.
    score_method
        The method of the image scores.
    groups
        The group of each image, which depends on the others of its group: see `p_value`; empty if
        every image is a group of its own.
    """

    scores: tuple[float, ...]
    map_maxima: tuple[float, ...]
    score_method: str
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        scores = _checked_scores(self.scores, "calibration scores")
        maxima = _checked_scores(self.map_maxima, "calibration map_maxima")
        if len(scores) != len(maxima):
            raise ParameterError(
                f"calibration: expected as many scores as map maxima, "
                f"got {len(scores)} and {len(maxima)}"
            )
        if self.groups and len(self.groups) != len(scores):
            raise ParameterError(
                f"calibration: expected a group for each of {len(scores)} scores, "
                f"got {len(self.groups)}"
            )
        # Rows stay together, since both columns need the groups.
        order = np.lexsort((maxima, scores))
        object.__setattr__(self, "scores", tuple(scores[order].tolist()))
        object.__setattr__(self, "map_maxima", tuple(maxima[order].tolist()))
        if self.groups:
            groups = np.asarray(self.groups, np.int64)[order]
            together = bool((groups >= 0).any())
            object.__setattr__(self, "groups", tuple(groups.tolist()) if together else ())

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def independent(self) -> int:
        """The number of groups: of images, where each is its own."""
        return self._by_rank[2]

    @cached_property
    def _by_rank(self) -> _Ranked:
        # Every inspection asks for its p-value.
        return _ranked(self.scores, self._groups)

    @property
    def _groups(self) -> tuple[int, ...] | None:
        return self.groups or None

    def p_value(self, score: float) -> float:
        """Return how unlikely a score is for an image of a good part; see `p_value`."""
        return _p_value(self._by_rank, score)

    def threshold(self, false_alarm_rate: float = 0.01) -> ConformalThreshold:
        """Return the threshold on the image score."""
        return conformal_threshold(self.scores, false_alarm_rate, self._groups)

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
        return conformal_threshold(self.map_maxima, false_alarm_rate, self._groups)

    def to_json(self) -> str:
        """Return the calibration as JSON, with exact numbers."""
        return json.dumps(
            {
                "score_method": self.score_method,
                "scores": self.scores,
                "map_maxima": self.map_maxima,
                **({"groups": self.groups} if self.groups else {}),
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
                tuple(document.get("groups", ())),
            )
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise ParameterError(
                f"calibration: not in the format of to_json ({error!r})"
            ) from error
