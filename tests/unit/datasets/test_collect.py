"""What is taken for an image of a part, on real files of every layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchbank.datasets.collect import Collected, collect, remarks_on_named
from patchbank.errors import DatasetError, NoImagesError
from patchbank.vision.own_pictures import own_mark
from tests.fixtures.trees import make, make_dataset, photograph

SIDE = 32


def mask(path: Path, *, high: int = 255, marks: bool = True) -> None:
    """Write a mask with a square, or a black one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    if marks:
        pixels[4:9, 4:12] = high
    Image.fromarray(pixels).save(path)


def names(found: Collected, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found.images]


MVTEC_3D = tuple(
    f"bagel/{kind}/{data}/000.png"
    for kind in ("train/good", "validation/good", "test/good", "test/crack")
    for data in ("rgb", "gt", "xyz")
)


@pytest.mark.parametrize(
    ("dataset", "below", "good"),
    [
        ("mvtec", "", ["tile/train/good"]),
        ("mvtec", "tile", ["tile/train/good"]),
        ("mvtec", "tile/test", ["tile/train/good"]),
        ("mvtec", "tile/test/crack", ["tile/train/good"]),
        ("mvtec-ad2", "", ["can/train/good"]),
        ("mvtec-ad2", "can", ["can/train/good"]),
        ("mvtec-ad2", "can/test_public", ["can/train/good"]),
        ("mvtec-loco", "pushpins", ["pushpins/train/good"]),
        ("mvtec-loco", "pushpins/test", ["pushpins/train/good"]),
        ("visa", "", ["candle/Data/Images/Normal"]),
        ("visa", "candle", ["candle/Data/Images/Normal"]),
        ("visa", "candle/Data/Images", ["candle/Data/Images/Normal"]),
        ("btad", "", ["01/train/ok"]),
        ("btad", "01", ["01/train/ok"]),
        ("btad", "01/test", ["01/train/ok"]),
        ("kolektorsdd2", "", ["train"]),
        ("folder", "", ["good"]),
    ],
)
def test_a_data_set_is_refused_and_its_good_images_are_named(
    tmp_path: Path, dataset: str, below: str, good: list[str]
) -> None:
    root = make_dataset(dataset, tmp_path / "set")
    for given in (root / below, root / below / "**" / "*.*"):
        with pytest.raises(DatasetError, match=r"(of|is) a data set") as error:
            collect([given], good_only=True)
        assert "\n" not in str(error.value)
        for folder in good:
            assert str(error.value).endswith(str(root / folder))


@pytest.mark.parametrize(
    ("files", "good"),
    [
        (
            ("train/ok_front/1.png", "train/def_front/1.png", "test/ok_front/1.png"),
            "train/ok_front",
        ),
        (("good_parts/1.png", "bad_parts/1.png"), "good_parts"),
        (("images_good/1.png", "images_defect/1.png"), "images_good"),
        (("0_good/1.png", "1_bad/1.png"), "0_good"),
        (("goodParts/1.png", "NGParts/1.png"), "goodParts"),
        (("gut/1.png", "schlecht/1.png"), "gut"),
        (("i.O./1.png", "n.i.O./1.png"), "i.O."),
        (("pass/1.png", "fail/1.png"), "pass"),
        (("Normal/1.png", "Scratches/1.png"), "Normal"),
        (("no_crack/1.png", "crack/1.png"), "no_crack"),
        (("defect-free/1.png", "defective/1.png"), "defect-free"),
        (("train_good/1.png", "test_crack/1.png"), "train_good"),
        (("train_set/good/1.png", "test_set/cut/1.png"), "train_set/good"),
        (("train2017/1.png", "val2017/1.png"), "train2017"),
        (("Positive/1.png", "Negative/1.png"), None),
        (("Class1/1.png", "Class1_def/1.png"), None),
        (("train/ng/1.png", "train/1.png", "test/1.png"), None),
        (("good/anomalous_1/1.png", "good/1.png"), None),
    ],
)
def test_words_in_names_of_folders_tell_a_labelled_set(
    tmp_path: Path, files: tuple[str, ...], good: str | None
) -> None:
    make(tmp_path, *files)
    with pytest.raises(DatasetError, match="is a data set") as error:
        collect([tmp_path], good_only=True)
    remedy = "a folder that holds good images only" if good is None else str(tmp_path / good)
    assert str(error.value).endswith(remedy)


