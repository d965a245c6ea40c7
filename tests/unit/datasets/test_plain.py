"""Plain folders of good and bad images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from patchbank.datasets.catalogue import DATASETS
from patchbank.datasets.samples import Mask
from patchbank.errors import DatasetError
from tests.fixtures.trees import make, photograph

FOLDER = DATASETS["folder"]
GOOD = tuple(f"good/{number}.png" for number in range(10))


def test_good_images_alone(tmp_path: Path) -> None:
    root = make(tmp_path / "bracket", *GOOD)
    assert FOLDER.list_categories(root) == ["bracket"]
    samples = FOLDER.load(root, "bracket")
    assert len(samples.train) == 8
    assert {sample.label for sample in samples.test} == {"good"}
    assert "good images only" in samples.warnings[0]


def test_the_split_depends_on_names_alone(tmp_path: Path) -> None:
    ordered = FOLDER.load(make(tmp_path / "a", *GOOD), "a")
    reverse = FOLDER.load(make(tmp_path / "b", *reversed(GOOD)), "b")
    # Published figures depend on this choice.
    assert [sample.name for sample in ordered.test] == ["good/0.png", "good/6.png"]
    assert [sample.name for sample in reverse.test] == [sample.name for sample in ordered.test]


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    root = make(tmp_path / "bracket", *GOOD)
    (root / "good/0.png").rename(root / "good" / os.fsdecode(b"\xff0.png"))
    samples = FOLDER.load(root, "bracket")
    assert (len(samples.train), len(samples.test)) == (8, 2)


def test_good_and_bad_with_kinds_and_masks(tmp_path: Path) -> None:
    root = make(
        tmp_path / "bracket",
        *GOOD,
        "bad/1.png",
        "bad/crack/1.png",
        "bad/crack/2.png",
        "masks/1.png",
        "masks/crack/1_mask.png",
    )
    samples = FOLDER.load(root, "bracket")
    assert [(s.name, s.kind, s.mask) for s in samples.test if s.label == "anomalous"] == [
        ("bad/1.png", "bad", Mask((root / "masks/1.png",))),
        ("bad/crack/1.png", "crack", Mask((root / "masks/crack/1_mask.png",))),
        ("bad/crack/2.png", "crack", None),
    ]
    (warning,) = samples.warnings
    assert "for 1 of 3 images" in warning


def test_several_categories(tmp_path: Path) -> None:
    root = make(tmp_path, *(f"{part}/{name}" for part in ("nut", "bolt") for name in GOOD))
    assert FOLDER.list_categories(root) == ["bolt", "nut"]
    assert FOLDER.load(root, "nut").train[0].name.startswith("nut/good/")


@pytest.mark.parametrize(
    ("names", "below", "message"),
    [
        (GOOD, "nowhere", "does not exist; give the folder that holds ROOT/good"),
        (GOOD, "good", "is the folder of good images; give its parent"),
        (("ok/1.png", "bad/1.png"), ".", "expected .*good, found .*ok; rename it to good"),
        (("1.png", "2.png"), ".", r"expected .*good with the good images; found 2 .png files"),
        (("good/1.png",), ".", "holds one image; at least two"),
        (("good/1.txt",), ".", "good holds no image; it holds 1 .txt file"),
        ((*GOOD, "ng/1.png"), ".", "expected .*bad, found .*ng; rename it to bad"),
        ((*GOOD, "crack/1.png"), ".", "folders that are not read: crack; .* kinds of defect into"),
        ((*GOOD, "bad/1.txt"), ".", "bad holds no image; it holds 1 .txt file"),
        ((*GOOD, "masks/1.png"), ".", "holds masks, but .*bad does not exist"),
        (
            (*GOOD, "bad/1.png", "masks/1_seg.png"),
            ".",
            "no mask for 1 image in .*bad: expected .*STEM_mask.png, found 1_seg.png",
        ),
    ],
)
def test_a_mistake_is_explained(
    tmp_path: Path, names: tuple[str, ...], below: str, message: str
) -> None:
    root = (make(tmp_path, *names) / below).resolve()
    with pytest.raises(DatasetError, match=message) as error:
        FOLDER.load(root, FOLDER.list_categories(root)[0])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["good/defects/4.png", "good/ng/4.png", "good/test/4.png"])
def test_defects_below_good_are_not_learned(tmp_path: Path, name: str) -> None:
    root = make(tmp_path / "bracket", *GOOD, "good/train/1.png", name)
    with pytest.raises(DatasetError, match="good is a data set, not a folder of good images"):
        FOLDER.load(root, "bracket")


def test_kinds_of_defect_may_be_named_like_masks(tmp_path: Path) -> None:
    root = make(tmp_path / "bracket", *GOOD)
    for name in ("bad/gt/1.png", "bad/seg/1.png", "bad/crack/1.png"):
        photograph(root / name)
    samples = FOLDER.load(root, "bracket")
    assert {"gt", "seg", "crack"} < {sample.kind for sample in samples.test}
