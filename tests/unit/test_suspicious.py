"""Reference images that stand apart by their scores."""

from __future__ import annotations

import numpy as np
import pytest

from patchbank.inspection.learning.reduction import reduction_remarks
from patchbank.inspection.learning.remarks import fewer_images, moved_threshold
from patchbank.inspection.learning.screening import rate_if_good
from patchbank.inspection.learning.suspicious import find_suspicious
from patchbank.memory.calibration import Calibration, conformal_threshold
from patchbank.memory.outliers import extreme, secluded
from patchbank.store.bank_content import ReferenceImage
from patchbank.vision.preprocess import Preprocessing


def _scores(seed: int, count: int, outliers: tuple[float, ...] = ()) -> list[float]:
    random = np.random.default_rng(seed)
    return [*random.normal(18, 2, count - len(outliers)).tolist(), *outliers]


@pytest.mark.parametrize("outliers", [(46.6,), (46.6, 41.0), (60.0, 58.0, 46.0, 41.0, 40.0)])
def test_a_few_bad_images_among_a_hundred_are_named(outliers: tuple[float, ...]) -> None:
    scores = _scores(0, 100, outliers)
    names = [f"{number}.png" for number in range(100)]
    found = find_suspicious(names, scores, 0.01)
    assert found is not None
    assert found.scores == outliers
    assert set(found.names) == set(names[-len(outliers) :])
    assert found.next_score == max(scores[: -len(outliers)])
    assert found.threshold_without < 26 < found.threshold
    line = found.describe("fit again")
    assert all(f"{name} (score " in line for name in found.names)
    assert "raise" in line


def test_ordinary_sets_are_left_in_peace() -> None:
    for count in (6, 10, 24, 60, 200):
        names = [f"{number}.png" for number in range(count)]
        cried = sum(
            find_suspicious(names, _scores(seed, count), 0.01) is not None for seed in range(200)
        )
        assert cried <= 20, count


@pytest.mark.parametrize("count", [5, 7, 8, 10, 12, 15, 20, 40, 41, 60, 99, 150])
def test_one_glaring_image_is_named_whatever_the_number_of_images(count: int) -> None:
    for seed in range(20):
        scores = [*np.random.default_rng(seed).normal(25, 2, count - 1).tolist(), 48.5]
        found = find_suspicious([str(number) for number in range(count)], scores, 0.01)
        assert found is not None
        assert str(count - 1) in found.names


@pytest.mark.parametrize("count", [40, 60, 100])
def test_two_images_that_set_the_threshold_are_named(count: int) -> None:
    """Their excess is not improbable in a long tail; what they do to the threshold is plain."""
    scores = [*np.linspace(17, 28.4, count).tolist(), 35.8, 36.3]
    found = find_suspicious([str(number) for number in range(count + 2)], scores, 0.01)
    assert found is not None
    assert found.scores == (36.3, 35.8)
    assert found.threshold_without == 28.4
    assert "they raise the threshold from 28.4 to 36.3" in found.describe("fit again")


@pytest.mark.parametrize("bad", [1, 2, 3])
@pytest.mark.parametrize("count", [12, 40, 100])
def test_bad_images_that_resemble_one_another_are_named(count: int, bad: int) -> None:
    random = np.random.default_rng(0)
    looks = random.normal(0, 1, (count + bad, 32)).astype(np.float32)
    looks[:bad] = 5 + random.normal(0, 0.1, (bad, 32))
    names = [str(number) for number in range(count + bad)]
    scores = _scores(1, count + bad)
    scores[:bad] = [12.0] * bad
    found = find_suspicious(names, scores, 0.01, looks)
    assert found is not None
    assert set(found.names) == set(names[:bad]) == found.unlike
    assert "0 (unlike the others)" in found.describe("fit again")
    assert find_suspicious(names[bad:], scores[bad:], 0.01, looks[bad:]) is None


def test_looks_of_ordinary_or_identical_images_name_nobody() -> None:
    for count in (3, 4, 6, 10, 40, 200):
        for seed in range(20):
            looks = np.random.default_rng(seed).normal(0, 1, (count, 16))
            assert len(secluded(looks)) == 0
        assert len(secluded(np.ones((count, 16), np.float32))) == 0


def test_scores_that_are_missing_or_few_name_nobody() -> None:
    assert find_suspicious(["a", "b", "c"], [1.0, 1.1, 9.0], 0.01) is None
    assert find_suspicious([str(n) for n in range(12)], [1.0] * 12, 0.01) is None
    names = [str(number) for number in range(42)]
    scores = [*_scores(1, 40, (60.0,)), float("nan"), float("nan")]
    found = find_suspicious(names, scores, 0.05)
    assert found is not None
    assert found.names == ("39",)


