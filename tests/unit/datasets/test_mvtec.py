"""MVTec AD's layout, correct and incorrect, on real folders."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from patchbank.datasets.layouts import mvtec
from patchbank.datasets.samples import Mask
from patchbank.errors import DatasetError
from tests.fixtures.trees import make_dataset, photograph

RIGHT = (
    "leather/train/good/000.png",
    "leather/train/good/001.png",
    "leather/test/good/000.png",
    "leather/test/cut/000.png",
    "leather/test/cut/001.png",
    "leather/ground_truth/cut/000_mask.png",
    "leather/ground_truth/cut/001_mask.png",
    "tile/train/good/0.png",
    "tile/test/good/0.png",
    "tile/test/crack/0.png",
)


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            Image.new("L", (2, 2)).save(path)
        else:
            path.write_text("")
    return root


def test_a_category_loads(tmp_path: Path) -> None:
    root = make(tmp_path, *RIGHT, "readme.txt", "license/text.txt")
    assert mvtec.list_categories(root) == ["leather", "tile"]
    found = mvtec.load(root, "leather")
    assert [sample.name for sample in found.train] == [
        "leather/train/good/000.png",
        "leather/train/good/001.png",
    ]
    assert [(s.name, s.label, s.kind, s.split) for s in found.test] == [
        ("leather/test/cut/000.png", "anomalous", "cut", "test"),
        ("leather/test/cut/001.png", "anomalous", "cut", "test"),
        ("leather/test/good/000.png", "good", "good", "test"),
    ]
    assert found.test[0].mask == Mask((root / "leather/ground_truth/cut/000_mask.png",))
    assert found.kinds == {"good": 1, "cut": 2}
    assert found.has_masks
    assert found.warnings == ()


def test_masks_are_optional(tmp_path: Path) -> None:
    found = mvtec.load(make(tmp_path, *RIGHT), "tile")
    assert not found.has_masks
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("extra", "removed", "warning"),
    [
        ([], "leather/ground_truth/cut/001_mask.png", "no mask .* for 1 of 2 images: 001.png"),
        (["leather/ground_truth/cut/009_mask.png"], None, "no image for 1 mask: 009"),
        (["leather/train/bad/1.png"], None, "only good is read, not bad"),
        ([], "leather/test/good/000.png", "test/good holds no image; it holds nothing"),
    ],
)
def test_irregularities_give_warnings(
    tmp_path: Path, extra: list[str], removed: str | None, warning: str
) -> None:
    root = make(tmp_path, *RIGHT, *extra)
    if removed:
        (root / removed).unlink()
    (found,) = mvtec.load(root, "leather").warnings
    assert re.search(warning, found)


def test_a_test_of_one_class_is_recorded(tmp_path: Path) -> None:
    root = make(tmp_path, "a/train/good/1.png", "a/test/cut/1.png")
    make(root, "b/train/good/1.png", "b/test/good/1.png")
    assert "has no folder good" in mvtec.load(root, "a").warnings[0]
    assert "good images only" in mvtec.load(root, "b").warnings[0]


@pytest.mark.parametrize(
    ("names", "below", "message"),
    [
        (RIGHT, "nowhere", "does not exist; give the folder that holds ROOT/NAME/train/good"),
        (RIGHT, "tile/test/good/0.png", "is not a folder"),
        (RIGHT, "leather", "is itself a category; give its parent .* and --category leather"),
        (["mvtec/a/train/good/1.png"], ".", r"holds no category, but .*mvtec does \(a\); give"),
        (["1.png", "2.png"], ".", r"expected ROOT/NAME/train/good .* found 2 \.png.*patchbank fit"),
        ([], ".", "found nothing"),
    ],
)
def test_a_wrong_root_is_explained(
    tmp_path: Path, names: tuple[str, ...] | list[str], below: str, message: str
) -> None:
    make(tmp_path, *names)
    with pytest.raises(DatasetError, match=message) as error:
        mvtec.list_categories(tmp_path / below)
    assert "\n" not in str(error.value)


def test_a_category_is_found_however_its_folder_is_spelled(tmp_path: Path) -> None:
    # Composed (NFC), as typed, and decomposed (NFD), as macOS names folders.
    make(tmp_path, "Bu\u0308rste/train/good/1.png", "Bu\u0308rste/test/good/1.png")
    make(tmp_path, "K\u00fcrbis/train/good/1.png", "K\u00fcrbis/test/good/1.png")
    for category in ("B\u00fcrste", "Ku\u0308rbis"):
        assert len(mvtec.load(tmp_path, category).train) == 1
    with pytest.raises(DatasetError, match="no category 'Burste', did you mean Bu"):
        mvtec.load(tmp_path, "Burste")


@pytest.mark.parametrize(
    ("names", "category", "message"),
    [
        (RIGHT, "Lether", "no category 'Lether', did you mean leather. it has leather, tile"),
        (RIGHT, "zipper", "no category 'zipper'; it has leather, tile"),
        (RIGHT, "../leather", "no category"),
        (["a/train/Good/1.png", "a/test/good/1.png"], "a", "found .*train/Good; rename it to good"),
        (
            ["a/train/1.png", "a/test/good/1.png"],
            "a",
            r"expected .*train/good.* found 1 \.png file",
        ),
        (["a/test/good/1.png"], "a", r"expected .*train/good.* found 1 folder in .*a \(test\)"),
        (["a/train/good/x.txt", "a/test/good/1.png"], "a", r"train/good holds no image.*1 \.txt"),
        (["a/train/good/1.png"], "a", r"expected .*test with one folder per kind; found 1 folder"),
        (["a/train/good/1.png", "a/test/1.png"], "a", r"expected .*test/good and .*found 1 \.png"),
        (
            ["a/train/good/1.png", "a/test/ok/1.png", "a/test/cut/1.png"],
            "a",
            "test/ok; rename it to good",
        ),
        (["a/train/good/1.png", "a/test/cut/1.txt"], "a", "test holds no image"),
    ],
)
def test_a_wrong_category_is_explained(
    tmp_path: Path, names: tuple[str, ...] | list[str], category: str, message: str
) -> None:
    make(tmp_path, *names)
    with pytest.raises(DatasetError, match=message) as error:
        mvtec.load(tmp_path, category)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("split", ["train", "test"])
def test_defects_below_good_are_refused(tmp_path: Path, split: str) -> None:
    root = make_dataset("mvtec", tmp_path)
    make(root, f"tile/{split}/good/bad/7.png")
    with pytest.raises(DatasetError, match=f"{split}/good is a data set"):
        mvtec.load(root, "tile")


@pytest.mark.parametrize("name", ["OK", "pass", "Good", "defect-free"])
def test_other_names_for_good_are_not_kinds_of_defect(tmp_path: Path, name: str) -> None:
    root = make_dataset("mvtec", tmp_path)
    make(root, f"tile/test/{name}/7.png")
    with pytest.raises(DatasetError, match=f"found .*test/{name}; move its images to good"):
        mvtec.load(root, "tile")


def test_a_kind_of_defect_may_be_named_mask(tmp_path: Path) -> None:
    root = make_dataset("mvtec", tmp_path)
    shutil.rmtree(root / "tile/ground_truth")
    for kind in ("crack", "mask", "label", "gt"):
        photograph(root / f"tile/test/{kind}/000.png")
    samples = mvtec.load(root, "tile")
    assert {"mask", "label", "gt"} < {sample.kind for sample in samples.test}
