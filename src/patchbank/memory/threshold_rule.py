"""How a bank's thresholds follow from its calibration, and what they promise, in words."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from patchbank.errors import ParameterError
from patchbank.memory.calibration import (
    Calibration,
    Thresholds,
    check_false_alarm_rate,
    check_review_rate,
    images_needed_to_review,
)
from patchbank.memory.tail import TailFit
from patchbank.printable import counted


@dataclass(frozen=True)
class ThresholdRule:
    """What was asked for when thresholds were set.

    Attributes
    ----------
    false_alarm_rate
        Share of good images that may fail, in (0, 1).
    review_rate
        Share of good images that may go to review besides; 0 for none.
    estimate
        Whether a false-alarm rate for which there are too few images is estimated by a fit to the
        tail of their scores.
    pass_below, fail_above
        The thresholds where they were given as scores, both or none.

    Raises
    ------
    ParameterError
        If a value is out of its range.
    """

    false_alarm_rate: float
    review_rate: float = 0.0
    estimate: bool = False
    pass_below: float | None = None
    fail_above: float | None = None

    def __post_init__(self) -> None:
        for name in ("false_alarm_rate", "review_rate", "pass_below", "fail_above"):
            if not isinstance(getattr(self, name), int | float | None):
                raise ParameterError(f"{name} {getattr(self, name)!r:.40}: must be a number")
        check_false_alarm_rate(self.false_alarm_rate)
        check_review_rate(self.review_rate, self.false_alarm_rate)
        if type(self.estimate) is not bool:
            raise ParameterError(f"estimate {self.estimate!r}: must be true or false")
        if self.pass_below is None and self.fail_above is None:
            return
        low, high = self.pass_below, self.fail_above
        if low is None or high is None or not 0 < low <= high < math.inf:
            raise ParameterError(
                f"limits: passes up to {low}, fails above {high}: must be two scores above 0, the "
                "first not higher than the second"
            )

    @classmethod
    def of_bank(cls, settings: Mapping[str, Any]) -> ThresholdRule:
        """Return the rule in a bank's stored settings."""
        # Banks were stored without a review rate when there was one threshold.
        names = {field.name for field in fields(cls)}
        return cls(**{name: settings[name] for name in names & settings.keys()})

    def to_settings(self) -> dict[str, Any]:
        """Return the part of a bank's settings that `of_bank` reads."""
        rates = {"false_alarm_rate": self.false_alarm_rate, "review_rate": self.review_rate}
        if self.given is not None:
            return rates | self.given.to_json()
        return rates | ({"estimate": True} if self.estimate else {})

    def in_settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return a bank's settings with this rule in the place of theirs."""
        names = {field.name for field in fields(self)}
        others = {name: value for name, value in settings.items() if name not in names}
        return others | self.to_settings()

    def changed(
        self, false_alarm_rate: float | None = None, review_rate: float | None = None
    ) -> ThresholdRule:
        """Return the rule with other rates; one that is None stays, limits given as scores go."""
        return ThresholdRule(
            self.false_alarm_rate if false_alarm_rate is None else false_alarm_rate,
            self.review_rate if review_rate is None else review_rate,
        )

    @property
    def given(self) -> Thresholds | None:
        """The thresholds where they were given as scores."""
        if self.pass_below is None or self.fail_above is None:
            return None
        return Thresholds(self.pass_below, self.fail_above)

    def tail(self, calibration: Calibration) -> TailFit | None:
        """Return the tail by which the threshold is estimated; None where it is not.

        It is not where there are images enough for a promise, or too few for a tail, or where
        images depend on one another.
        """
        promised = calibration.threshold(self.false_alarm_rate)
        if not promised.are_independent:
            return None
        if not self.estimate or self.given is not None or promised.sufficient:
            return None
        with contextlib.suppress(ParameterError):
            return TailFit(calibration.scores)
        return None

    def thresholds(self, calibration: Calibration) -> Thresholds:
        """Return the thresholds by a calibration."""
        if self.given is not None:
            return self.given
        limits = calibration.thresholds(self.false_alarm_rate, self.review_rate)
        tail = self.tail(calibration)
        if tail is None:
            return limits
        fail_above = tail.threshold(self.false_alarm_rate)
        not_passed = calibration.threshold(self.false_alarm_rate + self.review_rate)
        if not self.review_rate:
            pass_below = fail_above
        elif not_passed.sufficient:
            pass_below = not_passed.value
        else:
            pass_below = tail.threshold(self.false_alarm_rate + self.review_rate)
        return Thresholds(min(pass_below, fail_above), fail_above)

    def describe(self, calibration: Calibration) -> str:
        """Return the threshold above which an image fails, and what it promises, in words."""
        parts = counted(len(calibration), "good part")
        if self.given is not None:
            above = sum(score > self.given.fail_above for score in calibration.scores)
            return (
                f"threshold {self.given.fail_above:.4g}, given as a score: of {parts} {above} "
                "scored above it"
            )
        tail = self.tail(calibration)
        if tail is None:
            return calibration.threshold(self.false_alarm_rate).describe()
        threshold = tail.threshold(self.false_alarm_rate)
        low, high = tail.rate_interval(threshold)
        return (
            f"threshold {threshold:.4g}, an estimate and no promise: by the tail of the scores of "
            f"{parts}, {100 * self.false_alarm_rate:.3g} % fail (90 % interval {100 * low:.2g} to "
            f"{100 * high:.2g} %)"
        )

    def describe_review(self, calibration: Calibration) -> str:
        """Return in words which images go to review."""
        limits = self.thresholds(calibration)
        if not limits.equal:
            text = f"above {limits.pass_below:.4g}, up to {limits.fail_above:.4g}"
            if self.given is not None:
                return text
            not_passed = calibration.threshold(self.false_alarm_rate + self.review_rate)
            if self.tail(calibration) is not None and not not_passed.sufficient:
                return f"{text}: an estimate and no promise"
            return (
                f"{text}: on average, at most {100 * not_passed.guaranteed_rate:.3g} % of good "
                "parts do not pass"
            )
        if self.given is not None or not self.review_rate:
            return "none: no image goes to review"
        needed = images_needed_to_review(self.false_alarm_rate, self.review_rate)
        fewer = f"; {needed:,} tell them apart" if needed > calibration.independent else ""
        parts = counted(len(calibration), "good part")
        if calibration.groups:
            parts = (
                f"{counted(len(calibration), 'image')}, about {calibration.independent} independent"
            )
        return (
            f"none: with {parts}, the limits for "
            f"{100 * self.false_alarm_rate:.3g} % and for "
            f"{100 * (self.false_alarm_rate + self.review_rate):.3g} % are the same{fewer}"
        )

    def to_json(self, calibration: Calibration) -> dict[str, Any]:
        """Return the JSON object on reviews that the commands print."""
        collapsed = self.given is None and self.review_rate > 0
        return {
            "requested_review_rate": self.review_rate,
            "collapsed": collapsed and self.thresholds(calibration).equal,
            "text": self.describe_review(calibration),
        }
