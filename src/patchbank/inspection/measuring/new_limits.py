"""Thresholds that a user asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from patchbank.errors import ParameterError
from patchbank.memory.calibration import Calibration
from patchbank.memory.tail import TailFit
from patchbank.memory.threshold_rule import ThresholdRule
from patchbank.printable import counted


@dataclass(frozen=True)
class NewLimits:
    """Thresholds to set: by rates, or by scores; what is None stays as it is.

    Attributes
    ----------
    false_alarm_rate, review_rate
        Shares of good images that may fail, and go to review.
    estimate
        Whether to estimate the threshold where there are too few images to promise the rate.
    fail_above, pass_below
        The thresholds themselves. `fail_above` alone is one threshold, without a review.

    Raises
    ------
    ParameterError
        If both rates and scores are given.
    """

    false_alarm_rate: float | None = None
    review_rate: float | None = None
    estimate: bool = False
    fail_above: float | None = None
    pass_below: float | None = None

    def __post_init__(self) -> None:
        if self._by_rate and self._by_score:
            raise ParameterError(
                "limits are set by rates (--false-alarm-rate, --review-rate, --estimate) or by "
                "scores (--fail-above, --pass-below), not by both"
            )

    @property
    def any_given(self) -> bool:
        """Whether there is anything to set."""
        return self._by_rate or self._by_score

    def required(self) -> NewLimits:
        """Return them, or raise `ParameterError` where there is nothing to set."""
        if not self.any_given:
            raise ParameterError("new limits: give a rate or a score")
        return self

    @property
    def _by_rate(self) -> bool:
        return self.false_alarm_rate is not None or self.review_rate is not None or self.estimate

    @property
    def _by_score(self) -> bool:
        return self.fail_above is not None or self.pass_below is not None

    def rule(self, before: ThresholdRule, calibration: Calibration) -> ThresholdRule:
        """Return the rule with these limits.

        Raises
        ------
        ParameterError
            If a value is out of range, or an estimate is not needed or not possible.
        """
        if self._by_score:
            high = self.fail_above
            if high is None:
                high = before.thresholds(calibration).fail_above
            low = high if self.pass_below is None else self.pass_below
            return replace(before, estimate=False, pass_below=low, fail_above=high)
        rule = before.changed(self.false_alarm_rate, self.review_rate)
        if not self.estimate:
            # An estimate is that of its false-alarm rate, whatever goes to review.
            return replace(rule, estimate=before.estimate and self.false_alarm_rate is None)
        if calibration.threshold(rule.false_alarm_rate).sufficient:
            raise ParameterError(
                f"estimate: {counted(len(calibration), 'good image')} are enough to promise a "
                f"false-alarm rate of {100 * rule.false_alarm_rate:.3g} %; leave --estimate out"
            )
        if calibration.groups:
            raise ParameterError(
                f"estimate: the tail needs independent images, and these {len(calibration)} are "
                f"about {calibration.independent}; leave --estimate out"
            )
        TailFit(calibration.scores)  # raises where it cannot be fitted
        return replace(rule, estimate=True)
