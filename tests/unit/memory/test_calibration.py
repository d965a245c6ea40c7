from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta

from patchbank.errors import ParameterError
from patchbank.memory.calibration import (
    Calibration,
    ConformalThreshold,
    Thresholds,
    conformal_threshold,
    images_needed,
    images_needed_to_review,
    p_value,
    rarity,
)
from patchbank.memory.threshold_rule import ThresholdRule


def test_p_value_counts_scores_at_least_as_large() -> None:
    scores = [1.0, 2.0, 2.0, 3.0]
    assert [p_value(scores, s) for s in (0.5, 1.0, 2.0, 2.5, 3.0, 3.1)] == [
        1.0,
        1.0,
        4 / 5,
        2 / 5,
        2 / 5,
        1 / 5,
    ]


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.29, 0.5, 0.99])
@pytest.mark.parametrize("n", [99, 100, 137, 200])
def test_threshold_fails_exactly_what_the_p_value_fails(rate: float, n: int) -> None:
    scores = np.random.default_rng(n).integers(0, 80, n).astype(float)
    threshold = conformal_threshold(scores, rate)
    assert threshold.sufficient
    for score in np.arange(-1, 82, 0.5):
        assert (score > threshold.value) == (p_value(scores, score) <= rate + 1e-9)


def test_binary_rounding_does_not_cost_a_rank() -> None:
    # 0.29 * 100 is 28.999999999999996 in binary.
    assert conformal_threshold(np.arange(99.0), 0.29).rank == 29


@pytest.mark.parametrize(
    ("n", "rate", "rank", "guaranteed", "sufficient"),
    [
        (99, 0.01, 1, 0.01, True),
        (98, 0.01, 1, 1 / 99, False),
        (200, 0.01, 2, 2 / 201, True),
        (200, 0.05, 10, 10 / 201, True),
        (19, 0.05, 1, 0.05, True),
        (1, 0.01, 1, 0.5, False),
    ],
)
def test_guarantee(n: int, rate: float, rank: int, guaranteed: float, sufficient: bool) -> None:
    threshold = conformal_threshold(np.arange(float(n)), rate)
    assert threshold.rank == rank
    assert threshold.value == n - rank
    assert threshold.guaranteed_rate == pytest.approx(guaranteed)
    assert threshold.sufficient is sufficient
    expected = [float(beta.ppf(share, rank, n + 1 - rank)) for share in (0.05, 0.95)]
    assert threshold.realised == pytest.approx(tuple(expected))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_rate_is_kept_on_new_images(rate: float) -> None:
    random = np.random.default_rng(7)
    rates, inside = [], 0
    for _ in range(2000):
        threshold = conformal_threshold(random.standard_exponential(150), rate)
        # The share of new scores above it is known for this distribution.
        realised = float(np.exp(-threshold.value))
        rates.append(realised)
        inside += threshold.realised[0] <= realised <= threshold.realised[1]
    guaranteed = conformal_threshold(np.arange(150.0), rate).guaranteed_rate
    error = 4 * float(np.std(rates)) / 2000**0.5
    assert abs(np.mean(rates) - guaranteed) < error
    # 90 % of 2,000, within four standard deviations.
    assert abs(inside - 1800) < 4 * (2000 * 0.9 * 0.1) ** 0.5


def test_the_promise_can_be_repeated() -> None:
    enough = conformal_threshold(np.arange(200.0), 0.01).describe()
    assert enough.startswith(
        "threshold 198 from 200 good parts: on average, at most 1 in 100 good parts fails; of ten "
        "such thresholds, nine fail "
    )
    assert enough.endswith("% of good parts (1 % requested)")
    few = conformal_threshold(np.arange(50.0), 0.01).describe()
    assert "at most 1 in 51 good parts fails" in few
    assert few.endswith("; 1 %, as requested, needs 99 good parts")
    assert "\n" not in enough + few
    # Never more than is promised: 3 of 8 are fewer than 1 in 2.
    assert "at most 1 in 2 good parts fails" in conformal_threshold(np.arange(7.0), 0.4).describe()


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (60.5, "of 60 good parts none scored this high"),
        (59.0, "of 60 good parts 1 scored this high or higher"),
        (-1.0, "of 60 good parts 60 scored this high or higher"),
    ],
)
def test_a_p_value_in_words(score: float, words: str) -> None:
    assert rarity(p_value(np.arange(60.0), score), 60) == words


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 99), (0.05, 19), (0.001, 999), (0.5, 1)])
def test_images_needed(rate: float, needed: int) -> None:
    assert images_needed(rate) == needed
    assert conformal_threshold(np.arange(float(needed)), rate).sufficient
    if needed > 1:
        assert not conformal_threshold(np.arange(needed - 1.0), rate).sufficient


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ParameterError, match="false-alarm rate"):
        conformal_threshold([1.0, 2.0], rate)


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")], [float("inf")], [[1.0]]])
def test_unfit_scores_are_refused(scores: list[float]) -> None:
    with pytest.raises(ParameterError, match="calibration scores"):
        conformal_threshold(scores, 0.1)
    with pytest.raises(ParameterError, match="calibration scores"):
        p_value(scores, 1.0)


