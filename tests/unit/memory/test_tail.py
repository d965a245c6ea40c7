"""The tail fit: right where the truth is known, refused where it cannot be fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import expon, genpareto, norm

from patchbank.errors import ParameterError
from patchbank.memory.calibration import Calibration
from patchbank.memory.tail import FEWEST_IMAGES, TailFit
from patchbank.memory.threshold_rule import ThresholdRule


@pytest.mark.parametrize(
    "truth", [expon(10, 2), norm(20, 3), genpareto(-0.2, 10, 2)], ids=["exp", "normal", "bounded"]
)
def test_estimated_thresholds_have_about_the_rate_asked_for(truth: Any) -> None:
    random = np.random.default_rng(5)
    rates, covered = [], 0
    for _ in range(200):
        fit = TailFit(tuple(truth.rvs(200, random_state=random)))
        threshold = fit.threshold(0.002)
        assert fit.rate(threshold) == pytest.approx(0.002)
        rates.append(truth.sf(threshold))
        low, high = fit.rate_interval(threshold)
        covered += low <= rates[-1] <= high
    # A fifth of what 200 images could promise; a single estimate may be wrong by a few times.
    assert 0.001 < np.mean(rates) < 0.005
    assert covered > 100


def test_the_tail_is_estimated_from_few_scores_only_if_there_are_some() -> None:
    with pytest.raises(ParameterError, match=r"49 calibration images are too few .* needs 50"):
        TailFit(tuple(range(FEWEST_IMAGES - 1)))
    with pytest.raises(ParameterError, match="the highest calibration scores are the same"):
        TailFit((1.0,) * 80 + (2.0,) * 80)
    fit = TailFit(tuple(np.random.default_rng(0).normal(10, 1, 100)))
    for rate in (0.0, 0.3):
        with pytest.raises(ParameterError, match=r"an estimate is for rates up to 0\.2"):
            fit.threshold(rate)


def test_an_estimate_is_used_only_where_no_promise_can_be_made() -> None:
    scores = tuple(np.random.default_rng(0).normal(10, 1, 200))
    calibration = Calibration(scores, scores, "max")
    tail = TailFit(calibration.scores)
    estimated = ThresholdRule(0.001, 0.001, estimate=True)
    assert estimated.thresholds(calibration).fail_above == tail.threshold(0.001)
    assert estimated.thresholds(calibration).pass_below == tail.threshold(0.002)
    assert "an estimate and no promise" in estimated.describe(calibration)
    # 200 images can promise 1 %: the promise is better, and a few more images must not change it.
    promised = ThresholdRule(0.01, 0.0, estimate=True)
    assert promised.thresholds(calibration) == calibration.thresholds(0.01)
    assert ThresholdRule(0.001).thresholds(calibration).fail_above == max(scores)
    # Images may be withdrawn until there are too few: the bank judges on.
    few = Calibration(scores[:20], scores[:20], "max")
    assert estimated.thresholds(few) == few.thresholds(0.001, 0.001)


def test_thresholds_given_as_scores_stay_until_rates_are_set() -> None:
    scores = tuple(range(1, 101))
    calibration = Calibration(scores, scores, "max")
    rule = ThresholdRule(0.01, 0.01, pass_below=90.5, fail_above=95.5)
    assert rule.thresholds(calibration).to_json() == {"pass_below": 90.5, "fail_above": 95.5}
    assert rule.describe(calibration) == (
        "threshold 95.5, given as a score: of 100 good parts 5 scored above it"
    )
    assert ThresholdRule.of_bank({"seed": 3, **rule.to_settings()}) == rule
    by_rates = rule.changed(review_rate=0.05)
    assert by_rates == ThresholdRule(0.01, 0.05)
    assert by_rates.in_settings({"seed": 3, **rule.to_settings()}) == {
        "seed": 3,
        "false_alarm_rate": 0.01,
        "review_rate": 0.05,
    }
    for wrong in ((3.0, 2.0), (0.0, 2.0), (1.0, None), (np.nan, 2.0)):
        with pytest.raises(ParameterError, match="must be two scores above 0"):
            ThresholdRule(0.01, pass_below=wrong[0], fail_above=wrong[1])
