"""What is tried, and what is recommended of what was found."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from patchbank.errors import NoImagesError, ParameterError
from patchbank.inspection.learning.resolution import at_scales
from patchbank.inspection.learning.sizes import Sizes
from patchbank.inspection.measuring.candidates import (
    Candidate,
    _merged,
    _with_fitting_share,
    options_given,
)
from patchbank.inspection.measuring.held_out import (
    DefectTrial,
    Images,
    checked_defect_sizes,
    default_defect_sizes,
    split,
)
from patchbank.inspection.measuring.tune import _on_images, _on_machine
from patchbank.inspection.measuring.tune_report import Tried, TuneReport, fit_command
from patchbank.inspection.measuring.tune_trial import make_plan
from patchbank.inspection.settings import FitSettings, make_fit_settings
from patchbank.metrics import proportion
from patchbank.progress import silent
from patchbank.vision.decoded_image import DEFAULT_LIMITS

NONE = Images([], [])
IMAGES = Images([f"{number}.png" for number in range(30)], [str(number) for number in range(30)])
TRIAL = DefectTrial(IMAGES, (4, 8), 0, None, DEFAULT_LIMITS)


def tried(
    milliseconds: float, found: int, located: int = 20, alarms: int = 0, scale: float = 1.0
) -> Tried:
    """Return settings that found so many of 20 defects of each kind."""
    settings = make_fit_settings(scale=scale)
    counts = [np.full((2, 2), count, np.int64) for count in (found, located, found)]
    return Tried(
        Candidate(settings, {"scale": scale}, milliseconds), 100, 50, milliseconds, 3.0,
        proportion(alarms, 20), 0.05, counts[0], counts[1], counts[2], 20, 1.0, 1.0,
    )  # fmt: skip


def report(*items: Tried, budget_ms: float = 100.0) -> TuneReport:
    settings = FitSettings(budget_ms=budget_ms)
    return TuneReport(
        "board", ("good",), settings, NONE, TRIAL, (), items, (), (), 1.0
    )  # fmt: skip


def test_what_finds_most_within_the_budget_is_recommended() -> None:
    cheap, best, dear = tried(10, 5), tried(90, 15), tried(200, 20)
    assert report(cheap, best, dear).recommended is best
    assert report(cheap, best, dear, budget_ms=300).recommended is dear
    assert report(cheap, best, dear, budget_ms=20).recommended is cheap


def test_the_repr_is_what_is_recommended() -> None:
    found = report(tried(50, 15), tried(20, 10))
    assert repr(found) == f"<TuneReport of 'board': 2 settings tried; {found.recommendation()}>"
    assert len(repr(found)) < 300


def test_of_settings_as_good_the_quickest_is_recommended() -> None:
    quick, slow = tried(10, 10), tried(90, 10)
    assert report(slow, quick).recommended is quick
    locates = tried(50, 10, located=20)
    assert report(tried(10, 10, located=12), locates, slow).recommended is locates


def test_what_fit_chooses_is_recommended_where_it_is_as_good_and_about_as_quick() -> None:
    chosen = tried(20, 10)
    chosen = replace(chosen, candidate=replace(chosen.candidate, marks=("what fit chooses",)))
    quick, quicker = tried(18, 10), tried(10, 10)
    assert report(quick, chosen).recommended is chosen
    assert report(quick, quicker, chosen).recommended is quicker


def test_good_images_that_fail_are_said() -> None:
    assert "; 1 of 20 good images fails, too" in report(tried(10, 10, alarms=1)).recommendation()
    assert "; 2 of 20 good images fail, too" in report(tried(10, 10, alarms=2)).recommendation()
    assert "too" not in report(tried(10, 10)).recommendation()


def test_figures_that_are_rough_are_said() -> None:
    few = replace(TRIAL, images=IMAGES.first(4))
    rough = replace(report(tried(30, 10)), learned=IMAGES.first(8), trial=few)
    too_few, held_out = _on_images(rough)
    assert too_few == (
        "8 images learned are too few for a false-alarm rate of 1 %: in this trial, 5 % of good "
        "images may fail; fit 99 good images or more"
    )
    assert held_out == (
        "only 4 images held out, so the figures are rough: give 30 good images or more"
    )
    enough = replace(rough, settings=FitSettings(false_alarm_rate=0.05), trial=TRIAL)
    assert _on_images(enough) == []


def test_a_busy_machine_is_said() -> None:
    assert _on_machine([1.0, 0.5, 1.8]) == []
    (line,) = _on_machine([0.4, 0.6, 1.0])
    assert "other programs were at work" in line


def test_settings_with_too_many_false_alarms_are_not_recommended() -> None:
    alarming, quiet = tried(10, 20, alarms=8), tried(20, 10)
    assert not alarming.keeps_rate
    assert report(alarming, quiet).recommended is quiet
    # One of twenty says little against a rate of 5 %.
    assert tried(10, 20, alarms=1).keeps_rate


def test_a_budget_that_nothing_meets_is_said() -> None:
    found = report(tried(30, 1), tried(20, 0, scale=0.5), budget_ms=5)
    assert found.recommendation() == (
        "scale 0.5, blocks.4 and blocks.10: the quickest, as no setting is within the budget of "
        "5 ms"
    )
    assert not found.within_budget


def test_where_hardly_any_fail_what_is_located_is_said() -> None:
    found = report(tried(30, 0, located=15))
    assert found.few_found
    assert "locates 75 % of the synthetic defects" in found.recommendation()
    assert not report(tried(30, 5)).few_found


def test_caution_is_said_where_a_fit_would_choose_otherwise() -> None:
    chosen = tried(20, 5)
    chosen = replace(chosen, candidate=replace(chosen.candidate, marks=("what fit chooses",)))
    assert report(chosen).caution() == ""
    same_layers = report(chosen, tried(30, 10)).caution()
    assert "images of real defects" in same_layers
    assert "blocks.10" not in same_layers
    shallow = tried(30, 10)
    settings = make_fit_settings(scale=1.0, layers="blocks.4")
    shallow = replace(shallow, candidate=replace(shallow.candidate, settings=settings))
    assert "wrong place, which blocks.10 sees, are not" in report(chosen, shallow).caution()


def test_the_command_has_the_options_of_a_fit() -> None:
    options: dict[str, Any] = {
        "scale": 0.5, "layers": ["blocks.2", "blocks.4"], "coreset_ratio": 0.012,
        "image_score": "max", "seed": 3, "false_alarm_rate": 0.05,
    }  # fmt: skip
    make_fit_settings(**options)
    assert fit_command("board", ["good parts/"], options) == (
        "patchbank fit board 'good parts/' --scale 0.5 --layers blocks.2,blocks.4 "
        "--coreset-ratio 0.012 --score max --seed 3 --false-alarm-rate 0.05"
    )


def test_the_command_is_read_back_as_it_was_meant() -> None:
    names = ['it\'s "one".png', "-1.png"]
    options: dict[str, Any] = {
        "coreset_ratio": 0.123456789, "exclude": names, "memory_limit": "4GB",
    }  # fmt: skip
    line = shlex.split(fit_command("board", ["-new", "$HOME/*.png"], options))
    assert line[:5] == ["patchbank", "fit", "board", "./-new", "$HOME/*.png"]
    assert line[5:] == [
        "--coreset-ratio", "0.123456789", "--exclude", names[0], "--exclude=-1.png",
        "--memory-limit", "4GB",
    ]  # fmt: skip


def test_options_given_are_repeated() -> None:
    assert options_given(make_fit_settings(), None) == {}
    given = make_fit_settings(
        layers="blocks.4", precision="bf16", coreset_ratio=0.02, image_score="max", seed=1
    )
    assert options_given(given, 12) == {
        "layers": ["blocks.4"], "precision": "bf16", "bit_depth": 12, "coreset_ratio": 0.02,
        "image_score": "max", "seed": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 640), (4, 8, 16, 32)),
        ((4000, 3000), (8, 16, 32, 64)),
        ((96, 96), (4, 8, 16)),
        ((8, 12), (4,)),
    ],
)
def test_defects_are_small_in_their_images(
    size: tuple[int, int], expected: tuple[int, ...]
) -> None:
    assert default_defect_sizes(*size) == expected


def test_sizes_of_defects_are_checked() -> None:
    assert checked_defect_sizes([12, 6, 6]) == (6, 12)
    with pytest.raises(ParameterError, match="defect size 1: must be"):
        checked_defect_sizes([4, 1])
    with pytest.raises(ParameterError, match="at most 8"):
        checked_defect_sizes(range(2, 12))


def test_scales_are_names_that_can_be_typed() -> None:
    asked = make_fit_settings()
    scales = [option.extractor.scale for option in at_scales(asked, Sizes({(640, 480): 9}))]
    assert scales == [1.0, 0.71, 0.5, 0.35]
    small = [option.extractor.scale for option in at_scales(asked, Sizes({(300, 300): 9}), 1.4)]
    assert small == [1.4, 1.0]


def test_long_trials_hold_out_fewer_images_then_leave_out_settings() -> None:
    quick, slow = (
        Candidate(make_fit_settings(scale=scale), {}, milliseconds)
        for scale, milliseconds in ((0.5, 100.0), (1.0, 1000.0))
    )
    short = make_plan([quick], 100, TRIAL)
    assert len(short.trial.images) == 30
    assert not short.remarks
    longer = make_plan([quick, replace(slow, expected_ms=3000.0)], 100, TRIAL)
    assert len(longer.trial.images) < 30
    assert "images held out are used" in longer.remarks[0]
    assert longer.seconds < 1000
    longest = make_plan([quick, replace(slow, expected_ms=1e6)], 100, TRIAL)
    assert longest.candidates == (quick,)
    assert longest.left_out[0].startswith("scale 1, blocks.4 and blocks.10: about 1,000,000 ms")
    # What fit would choose is tried in any case.
    marked = replace(slow, expected_ms=1e6, marks=("what fit chooses",))
    assert make_plan([quick, marked], 100, TRIAL).candidates == (quick, marked)


def noise(number: int) -> Any:
    return np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_no_picture_is_learned_and_held_out() -> None:
    sources = [noise(number % 20) for number in range(40)]
    sources[5] = np.zeros((32, 32, 3), np.uint8)
    names = [str(number) for number in range(40)]
    parts = split(
        Images(sources, names), seed=0, bit_depth=None, limits=DEFAULT_LIMITS, progress=silent
    )
    assert len(parts.learned) == 14
    assert len(parts.held_out) == 6
    chosen = [*parts.learned.sources, *parts.held_out.sources]
    pictures = [np.asarray(source).tobytes() for source in chosen]
    assert len(set(pictures)) == 20
    assert len(parts.refused) == 20
    assert any("shows nothing" in item.error for item in parts.refused)
    again = split(
        Images(sources, names), seed=0, bit_depth=None, limits=DEFAULT_LIMITS, progress=silent
    )
    assert again.held_out.names == parts.held_out.names


def test_too_few_images_are_counted() -> None:
    few = Images([noise(number) for number in range(6)], [str(number) for number in range(6)])
    with pytest.raises(NoImagesError, match=r"6 usable images of 6 given; .*; add 2 more"):
        split(few, seed=0, bit_depth=None, limits=DEFAULT_LIMITS, progress=silent)


def test_settings_in_use_are_told_from_others_of_the_same_scale() -> None:
    usual, same, sparse, whole = (
        Candidate(make_fit_settings(image_size=224, **options), {}, 1.0, (mark,))
        for options, mark in (
            ({}, "a"), ({}, "b"), ({"coreset_ratio": 0.01}, "c"), ({"precision": "int8"}, "d")
        )
    )  # fmt: skip
    merged = _merged([usual, same, sparse, whole])
    assert [item.marks for item in merged] == [("a", "b"), ("c",), ("d",)]
    assert whole.title == "224 x 224, blocks.4 and blocks.10, int8"
    largest = Candidate(make_fit_settings(image_size=224, image_score="max"), {}, 1.0)
    assert largest.title == "224 x 224, blocks.4 and blocks.10, score max"


def test_a_bank_in_use_names_its_tiles() -> None:
    settings = make_fit_settings(scale=1, tile=640, overlap=128, layers=("blocks.4",))
    in_use = Candidate(settings, None, 1.0, ("in use now",))
    tiles = "scale 1 in tiles of 640 pixels, overlapping by 128 or more, blocks.4"
    assert in_use.title == tiles
    assert replace(in_use, options={"scale": 1.0}).title == "scale 1, blocks.4"


def test_a_share_in_use_is_that_of_as_many_patches() -> None:
    sizes = Sizes({(640, 640): 120})
    asked = make_fit_settings()
    for ratio, expected in ((0.1, 25_000), (0.002, 25_000), (0.2, 0.2 * 120 * 6400)):
        in_use = make_fit_settings(scale=1, coreset_ratio=ratio)
        fitting = _with_fitting_share(in_use, asked, sizes)
        assert round(fitting.coreset_ratio * 120 * 6400) == expected