def test_a_threshold_checks_itself() -> None:
    with pytest.raises(ParameterError, match="rank of 1 to 9"):
        ConformalThreshold(0.1, 20, 1.0, 0, 0.1, 9)


def test_calibration_survives_json() -> None:
    random = np.random.default_rng(0)
    calibration = Calibration(
        tuple(random.random(120).tolist()), tuple(random.random(120).tolist()), "max"
    )
    again = Calibration.from_json(calibration.to_json())
    assert again == calibration
    assert len(again) == 120
    assert again.scores == tuple(sorted(calibration.scores))
    assert again.threshold(0.05) == conformal_threshold(calibration.scores, 0.05)
    assert again.map_threshold(0.05) == conformal_threshold(calibration.map_maxima, 0.05)
    assert again.p_value(0.5) == p_value(calibration.scores, 0.5)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"scores": 3, "map_maxima": [], "score_method": ""}']
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="calibration"):
        Calibration.from_json(text)


def test_a_calibration_checks_itself() -> None:
    with pytest.raises(ParameterError, match="got 2 and 1"):
        Calibration((1.0, 2.0), (1.0,), "max")
    with pytest.raises(ParameterError, match="calibration map_maxima"):
        Calibration((1.0, 2.0), (1.0, float("nan")), "max")


@pytest.mark.parametrize(
    ("score", "verdict"),
    [(2.0, "pass"), (2.1, "pass"), (2.2, "review"), (2.5, "review"), (2.6, "fail")],
)
def test_between_two_thresholds_a_person_decides(score: float, verdict: str) -> None:
    assert Thresholds(2.1, 2.5).verdict(score) == verdict


def test_two_equal_thresholds_are_one() -> None:
    calibration = Calibration((1.0, 2.0, 3.0), (1.0, 2.0, 3.0), "max")
    thresholds = calibration.thresholds(0.25)
    assert thresholds == Thresholds(3.0, 3.0)
    assert [thresholds.verdict(score) for score in (3.0, 3.1)] == ["pass", "fail"]
    assert thresholds.describe() == "threshold 3"
    assert Thresholds(2.1, 2.5).describe(".2f") == "passes up to 2.10, fails above 2.50"


@pytest.mark.parametrize("limits", [(2.5, 2.1), (float("nan"), 1.0), (1.0, float("nan"))])
def test_an_image_cannot_both_pass_and_fail(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="expected pass_below <= fail_above"):
        Thresholds(*limits)


def test_the_review_rate_moves_only_the_lower_threshold() -> None:
    scores = np.arange(1.0, 200.0)  # n + 1 = 200
    calibration = Calibration(tuple(scores), tuple(scores), "max")
    for rate, review in ((0.01, 0.0), (0.01, 0.01), (0.05, 0.1), (0.01, 0.98)):
        limits = calibration.thresholds(rate, review)
        assert limits.fail_above == calibration.threshold(rate).value
        assert (scores > limits.fail_above).sum() == round(200 * rate) - 1
        assert (scores > limits.pass_below).sum() == round(200 * (rate + review)) - 1
    assert calibration.thresholds(0.01, 0.0).equal
    for review in (-0.01, 0.99, math.nan, math.inf):
        with pytest.raises(ParameterError, match=r"review rate .*: must be 0 or more, and below 1"):
            calibration.thresholds(0.01, review)


@pytest.mark.parametrize("rates", [(0.01, 0.01), (0.05, 0.01), (0.001, 0.01), (0.01, 0.1)])
def test_so_many_images_as_needed_to_review_part_the_thresholds(
    rates: tuple[float, float],
) -> None:
    needed = images_needed_to_review(*rates)
    for count in (needed, needed + 1, needed + 7, 3 * needed):
        scores = tuple(np.arange(1.0, count + 1))
        assert not Calibration(scores, scores, "max").thresholds(*rates).equal


def test_what_goes_to_review_is_said() -> None:
    def rule_by(count: int) -> str:
        scores = tuple(np.arange(1.0, count + 1))
        return ThresholdRule(0.01, 0.01).describe_review(Calibration(scores, scores, "max"))

    assert rule_by(99) == ("above 98, up to 99: on average, at most 2 % of good parts do not pass")
    assert rule_by(98) == (
        "none: with 98 good parts, the limits for 1 % and for 2 % are the same; 99 tell them apart"
    )
    tied = Calibration((1.0,) * 200, (1.0,) * 200, "max")
    assert ThresholdRule(0.01, 0.01).describe_review(tied) == (
        "none: with 200 good parts, the limits for 1 % and for 2 % are the same"
    )


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.29])
def test_groups_of_one_change_nothing(rate: float) -> None:
    scores = np.random.default_rng(3).integers(0, 60, 137).astype(float)
    for groups in (np.arange(137), np.full(137, -1)):
        assert conformal_threshold(scores, rate, groups) == conformal_threshold(scores, rate)
        assert [p_value(scores, s, groups) for s in range(62)] == [
            p_value(scores, s) for s in range(62)
        ]


