"""How a bank's thresholds follow from its calibration, and what they promise, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchbank.memory.calibration import (
    Calibration,
    Thresholds,
    check_false_alarm_rate,
    check_review_rate,
    images_needed_to_review,
)
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

    Raises
    ------
    ParameterError
        If a value is out of its range.
    """

    false_alarm_rate: float
    review_rate: float = 0.0

    def __post_init__(self) -> None:
        check_false_alarm_rate(self.false_alarm_rate)
        check_review_rate(self.review_rate, self.false_alarm_rate)

    @classmethod
    def of_bank(cls, settings: Mapping[str, Any]) -> ThresholdRule:
        """Return the rule in a bank's stored settings."""
        # Banks were stored without a review rate when there was one threshold.
        return cls(settings["false_alarm_rate"], settings.get("review_rate", 0.0))

    def changed(
        self, false_alarm_rate: float | None = None, review_rate: float | None = None
    ) -> ThresholdRule:
        """Return the rule with other rates; one that is None stays."""
        return ThresholdRule(
            self.false_alarm_rate if false_alarm_rate is None else false_alarm_rate,
            self.review_rate if review_rate is None else review_rate,
        )

    def to_settings(self) -> dict[str, Any]:
        """Return the part of a bank's settings that `of_bank` reads."""
        return {"false_alarm_rate": self.false_alarm_rate, "review_rate": self.review_rate}

    def thresholds(self, calibration: Calibration) -> Thresholds:
        """Return the thresholds by a calibration."""
        return calibration.thresholds(self.false_alarm_rate, self.review_rate)

    def describe(self, calibration: Calibration) -> str:
        """Return the threshold above which an image fails, and what it promises, in words."""
        return calibration.threshold(self.false_alarm_rate).describe()

    def describe_review(self, calibration: Calibration) -> str:
        """Return in words which images go to review."""
        if not self.review_rate:
            return "none: no image goes to review"
        limits = self.thresholds(calibration)
        if not limits.equal:
            share = calibration.threshold(self.false_alarm_rate + self.review_rate).guaranteed_rate
            return (
                f"above {limits.pass_below:.4g}, up to {limits.fail_above:.4g}: on average, at "
                f"most {100 * share:.3g} % of good parts do not pass"
            )
        needed = images_needed_to_review(self.false_alarm_rate, self.review_rate)
        fewer = f"; {needed:,} tell them apart" if needed > len(calibration) else ""
        return (
            f"none: with {counted(len(calibration), 'good part')}, the limits for "
            f"{100 * self.false_alarm_rate:.3g} % and for "
            f"{100 * (self.false_alarm_rate + self.review_rate):.3g} % are the same{fewer}"
        )

    def to_json(self, calibration: Calibration) -> dict[str, Any]:
        """Return the JSON object on reviews that the commands print."""
        return {
            "requested_review_rate": self.review_rate,
            "collapsed": bool(self.review_rate) and self.thresholds(calibration).equal,
            "text": self.describe_review(calibration),
        }
