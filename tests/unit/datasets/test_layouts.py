"""The layout of each published data set: a small tree loads, typical mistakes are explained."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchbank.datasets.catalogue import DATASETS
from patchbank.datasets.masks import read_mask
from patchbank.datasets.samples import CategorySamples
from patchbank.errors import DatasetError
from tests.fixtures.trees import SIDE, VISA_SPLIT, black, make, make_dataset, make_visa

CATEGORIES = {
    "mvtec": "tile",
    "mvtec-ad2": "can",
    "mvtec-loco": "pushpins",
    "visa": "candle",
    "btad": "01",
    "kolektorsdd2": "kolektorsdd2",
    "deeppcb": "deeppcb",
}


def loaded(name: str, root: Path) -> CategorySamples:
    (category,) = DATASETS[name].list_categories(root)
    return DATASETS[name].load(root, category)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        (
            "mvtec",
            ["tile/train/good/000.png", "tile/train/good/001.png"],
            [
                ("tile/test/crack/000.png", "anomalous", "crack"),
                ("tile/test/good/000.png", "good", "good"),
            ],
        ),
        (
            "mvtec-ad2",
            ["can/train/good/000_regular.png"],
            [
                ("can/test_public/bad/000_regular.png", "anomalous", "bad"),
                ("can/test_public/good/000_regular.png", "good", "good"),
                ("can/test_private/000_regular.png", "unknown", "test_private"),
                ("can/test_private_mixed/000_mixed.png", "unknown", "test_private_mixed"),
            ],
        ),
        (
            "mvtec-loco",
            ["pushpins/train/good/000.png"],
            [
                ("pushpins/test/good/000.png", "good", "good"),
                ("pushpins/test/logical_anomalies/000.png", "anomalous", "logical_anomalies"),
                ("pushpins/test/structural_anomalies/000.png", "anomalous", "structural_anomalies"),
            ],
        ),
        (
            "visa",
            ["candle/Data/Images/Normal/0000.JPG"],
            [
                ("candle/Data/Images/Normal/0001.JPG", "good", "good"),
                ("candle/Data/Images/Anomaly/000.JPG", "anomalous", "anomaly"),
            ],
        ),
        (
            "btad",
            ["01/train/ok/0000.bmp", "01/train/ok/0001.bmp"],
            [
                ("01/test/ko/0000.bmp", "anomalous", "ko"),
                ("01/test/ok/0000.bmp", "good", "good"),
            ],
        ),
        (
            "kolektorsdd2",
            ["train/10000.png"],
            [("test/20000.png", "good", "good"), ("test/20001.png", "anomalous", "defect")],
        ),
        (
            "deeppcb",
            ["group0/0/00_temp.jpg"],
            [
                ("group0/0/01_temp.jpg", "good", "good"),
                ("group0/0/01_test.jpg", "anomalous", "mousebite"),
                ("group0/0/02_temp.jpg", "good", "good"),
                ("group0/0/02_test.jpg", "anomalous", "anomaly"),
            ],
        ),
    ],
)
def test_a_tree_loads(
    tmp_path: Path, name: str, train: list[str], test: list[tuple[str, str, str]]
) -> None:
    samples = loaded(name, make_dataset(name, tmp_path / "set"))
    assert samples.category == CATEGORIES[name]
    assert [sample.name for sample in samples.train] == train
    assert {sample.label for sample in samples.train} == {"good"}
    assert [(s.name, s.label, s.kind) for s in samples.test] == test
    assert samples.warnings == ()
    for sample in samples.test:
        assert sample.path == tmp_path / "set" / sample.name
        assert (sample.mask is not None) == (sample.label == "anomalous")
        if sample.mask is not None:
            assert read_mask(sample.mask, SIDE, SIDE).all()


def test_limits_of_the_per_region_overlap() -> None:
    assert {name: dataset.aupro_limit for name, dataset in DATASETS.items()} == {
        "mvtec": 0.3,
        "mvtec-ad2": 0.05,
        "mvtec-loco": 0.3,
        "visa": 0.3,
        "btad": 0.3,
        "kolektorsdd2": 0.3,
        "deeppcb": 0.3,
        "folder": 0.3,
        "manifest": 0.3,
    }


def test_several_masks_of_an_image_are_united(tmp_path: Path) -> None:
    root = make_dataset("mvtec-loco", tmp_path)
    expected = np.zeros((SIDE, SIDE), dtype=np.bool_)
    for number, row in enumerate((0, 2)):
        pixels = np.zeros((SIDE, SIDE), dtype=np.uint8)
        pixels[row] = 200  # LOCO's values stand for kinds of anomaly
        expected[row] = True
        path = root / f"pushpins/ground_truth/logical_anomalies/000/00{number}.png"
        Image.fromarray(pixels).save(path)
    logical = loaded("mvtec-loco", root).test[1]
    assert logical.mask is not None
    np.testing.assert_array_equal(read_mask(logical.mask, SIDE, SIDE), expected)


def test_reading_every_mask_shows_progress(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    DATASETS["kolektorsdd2"].load(
        make_dataset("kolektorsdd2", tmp_path),
        "kolektorsdd2",
        progress=lambda *step: seen.append(step),
    )
    assert seen == [(f"masks of {split}", n, 2) for split in ("train", "test") for n in (0, 1, 2)]


Mistake = Callable[[Path], object]


def remove(name: str) -> Mistake:
    def mistake(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return mistake


def rename(old: str, new: str) -> Mistake:
    def mistake(root: Path) -> None:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)

    return mistake


def empty(name: str) -> Mistake:
    def mistake(root: Path) -> None:
        for path in sorted((root / name).rglob("*")):
            if path.is_file():
                path.unlink()

    return mistake


def split_file(old: str, new: str) -> Mistake:
    def mistake(root: Path) -> None:
        assert old in VISA_SPLIT
        make_visa(root, VISA_SPLIT.replace(old, new))

    return mistake


def text(name: str, old: str, new: str) -> Mistake:
    def mistake(root: Path) -> None:
        content = (root / name).read_text()
        assert old in content
        (root / name).write_text(content.replace(old, new))

    return mistake


def nothing(root: Path) -> None:
    pass


MISTAKES: list[tuple[str, str, Mistake, str]] = [
    # MVTec AD
    ("mvtec", "..", nothing, r"holds no category, but .*set does \(tile\); give that"),
    ("mvtec", "tile", nothing, "is itself a category; give its parent .*set and --category tile"),
    ("mvtec", ".", rename("tile/train/good", "tile/train/OK"), "expected .*good, found .*OK; ren"),
    ("mvtec", "tile/train", nothing, "is inside a category; give .*set and --category tile"),
    ("mvtec", "tile/test/crack", nothing, "inside a category; give .*set and --category tile"),
    *(
        (
            "mvtec",
            ".",
            rename("tile/ground_truth", f"tile/{folder}"),
            f"expected masks in .*tile/ground_truth, found .*tile/{folder}; rename it",
        )
        for folder in ("groundtruth", "Ground_Truth", "masks", "test/ground_truth")
    ),
    (
        "mvtec",
        ".",
        rename("tile/ground_truth/crack", "tile/ground_truth/Crack"),
        "no image has a mask: expected .*KIND/STEM_mask.png for crack, found Crack",
    ),
    (
        "mvtec",
        ".",
        rename("tile/ground_truth/crack/000_mask.png", "tile/ground_truth/0_mask.png"),
        "no image has a mask: expected .*KIND/STEM_mask.png for crack, found 0_mask.png",
    ),
    (
        "mvtec-ad2",
        ".",
        rename("can/test_public/ground_truth", "can/ground_truth"),
        "expected masks in .*can/test_public/ground_truth, found .*can/ground_truth; rename it",
    ),
    ("btad", ".", rename("01/ground_truth", "01/GT"), "expected masks in .*01/ground_truth, found"),
    ("mvtec", ".", remove("tile/test"), r"expected .*tile/test with one folder per kind; found"),
    ("mvtec", ".", empty("tile/train/good"), "train/good holds no image; it holds nothing"),
    (
        "mvtec",
        ".",
        rename("tile/ground_truth/crack/000_mask.png", "tile/ground_truth/crack/000.png"),
        "no mask for 1 image in .*test/crack: expected .*STEM_mask.png, found 000.png",
    ),
    # MVTec AD 2
    ("mvtec-ad2", "..", nothing, r"holds no category, but .*set does \(can\); give that"),
    ("mvtec-ad2", "can", nothing, "is itself a category; give its parent .* --category can"),
    ("mvtec-ad2", ".", remove("can/train"), "expected .*can/train/good .* found 4 folders in"),
    (
        "mvtec-ad2",
        ".",
        rename("can/test_public/good", "can/test_public/normal"),
        "expected .*test_public/good, found .*normal; rename it to good",
    ),
    ("mvtec-ad2", ".", empty("can/train"), "train/good holds no image"),
    (
        "mvtec-ad2",
        ".",
        rename(
            "can/test_public/ground_truth/bad/000_regular_mask.png",
            "can/test_public/ground_truth/bad/000_regular.png",
        ),
        "no mask for 1 image in .*bad: expected .*STEM_mask.png, found 000_regular.png",
    ),
    # MVTec LOCO
    ("mvtec-loco", "..", nothing, r"holds no category, but .*set does \(pushpins\); give that"),
    ("mvtec-loco", "pushpins", nothing, "is itself a category; give its parent"),
    (
        "mvtec-loco",
        ".",
        rename("pushpins/train/good", "pushpins/train/normal"),
        "expected .*train/good, found .*normal; rename it",
    ),
    ("mvtec-loco", ".", empty("pushpins/train/good"), "train/good holds no image"),
    (
        "mvtec-loco",
        ".",
        rename(
            "pushpins/ground_truth/structural_anomalies/000/000.png",
            "pushpins/ground_truth/structural_anomalies/000_mask.png",
        ),
        "no mask for 1 image .*: expected .*/STEM/000.png, found 000_mask.png",
    ),
    ("mvtec-loco", ".", remove("pushpins/train"), "expected .*pushpins/train/good .* found 3 fold"),
    # VisA
    ("visa", "..", nothing, "expected .*split_csv/1cls.csv, .*; .*set has it: give that"),
    ("visa", "candle", nothing, "expected .*candle is one object: give .*set and --category"),
    ("visa", ".", remove("split_csv"), r"expected .*1cls.csv.*found 1 folder in .*\(candle\)"),
    ("visa", ".", split_file("label,image", "class,image"), "has no column label: expected object"),
    ("visa", ".", split_file("Normal/0001", "Normal/9"), "line 3: image .*9.JPG does not exist; f"),
    (
        "visa",
        ".",
        split_file("Normal/0001", "N" * 5000),
        r"N\.JPG cannot be read \(file name too long",
    ),
    ("visa", ".", split_file("Masks/Anomaly/000", "Masks/7"), "line 4: mask .* does not exist; fo"),
    (
        "visa",
        ".",
        split_file("test,normal", "val,normal"),
        "line 3: split is 'val'; expected train",
    ),
    ("visa", ".", split_file("test,anomaly", "test,bad"), "label is 'bad'; expected normal or ano"),
    ("visa", ".", split_file("test,anomaly", "train,anomaly"), "anomalous; only normal images are"),
    ("visa", ".", split_file(VISA_SPLIT[30:], ""), "lists no images: expected one row per image"),
    ("visa", ".", split_file("Normal/0001", "Normal/0000"), "lists 1 image of candle twice"),
    # BTAD
    ("btad", "..", nothing, r"holds no category, but .*set does \(01\); give that"),
    ("btad", "01", nothing, "is itself a category; give its parent .* and --category 01"),
    ("btad", ".", remove("01/train"), "expected .*01/train/ok with the good images to learn from"),
    ("btad", ".", rename("01/test/ok", "01/test/good"), "expected .*ok, found .*good; rename it"),
    (
        "btad",
        ".",
        lambda root: make(root, "01/test/good/0.bmp"),
        "expected .*ok, found .*test/good; move its images to ok",
    ),
    ("btad", ".", empty("01/train/ok"), "train/ok holds no image"),
    (
        "btad",
        ".",
        rename("01/ground_truth/ko/0000.png", "01/ground_truth/ko/0000_mask.png"),
        "no mask for 1 image in .*ko: expected .*/STEM.png, found 0000_mask.png",
    ),
    # KolektorSDD2
    ("kolektorsdd2", "..", nothing, "holds no train and test, but .*set does; give that"),
    ("kolektorsdd2", "train", nothing, "is one split; give its parent .*set"),
    ("kolektorsdd2", ".", remove("test"), "expected ROOT/train and ROOT/test .*found 1 folder in"),
    (
        "kolektorsdd2",
        ".",
        rename("test/20001_GT.png", "test/20001_mask.png"),
        "masks are misnamed: expected NNNNN_GT.png, found 20001_mask.png; rename them",
    ),
    (
        "kolektorsdd2",
        ".",
        rename("train/10000_GT.png", "train/10000_gt.png"),
        "masks are misnamed: expected NNNNN_GT.png, found 10000_gt.png; rename them",
    ),
    ("kolektorsdd2", ".", remove("test/20001_GT.png"), "no mask for 1 of 2 images.* 20001.png"),
    ("kolektorsdd2", ".", empty("test"), "test holds no image: expected NNNNN.png; found nothing"),
    (
        "kolektorsdd2",
        ".",
        rename("train/10001_GT.png", "train/10000_GT.png"),
        "no mask for 1 of 2 images.*10001.png",
    ),
    # DeepPCB
    ("deeppcb", "..", nothing, "holds no trainval.txt and test.txt; give .*set$"),
    ("deeppcb", "group0", nothing, "holds no trainval.txt and test.txt; give .*set$"),
    ("deeppcb", "group0/0", nothing, "holds no trainval.txt and test.txt; give .*set$"),
    (
        "deeppcb",
        ".",
        remove("test.txt"),
        "expected ROOT/PCBData with trainval.txt, test.txt .* fou",
    ),
    (
        "deeppcb",
        ".",
        text("trainval.txt", ".txt", ""),
        "trainval.txt, line 1: expected GROUP/NNNN",
    ),
    (
        "deeppcb",
        ".",
        text("test.txt", ".jpg group0/0_not/02", ""),
        "test.txt, line 2: expected GROUP/NNNNN.jpg GROUP_not/NNNNN.txt, found 'group0/0/02.txt'",
    ),
    (
        "deeppcb",
        ".",
        lambda root: (root / "trainval.txt").write_text("\n"),
        "trainval.txt is empty: expected a line GROUP/NNNNN.jpg",
    ),
    (
        "deeppcb",
        ".",
        remove("group0/0/00_temp.jpg"),
        "trainval.txt, line 1: image .*00_temp.jpg does not exist",
    ),
    (
        "deeppcb",
        ".",
        remove("group0/0/02_test.jpg"),
        "test.txt, line 2: image .*02_test.jpg does not exist",
    ),
    (
        "deeppcb",
        ".",
        remove("group0/0_not/02.txt"),
        "test.txt, line 2: list of boxes .*02.txt does not exist",
    ),
    (
        "deeppcb",
        ".",
        text("test.txt", "/01", "/00"),
        "test.txt, line 1: list of boxes .*00.txt does not exist",
    ),
    (
        "deeppcb",
        ".",
        text("trainval.txt", "/00", "/01"),
        "test.txt, line 1: group0/0/01_temp.jpg is listed 2 times; list each image once",
    ),
    (
        "deeppcb",
        ".",
        text("group0/0_not/02.txt", "7 6", "7"),
        "02.txt, line 1: expected five whole",
    ),
    ("deeppcb", ".", text("group0/0_not/02.txt", "3 1", "3 7"), "02.txt, line 2: type is 7; expe"),
    (
        "deeppcb",
        ".",
        lambda root: (root / "group0/0_not/02.txt").write_text(""),
        "02.txt lists no box",
    ),
]


@pytest.mark.parametrize(("name", "below", "mistake", "message"), MISTAKES)
def test_a_typical_mistake_is_explained(
    tmp_path: Path, name: str, below: str, mistake: Mistake, message: str
) -> None:
    root = make_dataset(name, tmp_path / "set")
    mistake(root)
    with pytest.raises(DatasetError, match=message) as error:
        loaded(name, (root / below).resolve())
    assert "\n" not in str(error.value)
    assert "\0" not in str(error.value)


def test_each_layout_has_five_mistakes_explained() -> None:
    for name in CATEGORIES:
        assert len([mistake for mistake in MISTAKES if mistake[0] == name]) >= 5


def test_a_data_set_below_a_folder_named_train_is_not_part_of_a_category(tmp_path: Path) -> None:
    assert loaded("mvtec", make_dataset("mvtec", tmp_path / "parts" / "train")).train


def test_masks_that_belong_to_no_kind_give_a_warning(tmp_path: Path) -> None:
    root = make_dataset("mvtec", tmp_path)
    make(root, "tile/ground_truth/cut/0_mask.png", "tile/ground_truth/0_mask.png")
    samples = loaded("mvtec", root)
    assert samples.has_masks
    (warning,) = samples.warnings
    assert warning.endswith("KIND/STEM_mask.png for crack, found 0_mask.png, cut")


def test_all_masks_black_and_none(tmp_path: Path) -> None:
    root = make_dataset("kolektorsdd2", tmp_path)
    make(root, "train/10002_GT.png")
    black(root / "train/10001_GT.png")
    samples = loaded("kolektorsdd2", root)
    assert len(samples.train) == 2
    assert re.search("no image for 1 mask: 10002_GT", samples.warnings[0])
    for number in ("10000", "10001"):
        Image.new("L", (SIDE, SIDE), 255).save(root / f"train/{number}_GT.png")
    with pytest.raises(DatasetError, match="no good image: none of its 2 masks is black"):
        loaded("kolektorsdd2", root)


def test_deeppcb_may_be_given_by_the_folder_that_holds_its_data(tmp_path: Path) -> None:
    root = make_dataset("deeppcb", tmp_path / "set/PCBData")
    assert loaded("deeppcb", tmp_path / "set") == loaded("deeppcb", root)
    with pytest.raises(DatasetError, match="looks like DeepPCB, not MVTec AD"):
        DATASETS["mvtec"].list_categories(tmp_path / "set")


def test_a_mask_of_another_shape_is_explained(tmp_path: Path) -> None:
    root = make_dataset("btad", tmp_path)
    Image.new("L", (9, 12), 255).save(root / "01/ground_truth/ko/0000.png")
    mask = loaded("btad", root).test[0].mask
    assert mask is not None
    with pytest.raises(DatasetError, match=r"0000.png has 9 x 12 pixels, but its image has 8 x 8"):
        read_mask(mask, SIDE, SIDE)


@pytest.mark.parametrize("actual", [*CATEGORIES, "folder"])
@pytest.mark.parametrize("name", [*CATEGORIES, "folder"])
def test_the_name_of_another_data_set_is_explained(tmp_path: Path, name: str, actual: str) -> None:
    root = make_dataset(actual, tmp_path / "set")
    if name == actual:
        DATASETS[name].list_categories(root)
        return
    message = (
        f"looks like {DATASETS[actual].title}, not {DATASETS[name].title}.*--dataset {actual}$"
    )
    with pytest.raises(DatasetError, match=message):
        DATASETS[name].list_categories(root)
    with pytest.raises(DatasetError, match=message):
        DATASETS[name].load(root, "tile")
