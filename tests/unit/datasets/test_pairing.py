"""Pairing of masks with images."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbank.datasets.layouts import kolektor, plain
from patchbank.datasets.layouts.btad import BTAD
from patchbank.datasets.layouts.mvtec import MVTEC_AD, MVTEC_LOCO
from patchbank.datasets.layouts.tree import Tree
from patchbank.datasets.samples import CategorySamples
from patchbank.errors import DatasetError
from tests.fixtures.trees import black, make

GOOD = tuple(f"good/{number}.png" for number in range(5))


def masks_of(samples: CategorySamples) -> dict[str, str]:
    """Return the mask of each defective image, both by their file names."""
    return {
        sample.path.name: sample.mask.paths[0].name if sample.mask else ""
        for sample in samples.test
        if sample.label == "anomalous"
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("bad/1.png", "masks/1.json", "masks/1.png"), {"1.png": "1.png"}),
        (("bad/0.jpg", "bad/0.png", "masks/0.png"), {"0.jpg": "", "0.png": "0.png"}),
        (
            ("bad/0.jpg", "bad/0.png", "masks/0.jpg", "masks/0.png"),
            {"0.jpg": "0.jpg", "0.png": "0.png"},
        ),
        (
            ("bad/0.jpg", "bad/0.png", "masks/0.jpg.png", "masks/0.png_mask.png"),
            {"0.jpg": "0.jpg.png", "0.png": "0.png_mask.png"},
        ),
        (("bad/0.jpg", "bad/0.png", "masks/0_mask.png"), {"0.jpg": "", "0.png": "0_mask.png"}),
        (
            ("bad/0.jpg", "bad/0.png", "masks/0.png", "masks/0.bmp"),
            {"0.jpg": "0.bmp", "0.png": "0.png"},
        ),
        (
            ("bad/0.jpg", "bad/1.jpg", "masks/0.png", "masks/1.bmp"),
            {"0.jpg": "0.png", "1.jpg": "1.bmp"},
        ),
        (
            ("bad/a/0.jpg", "bad/b/0.png", "masks/a/0.png", "masks/b/0.png"),
            {"0.jpg": "0.png", "0.png": "0.png"},
        ),
    ],
)
def test_the_full_name_decides_first_and_only_pictures_are_masks(
    tmp_path: Path, files: tuple[str, ...], expected: dict[str, str]
) -> None:
    root = make(tmp_path, *GOOD, *files)
    samples = plain.load(root, root.name)
    assert masks_of(samples) == expected
    warned = any("1 file not read: .json" in warning for warning in samples.warnings)
    assert warned == any(name.endswith(".json") for name in files)


def test_a_mask_that_may_be_of_several_images_is_not_used(tmp_path: Path) -> None:
    root = make(
        tmp_path, *GOOD, "bad/0.jpg", "bad/0.png", "bad/1.png", "masks/0.bmp", "masks/1.png"
    )
    samples = plain.load(root, root.name)
    assert masks_of(samples) == {"0.jpg": "", "0.png": "", "1.png": "1.png"}
    assert any("0.bmp may be the mask of several images" in line for line in samples.warnings)


@pytest.mark.parametrize("tree", [MVTEC_AD, BTAD])
def test_trees_pair_masks_in_the_same_way(tmp_path: Path, tree: object) -> None:
    layout = MVTEC_AD if tree is MVTEC_AD else BTAD
    ending = "_mask" if tree is MVTEC_AD else ""
    make(
        tmp_path,
        *(f"tile/{split}/{layout.good}/{n}.png" for split in ("train", "test") for n in (0, 1)),
        *("tile/test/cut/0.jpg", "tile/test/cut/0.png", "tile/test/cut/1.jpg"),
        *(f"tile/ground_truth/cut/{n}{ending}.png" for n in (0, 1)),
        f"tile/ground_truth/cut/1{ending}.json",
    )
    samples = layout.load(tmp_path, "tile")
    found = masks_of(samples)
    assert found == {"0.jpg": "", "0.png": f"0{ending}.png", "1.jpg": f"1{ending}.png"}


@pytest.mark.parametrize(
    ("layout", "good", "mask", "shown"),
    [
        (MVTEC_AD, "good", "1_mask.png", "1_mask.png"),
        (MVTEC_LOCO, "good", "1/000.png", "1/"),
        (BTAD, "ok", "1.png", "1.png"),
    ],
)
def test_the_advice_for_a_mask_of_several_images_works(
    tmp_path: Path, layout: Tree, good: str, mask: str, shown: str
) -> None:
    truth = tmp_path / "tile/ground_truth/cut"
    make(
        tmp_path,
        *(f"tile/{split}/{good}/{n}.png" for split in ("train", "test") for n in (0, 1)),
        *(f"tile/test/cut/{name}" for name in ("0.png", "1.bmp", "1.jpg")),
        *(f"tile/ground_truth/cut/{mask.replace('1', n, 1)}" for n in ("0", "1")),
    )
    samples = layout.load(tmp_path, "tile")
    assert masks_of(samples)["1.bmp"] == masks_of(samples)["1.jpg"] == ""
    advice = next(line for line in samples.warnings if "of several images" in line)
    assert f"{truth}: {shown} may be the mask of several images" in advice
    (truth / shown).rename(truth / advice.rsplit("as ", 1)[1])
    samples = layout.load(tmp_path, "tile")
    assert masks_of(samples)["1.bmp"] == ""
    assert masks_of(samples)["1.jpg"] != ""
    assert not any("of several images" in line for line in samples.warnings)


@pytest.mark.parametrize("name", ["1.jpg.png", "1.jpg_mask.png"])
def test_the_full_name_of_an_image_is_enough_in_every_tree(tmp_path: Path, name: str) -> None:
    make(
        tmp_path,
        *(f"tile/{split}/good/{n}.png" for split in ("train", "test") for n in (0, 1)),
        *("tile/test/cut/1.jpg", "tile/test/cut/1.png"),
        *(f"tile/ground_truth/cut/{mask}" for mask in (name, "1_mask.png")),
    )
    assert masks_of(MVTEC_AD.load(tmp_path, "tile")) == {"1.jpg": name, "1.png": "1_mask.png"}


def test_kolektor_pairs_masks_in_the_same_way(tmp_path: Path) -> None:
    make(tmp_path, "train/0.png", "train/0_GT.png", "test/0.jpg", "test/0.png", "test/0_GT.png")
    black(tmp_path / "train/0_GT.png")
    with pytest.raises(DatasetError, match=r"no mask for 1 of 2 images.*0\.jpg"):
        kolektor.load(tmp_path)
    make(tmp_path, "test/0.jpg_GT.png")
    assert masks_of(kolektor.load(tmp_path)) == {
        "0.jpg": "0.jpg_GT.png",
        "0.png": "0_GT.png",
    }
