from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.errors import ParameterError
from patchbank.memory import drift
from patchbank.memory.drift import detect_changes

Floats = npt.NDArray[np.float64]
NONE = np.array([])


def alarms(values: Floats, references: Floats = NONE, **options: float) -> list[int]:
    found = detect_changes({"score": values}, {"score": references}, **options)  # type: ignore[arg-type]
    return [change.alarm for change in found.changes]


def test_bets_are_densities() -> None:
    table = drift._table()
    assert np.allclose(table.mean(axis=0), 1)
    # One image changes the evidence little, whatever it looks like.
    assert table.max() < 6
    assert table.min() > 0.05


def test_without_a_change_alarms_are_as_rare_as_stated() -> None:
    # Twenty references: any rule that takes them for the truth would raise an alarm.
    stated, images, streams = 2_000, 500, 200
    random = np.random.default_rng(5)
    with_alarm = 0
    for number in range(streams):
        values, references = random.standard_exponential(images), random.standard_exponential(20)
        with_alarm += bool(alarms(values, references, images_per_false_alarm=stated, seed=number))
    assert with_alarm / streams <= images / stated
    # Nor is the detector deaf.
    assert with_alarm > 0


@pytest.mark.parametrize("shift", [-1.0, 1.0])
def test_a_shift_is_found_soon_with_its_beginning(shift: float) -> None:
    delays, errors = [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        values = random.normal(size=260)
        values[200:] += shift
        found = detect_changes({"score": values}, {"score": random.normal(size=100)}, seed=seed)
        first = found.changes[0]
        delays.append(first.alarm - 199)
        errors.append(abs(first.begin - 200))
        assert first.evidence == {"score": 1.0}
    assert max(delays) <= 60
    assert np.median(delays) <= 30
    assert np.median(errors) <= 5


def test_the_series_that_changed_is_named() -> None:
    random = np.random.default_rng(1)
    series = {name: random.normal(size=200) for name in ("score", "brightness", "sharpness")}
    series["brightness"][100:] += 2
    found = detect_changes(series, {name: random.normal(size=50) for name in series})
    assert found.changes[0].evidence["brightness"] > 0.99
    assert 100 <= found.changes[0].alarm <= 120


def test_a_change_of_spread_and_a_frozen_camera_are_found() -> None:
    random = np.random.default_rng(2)
    before, references = random.normal(size=150), random.normal(size=100)
    wider = np.concatenate([before, 3 * random.normal(size=60)])
    frozen = np.concatenate([before, np.full(60, 0.1)])
    assert 150 <= alarms(wider, references)[0] < 200
    assert 150 <= alarms(frozen, references)[0] < 200


def test_a_defect_now_and_then_is_no_change() -> None:
    # The references have none, and no good image scores as high: the stated rate is still kept.
    random = np.random.default_rng(3)
    series = ("score", "brightness", "sharpness", "outside")
    with_alarm = 0
    for seed in range(40):
        values = {name: random.normal(size=1000) for name in series}
        values["score"][random.random(1000) < 0.02] = 50 + random.random()
        references = {name: random.normal(size=200) for name in series}
        with_alarm += bool(detect_changes(values, references, seed=seed).changes)
    assert with_alarm <= 40 * 1000 / drift.DEFAULT_IMAGES_PER_FALSE_ALARM


def test_three_odd_images_in_a_row_are_no_change() -> None:
    random = np.random.default_rng(8)
    for seed in range(10):
        series = {name: random.normal(size=100) for name in ("score", "brightness", "sharpness")}
        series["score"][50:53] = 1000
        references = {name: random.normal(size=200) for name in series}
        assert not detect_changes(series, references, seed=seed).changes


def test_a_change_that_lasts_is_found_again_and_one_that_ends_is_not() -> None:
    random = np.random.default_rng(4)
    values = random.normal(size=700)
    values[200:400] += 2
    found = alarms(values, random.normal(size=100))
    assert len(found) > 5
    assert found[0] < 215
    assert 385 < found[-1] < 410


def test_evidence_begins_anew_after_an_alarm() -> None:
    random = np.random.default_rng(6)
    values = np.concatenate([random.normal(size=100), 3 + random.normal(size=50)])
    found = detect_changes({"score": values}, {"score": random.normal(size=100)})
    first = found.changes[0].alarm
    assert found.log_limit == pytest.approx(math.log(10_000))
    assert found.log_evidence[first] >= found.log_limit > found.log_evidence[first - 1]
    assert found.log_evidence[first + 1] < 1


def test_unknown_numbers_are_no_evidence() -> None:
    random = np.random.default_rng(7)
    values = random.normal(size=300)
    gaps = values.copy()
    gaps[100:] = np.nan
    found = detect_changes(
        {"score": gaps, "brightness": np.full(300, np.nan)}, {"score": NONE, "brightness": NONE}
    )
    assert not found.changes
    assert np.all(found.log_evidence[100:] == found.log_evidence[99])
    assert not detect_changes({}, {}).changes


def test_equal_numbers_have_drawn_ranks() -> None:
    # All the same number: nothing is known of it, and nothing changes.
    assert not alarms(np.zeros(300), np.zeros(100))
    found = detect_changes({"score": np.zeros(50)}, {"score": NONE}, seed=1)
    again = detect_changes({"score": np.zeros(50)}, {"score": NONE}, seed=1)
    assert np.array_equal(found.log_evidence, again.log_evidence)


def test_a_rate_below_one_is_refused() -> None:
    with pytest.raises(ParameterError, match="images per false alarm 0"):
        detect_changes({"score": np.zeros(3)}, {"score": NONE}, images_per_false_alarm=0)
    with pytest.raises(ParameterError, match="per false alarm inf: must be at least 1"):
        detect_changes({"score": np.zeros(3)}, {"score": NONE}, images_per_false_alarm=math.inf)