@pytest.mark.parametrize(
    ("width", "height", "side", "texts"),
    [
        (
            4000,
            3000,
            224,
            [
                "reduced 18 times: defects smaller than about 40 pixels cannot be detected; "
                "use --scale 1 or --image-size 896 to detect smaller",
                "1.33 times more across than down",
                "use --scale to keep the shape",
            ],
        ),
        (640, 640, 224, ["reduced 2.9 times", "--image-size 640"]),
        (300, 300, 224, []),
        (200, 800, 448, ["4 times more down than across"]),
    ],
)
def test_a_reduction_that_hides_defects_is_said(
    width: int, height: int, side: int, texts: list[str]
) -> None:
    image = ReferenceImage("a.png", "00" * 32, width, height)
    said = " ".join(reduction_remarks([image], Preprocessing(side)))
    assert all(text in said for text in texts)
    assert bool(said) is bool(texts)


def _sized(*sizes: tuple[int, int]) -> list[ReferenceImage]:
    return [ReferenceImage("a.png", "00" * 32, width, height) for width, height in sizes]


def test_a_reduction_is_said_of_those_images_that_it_hides_something_of() -> None:
    mixed = _sized(*[(224, 224)] * 5, *[(1000, 1000)] * 4)
    (said,) = reduction_remarks(mixed, Preprocessing(224))
    assert said.startswith(
        "4 of 9 images are reduced 4.5 times: defects smaller than about 10 pixels"
    )
    assert "--image-size 896" in said
    turned = " ".join(reduction_remarks(_sized((200, 150), (150, 200)), Preprocessing(224)))
    assert "1 of 2 images is squeezed to a square, 1.33 times more across than down" in turned
    assert "1.33 times more down than across" in turned
    assert reduction_remarks(_sized(*[(300, 300)] * 20, (1000, 1000)), Preprocessing(224)) == ()


@pytest.mark.parametrize(("size", "crop", "left_out"), [(896, 224, "94 %"), (256, 224, None)])
def test_a_crop_that_hides_most_is_said(size: int, crop: int, left_out: str | None) -> None:
    said = reduction_remarks(_sized((300, 300)), Preprocessing(size, crop))
    assert [left_out in one and "--center-crop" in one for one in said if left_out] == (
        [True] if left_out else []
    )
    assert bool(said) is (left_out is not None)


def test_a_threshold_that_moves_far_or_rests_on_fewer_is_said() -> None:
    before = Calibration(tuple(range(1, 31)), tuple(range(1, 31)), "max")
    threshold = conformal_threshold([30.0, 50.0, 20.0, 10.0, 5.0])
    assert "from 30 to 50" in moved_threshold(before, threshold)[0]
    assert "from 30 to 10" in moved_threshold(before, conformal_threshold([10.0]))[0]
    assert moved_threshold(before, conformal_threshold([35.0])) == []
    assert moved_threshold(None, threshold) == []
    assert (
        "is based on 5 images, and that of the previous bank on 30"
        in (fewer_images(30, threshold)[0])
    )
    assert fewer_images(30, conformal_threshold(range(25))) == []
    assert fewer_images(0, threshold) == []


def test_screening_finds_many_bad_images_that_each_are_not_improbable() -> None:
    # No gap: scores of good images, at quantiles of an exponential, reach up to the bad ones.
    good = 15 - 2 * np.log((190 - np.arange(190)) / 190.5)
    bad = 24.0 + 0.4 * np.arange(10)
    scores = np.concatenate([good, bad])
    names = [str(number) for number in range(200)]
    assert find_suspicious(names, scores, 0.01) is None
    found = find_suspicious(names, scores, 0.01, screening=True)
    assert found is not None
    assert len({*names[190:]} & {*found.names}) >= 7
    assert len(found.names) <= 12


def test_extreme_scores_are_at_most_a_tenth_and_need_ten() -> None:
    """An exponential tail has as many as stated: one in 66."""
    random = np.random.default_rng(3)
    shares = [len(extreme(random.exponential(1, 400))) / 400 for _ in range(200)]
    # Of an exponential, the excess over its median is exponential too.
    assert np.mean(shares) == pytest.approx(np.exp(-3.5) / 2, rel=0.15)
    assert len(extreme([*random.normal(10, 1, 70), *[100.0] * 30])) <= 10
    assert len(extreme([1.0] * 8 + [50.0])) == 0
    assert len(extreme([1.0] * 30 + [50.0])) == 0
    assert extreme([*np.linspace(1, 2, 30), 50.0, np.nan]).tolist() == [30]


@pytest.mark.parametrize("left_out", [1, 4])
def test_the_rate_if_what_was_left_out_is_good_is_kept(left_out: int) -> None:
    """Where good images are cut off by their scores, more of the new ones are above."""
    random = np.random.default_rng(5)
    sets = np.sort(random.normal(0, 1, (4000, 120)))[:, :-left_out]
    thresholds = [conformal_threshold(scores, 0.02) for scores in sets]
    rates = [(random.normal(0, 1, 50) > threshold.value).mean() for threshold in thresholds]
    threshold = thresholds[0]
    promised = rate_if_good(threshold, left_out)
    assert promised > threshold.guaranteed_rate
    assert np.mean(rates) == pytest.approx(promised, rel=0.05)
