"""Reference images that stand apart by their scores."""

from __future__ import annotations

import numpy as np
import pytest

from patchbank.inspection.gather import ReferenceImage
from patchbank.inspection.reduction import reduction_remarks
from patchbank.inspection.suspicious import find_suspicious
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
    assert all(f"{name} (score " in found.describe() for name in found.names)
    assert "raise" in found.describe()


def test_ordinary_sets_are_left_in_peace() -> None:
    for count in (10, 24, 60, 200):
        names = [f"{number}.png" for number in range(count)]
        cried = sum(
            find_suspicious(names, _scores(seed, count), 0.01) is not None for seed in range(200)
        )
        assert cried <= 10, count


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
                "reduced 18 times: defects under about 40 pixels cannot be seen; give --image-size",
                "size 896 to see smaller",
                "1.33 times more across than down",
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
    image = ReferenceImage("a.png", None, "", "", width, height, b"")
    said = " ".join(reduction_remarks([image], Preprocessing(side)))
    assert all(text in said for text in texts)
    assert bool(said) is bool(texts)