def test_a_group_counts_as_one() -> None:
    # Two pictures of one part and two parts with one picture each.
    scores, groups = [4.0, 1.0, 2.0, 3.0], [7, 7, -1, -1]
    assert [p_value(scores, s, groups) for s in (0.0, 1.5, 2.5, 3.5, 4.5)] == [
        1.0,
        3.5 / 4,
        2.5 / 4,
        1.5 / 4,
        1 / 4,
    ]
    threshold = conformal_threshold(scores, 0.25, groups)
    assert (threshold.value, threshold.independent, threshold.sample_size) == (4.0, 3, 4)
    assert threshold.guaranteed_rate == 1 / 4
    # Above 3, one of the pictures of the one part may fail: half a part.
    assert conformal_threshold(scores, 0.4, groups).value == 3.0
    assert conformal_threshold(scores, 0.4, groups).guaranteed_rate == 1.5 / 4


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_grouped_thresholds_fail_exactly_what_the_p_value_fails(rate: float) -> None:
    random = np.random.default_rng(5)
    groups = random.integers(0, 40, 150)
    scores = random.integers(0, 300, 150).astype(float)
    threshold = conformal_threshold(scores, rate, groups)
    for score in np.arange(-1, 302, 0.5):
        assert (score > threshold.value) == (p_value(scores, score, groups) <= rate + 1e-9)


def test_the_rate_is_kept_for_new_parts_however_alike_the_pictures_of_a_part_are() -> None:
    random = np.random.default_rng(11)
    rates = []
    for _ in range(1000):
        parts = random.standard_exponential(30)
        # Ten pictures of most parts, and few of some.
        groups = np.repeat(np.arange(30), random.choice([2, 10], 30))
        scores = parts[groups] + 0.01 * random.random(len(groups))
        threshold = conformal_threshold(scores, 0.1, groups)
        rates.append(float(np.exp(-threshold.value)))
    assert np.mean(rates) <= 0.1 + 4 * np.std(rates) / 1000**0.5
    assert np.mean(rates) > 0.08


def test_what_few_independent_parts_promise_is_said() -> None:
    groups = np.repeat(np.arange(20), 10)
    threshold = conformal_threshold(np.arange(200.0), 0.01, groups)
    assert threshold.describe().startswith(
        "threshold 199 from 200 images, about 20 independent: on average, at most 1 in 21 good "
        "parts fails"
    )
    assert threshold.describe().endswith("1 %, as requested, needs 99 independent good parts")
    assert threshold.stated() == {
        "independent_references": 20,
        "stated_false_alarm_rate": pytest.approx(1 / 21),
    }
    words = "of 200 good parts, about 20 of them independent, "
    assert (
        rarity(p_value(np.arange(200.0), 300, groups), 200, 20) == f"{words}none scored this high"
    )
    assert (
        rarity(p_value(np.arange(200.0), 198, groups), 200, 20)
        == f"{words}1 % scored this high or higher"
    )


def test_groups_stay_with_their_scores() -> None:
    calibration = Calibration((3.0, 1.0, 2.0), (30.0, 10.0, 20.0), "max", (5, -1, 5))
    assert (calibration.scores, calibration.groups) == ((1.0, 2.0, 3.0), (-1, 5, 5))
    assert calibration.map_maxima == (10.0, 20.0, 30.0)
    assert calibration.independent == 2
    assert Calibration.from_json(calibration.to_json()) == calibration
    assert Calibration((1.0, 2.0), (1.0, 2.0), "max", (-1, -1)).groups == ()
    with pytest.raises(ParameterError, match="a group for each of 2 scores"):
        Calibration((1.0, 2.0), (1.0, 2.0), "max", (1,))


def test_no_tail_is_estimated_from_images_that_depend_on_one_another() -> None:
    scores = tuple(np.random.default_rng(1).standard_exponential(60).tolist())
    rule = ThresholdRule(0.001, 0.01, estimate=True)
    assert rule.tail(Calibration(scores, scores, "max")) is not None
    together = Calibration(scores, scores, "max", tuple(np.arange(60) // 3))
    assert rule.tail(together) is None
    assert rule.thresholds(together).fail_above == max(scores)
    assert "with 60 images, about 20 independent, the limits for" in rule.describe_review(together)


def test_a_promise_beyond_one_in_two_is_said_in_per_cent() -> None:
    assert "at most 1 in 2 good parts fails" in conformal_threshold([1.0], 0.6).describe()
    text = conformal_threshold([1.0, 2.0], 0.7).describe()
    assert "on average, at most 66.7 % of good parts fail;" in text
