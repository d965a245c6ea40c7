"""Figures of an attribute agreement study, compared with worked examples from the literature."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbank.errors import ParameterError
from patchbank.metrics.agreement import (
    Decisions,
    agreement_of,
    fleiss_kappa,
    kappa_in_words,
    reading,
    reading_of_interval,
)

REPEATS = 3


def parts_of(defective: bool, count: int, wrong: list[int]) -> list[Decisions]:
    """Return parts, the first ones with so many wrong decisions of three."""
    return [
        Decisions(
            defective,
            tuple(defective != (number < errors) for number in range(REPEATS)),
        )
        for errors in [*wrong, *[0] * (count - len(wrong))]
    ]


@pytest.mark.parametrize(
    ("missed", "rejected", "effectiveness", "interval", "misses", "alarms", "kappa"),
    [
        ([1] * 3, [1] * 5, 0.84, (0.71, 0.93), 0.063, 0.049, 0.88),
        ([1] * 3, [1] * 2, 0.90, (0.78, 0.97), 0.063, 0.020, 0.92),
        ([2, 2, 1, 1], [2, 2, 2, 1, 1, 1], 0.80, (0.66, 0.90), 0.125, 0.088, 0.77),
    ],
    ids=["A", "B", "C"],
)
def test_the_manuals_example(
    missed: list[int],
    rejected: list[int],
    effectiveness: float,
    interval: tuple[float, float],
    misses: float,
    alarms: float,
    kappa: float,
) -> None:
    """AIAG, Measurement Systems Analysis, 4th edition: 50 parts, 16 defective, 3 appraisers."""
    found = agreement_of([*parts_of(True, 16, missed), *parts_of(False, 34, rejected)])
    assert found.effectiveness.value == pytest.approx(effectiveness)
    assert (found.effectiveness.low, found.effectiveness.high) == pytest.approx(interval, abs=5e-3)
    assert found.repeatability is not None
    # Nobody was wrong three times of three.
    assert found.repeatability.value == found.effectiveness.value
    assert found.miss_rate is not None
    assert found.miss_rate.value == pytest.approx(misses, abs=6e-4)
    assert found.miss_rate.total == 48
    assert found.false_alarm_rate is not None
    assert found.false_alarm_rate.value == pytest.approx(alarms, abs=6e-4)
    assert found.kappa_standard == pytest.approx(kappa, abs=5e-3)
    assert found.missed_parts is not None
    assert (found.missed_parts.count, found.missed_parts.total) == (len(missed), 16)
    assert found.false_alarm_parts is not None
    assert (found.false_alarm_parts.count, found.false_alarm_parts.total) == (len(rejected), 34)
    assert found.correct.count == 150 - sum(missed) - sum(rejected)


def test_kappa_of_many_raters_is_that_of_the_textbook_example() -> None:
    """14 raters, 10 subjects, 5 categories: kappa 0.210."""
    counts = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)


@given(
    st.lists(
        st.integers(2, 6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=2
    )
)
def test_kappa_of_unequal_numbers_is_fleiss_and_cuzicks(rows: list[tuple[int, int]]) -> None:
    found = fleiss_kappa([[count, total - count] for count, total in rows])
    x, n = np.array(rows, float).T
    share = x.sum() / n.sum()
    if share in (0, 1):
        assert found is None
        return
    within = (x * (n - x) / n).sum()
    expected = 1 - within / (len(n) * (n.mean() - 1) * share * (1 - share))
    assert found == pytest.approx(expected)


def test_kappa_of_two_repeats_is_pairwise_agreement_beyond_chance() -> None:
    random = np.random.default_rng(0)
    ratings = random.random((40, 1)) + 0.4 * random.normal(size=(40, 3)) > 0.6
    pairs = [
        np.mean(ratings[:, i] == ratings[:, j]) for i, j in itertools.combinations(range(3), 2)
    ]
    chance = ratings.mean() ** 2 + (1 - ratings.mean()) ** 2
    expected = (np.mean(pairs) - chance) / (1 - chance)
    counts = [[int(row.sum()), int(3 - row.sum())] for row in ratings]
    assert fleiss_kappa(counts) == pytest.approx(float(expected))


def test_what_is_not_there_is_not_measured() -> None:
    good = [Decisions(False, (False,)), Decisions(False, (True,))]
    found = agreement_of(good)
    assert found.miss_rate is None
    assert found.missed_parts is None
    assert found.kappa_standard is None
    assert found.repeatability is None
    assert found.kappa_repeats is None
    assert found.false_alarm_rate is not None
    assert found.false_alarm_rate.value == 0.5
    # All pass: agreement with itself is whole, and chance alone explains it.
    found = agreement_of([*good[:1], Decisions(True, (False, False))])
    assert found.repeatability is not None
    assert found.repeatability.value == 1
    assert found.kappa_repeats is None
    assert found.kappa_standard == 0
    with pytest.raises(ParameterError, match="nothing to measure"):
        agreement_of([])
    with pytest.raises(ParameterError, match="two images or more"):
        fleiss_kappa([[1, 0]])
    with pytest.raises(ValueError, match="at least one image"):
        Decisions(True, ())


def test_figures_are_read_by_the_manuals_bounds() -> None:
    assert [reading("effectiveness", value) for value in (0.9, 0.899, 0.8, 0.799)] == [
        "acceptable", "marginal", "marginal", "not acceptable",
    ]  # fmt: skip
    assert [reading("miss_rate", value) for value in (0.02, 0.021, 0.05, 0.051)] == [
        "acceptable", "marginal", "marginal", "not acceptable",
    ]  # fmt: skip
    assert reading("false_alarm_rate", 0.1) == "marginal"
    # No miss of 48 images does not show that fewer than 5 % are missed.
    found = agreement_of(parts_of(True, 16, [])).miss_rate
    assert found is not None
    assert (reading("miss_rate", found.value), reading_of_interval("miss_rate", found)) == (
        "acceptable", "not acceptable",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kappa", "words"),
    [
        (-0.1, "poor (Landis and Koch); poor, below 0.40 (AIAG)"),
        (0.2, "slight (Landis and Koch); poor, below 0.40 (AIAG)"),
        (0.4, "fair (Landis and Koch); neither poor nor good, 0.40 to 0.75 (AIAG)"),
        (0.75, "substantial (Landis and Koch); neither poor nor good, 0.40 to 0.75 (AIAG)"),
        (1.0, "almost perfect (Landis and Koch); good to excellent, above 0.75 (AIAG)"),
    ],
)
def test_kappa_in_words(kappa: float, words: str) -> None:
    assert kappa_in_words(kappa) == words
