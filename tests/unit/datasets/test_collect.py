"""Which files are used as images of parts, on real files of every layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchbank.datasets.collect import Collected, collect
from patchbank.errors import DatasetError, NoImagesError
from patchbank.vision.own_pictures import own_mark
from tests.fixtures.trees import mask, photograph

SIDE = 32


def names(found: Collected, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found.images]


MVTEC_3D = tuple(
    f"bagel/{kind}/{data}/000.png"
    for kind in ("train/good", "validation/good", "test/good", "test/crack")
    for data in ("rgb", "gt", "xyz")
)


@pytest.mark.parametrize(
    "masks",
    [
        ["1_mask.png", "2-mask.png", "3_GT.png"],
        ["1_gt.tif", "2_ground_truth.bmp", "3_mask_0.png"],
        ["1_label.png", "2_seg.png", "mask_3.png"],
        ["ground_truth/1.png", "gt/2.png", "Masks/3.png"],
        ["labels/1.png", "defect_masks/2.png", "seg/3.png"],
        ["1.bmp", "2.tif", "other/3.png"],
    ],
)
@pytest.mark.parametrize("high", [255, 1])
@pytest.mark.parametrize("good_only", [True, False])
def test_masks_by_name_folder_or_content_are_no_images(
    tmp_path: Path, masks: list[str], high: int, good_only: bool
) -> None:
    images = ["1.png", "2.png", "3.jpg"]
    photograph(*(tmp_path / name for name in images))
    for name in masks:
        mask(tmp_path / name, high=high)
    found = collect([tmp_path], good_only=good_only)
    assert sorted(names(found, tmp_path)) == images
    assert any(remark.startswith("3 masks left out") for remark in found.remarks)


@pytest.mark.parametrize(
    "mask_name",
    [
        "labels/1.jpg",
        "GroundTruthMasks/1.jpg",
        "defect_masks/1.png",
        "anno/1.png",
        "SegmentationClass/1.png",
        "1_label.png",
        "mask1.png",
        "1_mask_0001.png",
        "1_mask_crack.png",
    ],
)
@pytest.mark.parametrize("edges", ["smooth", "steps"])
def test_grey_masks_are_no_images(tmp_path: Path, mask_name: str, edges: str) -> None:
    photograph(tmp_path / "1.png")
    pixels = np.zeros((64, 64), np.uint8)
    pixels[10:20, 10:20] = 255
    pixels[30:40, 10:20] = 128
    if edges == "smooth":
        pixels[50:58, :] = np.arange(8 * 64).reshape(8, 64) // 2
    (tmp_path / mask_name).parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(tmp_path / mask_name)
    assert names(collect([tmp_path], good_only=True), tmp_path) == ["1.png"]


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (0, 0, 255), (1, 1, 1)])
@pytest.mark.parametrize("suffix", ["png", "bmp"])
@pytest.mark.parametrize("folder", ["cam2", "labels", "masks"])
def test_the_frame_of_a_dead_camera_is_no_mask(
    tmp_path: Path, colour: tuple[int, int, int], suffix: str, folder: str
) -> None:
    images = [f"cam1/001.{suffix}", f"cam1/002.{suffix}", f"{folder}/001.{suffix}"]
    photograph(*(tmp_path / name for name in images))
    dead = f"{folder}/002.{suffix}"
    Image.new("RGB", (SIDE, SIDE), colour).save(tmp_path / dead)
    assert dead in names(collect([tmp_path]), tmp_path)
    assert len(collect([tmp_path / folder]).images) == 2


def test_two_values_in_a_folder_of_photographs_are_no_mask(tmp_path: Path) -> None:
    photograph(tmp_path / "cam1/1.png", tmp_path / "cam1/2.png", tmp_path / "cam2/1.png")
    mask(tmp_path / "cam2/2.png")
    assert len(collect([tmp_path]).images) == 4


@pytest.mark.parametrize(
    "files",
    [
        ("face_mask_001.png", "face_mask_002.png"),
        ("golf_GT_001.png", "golf_base_001.png"),
        ("masks/1.png", "caps/2.png"),
        ("GT/1.png", "base/1.png"),
    ],
)
def test_photographs_are_judged_whatever_their_names(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    photograph(*(tmp_path / name for name in files))
    found = collect([tmp_path])
    assert sorted(names(found, tmp_path)) == sorted(files)
    assert len(found.remarks) == (files[0] == "GT/1.png")


def test_a_mask_that_marks_something_gives_a_remark_when_learning(
    tmp_path: Path,
) -> None:
    photograph(*(tmp_path / f"{number}.png" for number in range(4)))
    mask(tmp_path / "2_mask.png")
    _, remark = collect([tmp_path], good_only=True).remarks
    assert "1 image in" in remark
    assert remark.endswith("leave the image out: 2.png")


def test_an_image_whose_mask_marks_a_defect_is_not_good_where_good_ones_have_black_masks(
    tmp_path: Path,
) -> None:
    for number in range(4):
        photograph(tmp_path / "train" / f"{number}.png")
        mask(tmp_path / "train" / f"{number}_GT.png", marks=number == 2)
    found = collect([tmp_path / "train"], good_only=True)
    assert names(found, tmp_path) == ["train/0.png", "train/1.png", "train/3.png"]
    assert any("1 image left out" in remark for remark in found.remarks)
    assert len(collect([tmp_path / "train"]).images) == 4


@pytest.mark.parametrize("good_only", [True, False])
def test_only_the_colours_of_three_dimensional_data_are_images(
    tmp_path: Path, good_only: bool
) -> None:
    photograph(*(tmp_path / name for name in MVTEC_3D if "/gt/" not in name))
    for name in MVTEC_3D:
        if "/gt/" in name:
            mask(tmp_path / name, marks="crack" in name)
    found = collect([tmp_path / "bagel/train/good"], good_only=good_only)
    assert names(found, tmp_path) == ["bagel/train/good/rgb/000.png"]
    judged = collect([tmp_path / "bagel/test"])
    assert names(judged, tmp_path) == [
        "bagel/test/crack/rgb/000.png",
        "bagel/test/good/rgb/000.png",
    ]
    with pytest.raises(DatasetError, match=r"bagel/train/good$"):
        collect([tmp_path], good_only=True)


def test_products_may_be_named_masks_or_labels(tmp_path: Path) -> None:
    images = ["masks/1.png", "labels/front_label.png", "labels/seg/2.png"]
    photograph(*(tmp_path / name for name in images))
    assert names(collect([tmp_path / "masks"], good_only=True), tmp_path) == images[:1]
    found = collect([tmp_path / "labels"], good_only=True)
    assert names(found, tmp_path) == images[1:]


def test_bilevel_images_alone_are_images(tmp_path: Path) -> None:
    for folder in ("monday", "tuesday"):
        mask(tmp_path / folder / "1.png")
    assert len(collect([tmp_path], good_only=True).images) == 2


def test_a_folder_of_masks_only_is_an_error_that_says_so(tmp_path: Path) -> None:
    mask(tmp_path / "ground_truth" / "1.png")
    mask(tmp_path / "ground_truth" / "2_mask.png")
    with pytest.raises(NoImagesError, match="no image of a part: 2 masks left out"):
        collect([tmp_path / "ground_truth"])


def test_a_file_given_by_name_is_used_with_a_remark(tmp_path: Path) -> None:
    mask(tmp_path / "1_mask.png")
    photograph(tmp_path / "2.png")
    found = collect([tmp_path / "1_mask.png", tmp_path / "2.png"], good_only=True)
    assert names(found, tmp_path) == ["1_mask.png", "2.png"]
    (remark,) = found.remarks
    assert "named like a mask" in remark
    assert "1_mask.png" in remark


@pytest.mark.parametrize(
    "folder",
    [
        "@eaDir",
        "__MACOSX",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        ".Trash-1000",
        ".thumbnails",
        "lost+found",
        "@Recycle",
        ".AppleDouble",
        "#snapshot",
    ],
)
def test_folders_of_systems_are_not_looked_into(tmp_path: Path, folder: str) -> None:
    photograph(tmp_path / "1.png", tmp_path / folder / "1.png", tmp_path / "a" / folder / "2.png")
    (tmp_path / "._1.png").write_bytes(b"\0\5\x16\7")
    photograph(tmp_path / "a" / "2.png")
    for pattern in ("", "*", "**/*.png", "*/*.png", "a/**"):
        found = names(
            collect([tmp_path / "1.png", tmp_path / "a/2.png", tmp_path / pattern]), tmp_path
        )
        assert found == ["1.png", "a/2.png"]


def test_pictures_that_patchbank_wrote_are_left_out(tmp_path: Path) -> None:
    photograph(tmp_path / "1.png")
    picture = Image.open(tmp_path / "1.png")
    for suffix in (".png", ".jpg", ".tiff"):
        picture.save(tmp_path / f"heatmap{suffix}", **own_mark(suffix))
    found = collect([tmp_path])
    assert names(found, tmp_path) == ["1.png"]
    (remark,) = found.remarks
    assert remark.startswith("3 pictures written by patchbank left out")
    named = collect([tmp_path / "heatmap.png"])
    assert len(named.images) == len(named.remarks) == 1


def test_files_that_are_no_pictures_are_counted_by_suffix(tmp_path: Path) -> None:
    photograph(tmp_path / "1.png")
    for name in ("a.raw", "b.RAW", "README", ".hidden.txt", "Thumbs.db"):
        (tmp_path / name).write_text("")
    for path in (tmp_path, tmp_path / "*"):
        (remark,) = collect([path]).remarks
        assert remark == "3 files not read: 2 .raw, 1 without suffix"


def test_an_empty_path_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photograph(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert collect(["."]).images == (Path("a.png"),)
    with pytest.raises(NoImagesError, match=r"an empty path was given; give a folder, such as \."):
        collect([""])