@pytest.mark.parametrize(
    "files",
    [
        ("good_1.png", "good_2.png", "bad_1.png"),
        ("ok-1.png", "ng-1.png"),
        ("a/normal1.png", "b/crack1.png"),
    ],
)
def test_words_in_names_of_files_tell_a_labelled_set(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    make(tmp_path, *files)
    for given in ([tmp_path], [tmp_path / name for name in files]):
        with pytest.raises(DatasetError, match="not good by their names"):
            collect(given, good_only=True)
    assert len(collect([tmp_path]).images) == len(files)


def test_names_of_files_that_sound_bad_alone_are_said(tmp_path: Path) -> None:
    make(tmp_path, "1.png", "2.png", "bad_3.png")
    (remark,) = collect([tmp_path], good_only=True).remarks
    assert remark.startswith("1 of 3 images called like defective ones and taken")
    assert remark.endswith("bad_3.png")


@pytest.mark.parametrize(
    ("pattern", "good"),
    [
        ("set/*", "set/good"),
        ("set/*/*.png", "set/good"),
        ("set/bad", "set/good"),
        ("set/bad/*/*.png", "set/good"),
        ("mv/*", "mv/train/good"),
        ("mv/*/*/*.png", "mv/train/good"),
        ("mv/test/*/*.png", "mv/train/good"),
        ("cast/train/*", "cast/train/ok_front"),
        ("cast/train/def*/*", "cast/train/ok_front"),
    ],
)
def test_what_a_shell_makes_of_a_star_is_looked_at_together(
    tmp_path: Path, pattern: str, good: str
) -> None:
    make(
        tmp_path,
        *("set/good/1.png", "set/good/2.png", "set/bad/3.png", "set/bad/crack/4.png"),
        *("mv/train/good/1.png", "mv/test/good/2.png", "mv/test/cut/3.png"),
        *("cast/train/ok_front/1.png", "cast/train/def_front/2.png"),
    )
    given = sorted(tmp_path.glob(pattern))
    assert given
    for paths in (given, [tmp_path / pattern]):
        with pytest.raises(DatasetError) as error:
            collect(paths, good_only=True)
        assert str(error.value).endswith(str(tmp_path / good))
    files = [path for path in given if path.is_file()]
    if files:
        with pytest.raises(DatasetError):
            remarks_on_named(files, good_only=True)


def test_a_glob_that_leads_past_good_takes_no_defects(tmp_path: Path) -> None:
    make(tmp_path, "good/ok/1.png", "good/defects/2.png")
    with pytest.raises(DatasetError, match=r"good/ok$"):
        collect([tmp_path / "*/*/*.png"], good_only=True)


def test_every_category_of_a_root_is_named(tmp_path: Path) -> None:
    categories = ["bottle", "cable", "tile"]
    for category in categories:
        make(tmp_path, f"{category}/train/good/0.png", f"{category}/test/cut/0.png")
    with pytest.raises(DatasetError) as error:
        collect([tmp_path], good_only=True)
    for category in categories:
        assert str(tmp_path / category / "train" / "good") in str(error.value)


def test_a_tree_of_any_names_is_a_data_set_where_good_stands_beside_kinds(tmp_path: Path) -> None:
    make(tmp_path, "line1/OK/1.png", "line1/scratched/1.png", "line2/OK/1.png", "line2/NG/1.png")
    with pytest.raises(DatasetError, match=r"line1/OK, .*line2/OK$"):
        collect([tmp_path], good_only=True)


def test_defects_below_good_images_are_refused_though_nothing_is_called_good(
    tmp_path: Path,
) -> None:
    make(tmp_path, "1.png", "2.png", "defects/1.png")
    with pytest.raises(DatasetError, match=r"holds defects.*folder that holds good images only"):
        collect([tmp_path], good_only=True)


@pytest.mark.parametrize(
    "files",
    [
        ("2026-11-24/1.png", "2026-11-25/1.png", "3.png"),
        ("camera-left/1.png", "camera-right/1.png"),
        ("good/1.png", "good/monday/2.png"),
        ("normal/1.png", "dark/1.png", "bright/1.png"),
        ("good/1.png", "20261125/1.png", "camera2/1.png"),
        ("test/1.png", "pilot/1.png"),
        ("train/good/1.png",),
        ("good/1.png", "@eaDir/1.png", "good/notes.csv"),
        ("good/1.png", "good2/1.png", "more_good/1.png", "new/1.png", "monday/1.png"),
        ("test/2026-01-01/1.png", "test/line 2/1.png"),
        ("goods/1.png", "misc/1.png"),
        ("pass1/1.png", "thermal/1.png"),
        ("good/no_defects_1.png", "good/ok_1.png"),
        ("good_no_1/1.png", "good_no_2/1.png"),
    ],
)
def test_folders_by_date_camera_or_light_are_no_data_set(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    make(tmp_path, *files)
    found = collect([tmp_path], good_only=True)
    expected = [name for name in files if name.endswith(".png") and "@" not in name]
    assert sorted(names(found, tmp_path)) == sorted(expected)


def test_days_in_a_folder_called_test_are_no_kinds_of_defect(tmp_path: Path) -> None:
    make(tmp_path, "train/good/1.png", "test/2026-01-01/1.png")
    assert len(collect([tmp_path / "test/2026-01-01"], good_only=True).images) == 1


def test_the_good_images_of_a_data_set_may_be_named_by_folder_or_glob(tmp_path: Path) -> None:
    make_dataset("mvtec", tmp_path)
    chosen = collect([tmp_path / "tile/*/good/*.png"], good_only=True)
    named = collect([tmp_path / "tile/train/good", tmp_path / "tile/test/good"], good_only=True)
    assert names(chosen, tmp_path) == [
        "tile/test/good/000.png",
        "tile/train/good/000.png",
        "tile/train/good/001.png",
    ]
    assert sorted(chosen.images) == sorted(named.images)


@pytest.mark.parametrize("pure", [True, False])
@pytest.mark.parametrize("suffix", ["csv", "manifest"])
def test_a_manifest_in_the_folder_that_lists_anomalies_refuses_it(
    tmp_path: Path, pure: bool, suffix: str
) -> None:
    good, bad = ("images/a/1.png", "images/b/2.png") if pure else ("all/1.png", "all/2.png")
    photograph(tmp_path / good, tmp_path / bad)
    if suffix == "csv":
        (tmp_path / "list.csv").write_text(f"path,label\n{good},good\n{bad},anomalous\n")
    else:
        (tmp_path / "train.manifest").write_text(
            "".join(
                f'{{"source-ref": "s3://bucket/{name}", '
                f'"anomaly-label-metadata": {{"class-name": "{label}"}}}}\n'
                for name, label in ((good, "normal"), (bad, "anomaly"))
            )
        )
    with pytest.raises(DatasetError, match="lists 1 images there that are anomalous") as error:
        collect([tmp_path], good_only=True)
    remedy = f"its good images, {tmp_path / 'images/a'}" if pure else "folder of their own"
    assert str(error.value).endswith(remedy)


@pytest.mark.parametrize("given", ["images", "images/a", "images/*/*.png"])
def test_a_manifest_above_the_folder_that_lists_anomalies_refuses_it(
    tmp_path: Path, given: str
) -> None:
    photograph(tmp_path / "images/a/1.png", tmp_path / "images/a/2.png")
    (tmp_path / "parts.csv").write_text(
        "path,label\nimages/a/1.png,good\nimages/a/2.png,anomalous\n"
    )
    for paths in ([tmp_path / given], sorted(tmp_path.glob(given))):
        with pytest.raises(DatasetError, match=r"parts\.csv lists 1 images"):
            collect(paths, good_only=True)
    assert len(collect([tmp_path / "images/a/1.png"], good_only=True).images) == 1


def test_a_table_that_is_no_manifest_does_not_matter(tmp_path: Path) -> None:
    photograph(tmp_path / "1.png")
    (tmp_path / "measured.csv").write_text("time;temperature\n1;20\n")
    (tmp_path / "all.csv").write_text("path,label\n1.png,good\n")
    assert names(collect([tmp_path], good_only=True), tmp_path) == ["1.png"]


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
def test_photographs_are_judged_whatever_they_are_called(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    photograph(*(tmp_path / name for name in files))
    found = collect([tmp_path])
    assert sorted(names(found, tmp_path)) == sorted(files)
    assert len(found.remarks) == (files[0] == "GT/1.png")


def test_a_mask_that_marks_something_is_said_when_its_image_is_to_be_learned(
    tmp_path: Path,
) -> None:
    photograph(*(tmp_path / f"{number}.png" for number in range(4)))
    mask(tmp_path / "2_mask.png")
    _, remark = collect([tmp_path], good_only=True).remarks
    assert "1 image in" in remark
    assert remark.endswith("leave it out: 2.png")


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


def test_products_may_be_called_masks_or_labels(tmp_path: Path) -> None:
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


def test_a_file_that_is_named_is_taken_with_a_word(tmp_path: Path) -> None:
    mask(tmp_path / "1_mask.png")
    photograph(tmp_path / "2.png")
    found = collect([tmp_path / "1_mask.png", tmp_path / "2.png"], good_only=True)
    assert names(found, tmp_path) == ["1_mask.png", "2.png"]
    (remark,) = found.remarks
    assert "called like a mask" in remark
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
    for given in ("", "*", "**/*.png", "*/*.png", "a/**"):
        found = names(
            collect([tmp_path / "1.png", tmp_path / "a/2.png", tmp_path / given]), tmp_path
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
    assert remark.startswith("3 pictures that patchbank wrote left out")
    named = collect([tmp_path / "heatmap.png"])
    assert len(named.images) == len(named.remarks) == 1


def test_files_that_are_no_pictures_are_counted_by_suffix(tmp_path: Path) -> None:
    photograph(tmp_path / "1.png")
    for name in ("a.raw", "b.RAW", "README", ".hidden.txt", "Thumbs.db"):
        (tmp_path / name).write_text("")
    for given in (tmp_path, tmp_path / "*"):
        (remark,) = collect([given]).remarks
        assert remark == "3 files not read: 2 .raw, 1 without suffix"
