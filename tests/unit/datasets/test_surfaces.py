"""The surface set: the same everywhere, with exact masks and visible defects."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from patchbank.datasets.catalogue import DATASETS
from patchbank.datasets.masks import read_mask
from patchbank.datasets.surfaces import CATEGORIES, draw, make_surfaces, making
from patchbank.errors import DatasetError, DiskFullError, ParameterError

KINDS = [(category, kind) for category, kinds in CATEGORIES.items() for kind in kinds]


def test_there_are_five_materials_with_five_defects_each() -> None:
    assert list(CATEGORIES) == ["carpet", "grid", "leather", "tile", "wood"]
    assert [len(kinds) for kinds in CATEGORIES.values()] == [5] * 5


# Pixels, not files: compression may change with the library. Only operations that IEEE 754 rounds
# exactly make them, so that they are the same on every machine; a change invalidates published
# figures and must be in the changelog.
@pytest.mark.parametrize(
    ("category", "kind", "digest"),
    [
        ("carpet", None, "8835dc18313fad06"),
        ("grid", None, "e7fe2de719aae939"),
        ("leather", None, "f16e4510c54efec0"),
        ("tile", None, "fac87cf6de1b4329"),
        ("wood", None, "0b29ba8bdca8337e"),
        ("carpet", "missing_loops", "07666de06a3e9a45"),
        ("grid", "bent", "f0bb095732e3a477"),
        ("leather", "fold", "1f5bc6663f3f2292"),
        ("tile", "crack", "410448e9e6986341"),
        ("wood", "dent", "b67fece7e77d7e88"),
    ],
)
def test_pixels_are_the_same_everywhere(category: str, kind: str | None, digest: str) -> None:
    drawing = draw(category, kind, (0, 1, 2, 3), 96)
    both = drawing.image.tobytes() + drawing.mask.tobytes()
    assert hashlib.sha256(both).hexdigest()[:16] == digest


@pytest.mark.parametrize(("category", "kind"), KINDS)
@pytest.mark.parametrize("number", range(4))
def test_a_mask_is_set_exactly_where_the_defect_changed_the_image(
    category: str, kind: str, number: int
) -> None:
    drawing = draw(category, kind, (7, 0, 0, number), 256)
    changed = (drawing.image != drawing.flawless).any(axis=2)
    np.testing.assert_array_equal(drawing.mask, changed)


@pytest.mark.slow
@pytest.mark.parametrize(("category", "kind"), KINDS)
def test_a_defect_is_visible(category: str, kind: str) -> None:
    for number in range(6):
        drawing = draw(category, kind, (8, 0, 0, number), 256)
        change = np.abs(drawing.image.astype(int) - drawing.flawless.astype(int)).max(axis=2)
        assert 40 <= drawing.mask.sum() <= 0.2 * drawing.mask.size
        # A just noticeable difference is about 1 % of the level; grain hides three or four levels.
        assert change[drawing.mask].mean() > 12
        assert np.percentile(change[drawing.mask], 90) > 25


@pytest.mark.slow
@pytest.mark.parametrize(("category", "kind"), KINDS)
def test_a_mask_has_few_regions(category: str, kind: str) -> None:
    """Each connected region counts as much as any other in the per-region overlap."""
    for number in range(6):
        _, regions = ndimage.label(
            draw(category, kind, (9, 0, 0, number), 256).mask, np.ones((3, 3))
        )
        assert 1 <= regions <= 12


def test_images_of_a_material_differ_from_one_another() -> None:
    for category in CATEGORIES:
        first = draw(category, None, (0, 0, 0, 0), 64).image.astype(int)
        second = draw(category, None, (0, 0, 0, 1), 64).image.astype(int)
        assert np.abs(first - second).mean() > 5


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the set small, so that tests of its files are quick."""
    monkeypatch.setattr(making, "TRAIN_IMAGES", 3)
    monkeypatch.setattr(making, "TEST_GOOD_IMAGES", 2)
    monkeypatch.setattr(making, "TEST_IMAGES_PER_KIND", 1)


@pytest.mark.usefixtures("few")
def test_the_set_loads_as_mvtec_ad(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    made = make_surfaces(
        tmp_path / "surfaces",
        image_size=64,
        progress=lambda stage, done, total: steps.append((done, total)),
    )
    assert made == 5 * (3 + 2 + 5)
    assert steps[0] == (0, made)
    assert steps[-1] == (made, made)
    dataset = DATASETS["mvtec"]
    assert dataset.list_categories(tmp_path / "surfaces") == list(CATEGORIES)
    for category, kinds in CATEGORIES.items():
        samples = dataset.load(tmp_path / "surfaces", category)
        assert samples.warnings == ()
        assert dataset.is_synthetic(tmp_path / "surfaces", samples)
        assert len(samples.train) == 3
        assert samples.kinds == {"good": 2, **dict.fromkeys(sorted(kinds), 1)}
        for sample in samples.test:
            with Image.open(sample.path) as image:
                assert (image.size, image.mode) == ((64, 64), "RGB")
            if sample.mask is not None:
                assert read_mask(sample.mask, 64, 64).any()
    note = (tmp_path / "surfaces/README.txt").read_text()
    assert "synthetic" in note
    assert "seed 0" in note
    assert sorted(path.name for path in tmp_path.iterdir()) == ["surfaces"]


@pytest.mark.usefixtures("few")
def test_images_are_known_as_synthetic_without_their_folder(tmp_path: Path) -> None:
    """Test a category copied elsewhere, and manifests in both folders."""
    make_surfaces(tmp_path / "surfaces", image_size=64)
    shutil.copytree(tmp_path / "surfaces" / "tile", tmp_path / "copied" / "tile")
    copied = DATASETS["mvtec"].load(tmp_path / "copied", "tile")
    assert DATASETS["mvtec"].is_synthetic(tmp_path / "copied", copied)
    for folder in (tmp_path / "surfaces", tmp_path / "copied"):
        listed = folder / "tile.csv"
        lines = [f"tile/train/good/{number:03}.png,good,train" for number in range(3)]
        lines.append("tile/test/crack/000.png,anomalous,test")
        listed.write_text("\n".join(["path,label,split", *lines]) + "\n")
        samples = DATASETS["manifest"].load(listed, "tile")
        assert DATASETS["manifest"].is_synthetic(listed, samples)
    # Images saved again without the mark are not labelled.
    for file in (tmp_path / "copied" / "tile" / "test").rglob("*.png"):
        with Image.open(file) as image:
            Image.fromarray(np.asarray(image)).save(file)
    assert not DATASETS["mvtec"].is_synthetic(tmp_path / "copied", copied)


@pytest.mark.usefixtures("few")
def test_a_seed_decides_every_pixel(tmp_path: Path) -> None:
    for name, seed in (("first", 3), ("same", 3), ("different", 4)):
        make_surfaces(tmp_path / name, image_size=64, seed=seed)
    first = tmp_path / "first"
    files = [path.relative_to(first) for path in sorted(first.rglob("*.png"))]
    images = {
        name: [np.asarray(Image.open(tmp_path / name / file)) for file in files]
        for name in ("first", "same", "different")
    }
    for image, same in zip(images["first"], images["same"], strict=True):
        np.testing.assert_array_equal(image, same)
    assert any(
        not np.array_equal(image, different)
        for image, different in zip(images["first"], images["different"], strict=True)
    )


def test_no_two_images_of_a_set_are_the_same(tmp_path: Path) -> None:
    keys = [task.key for task in making._tasks(0)]
    assert len(set(keys)) == len(keys) == 800


@pytest.mark.usefixtures("few")
def test_existing_files_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match="is not empty; give a new or an empty folder"):
        make_surfaces(tmp_path, image_size=64)
    with pytest.raises(DatasetError, match="is not a folder"):
        make_surfaces(tmp_path / "mine.txt", image_size=64)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.usefixtures("few")
def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_surfaces(tmp_path / "surfaces", image_size=64, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("few")
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(making, "_write", full)
    with pytest.raises(DiskFullError, match="no space left on the disk for the surface set"):
        make_surfaces(tmp_path / "surfaces", image_size=64)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_size_or_seed_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="is 32; give 64 to 2048"):
        make_surfaces(tmp_path / "s", image_size=32)
    with pytest.raises(ParameterError, match="is -1; give 0 or more"):
        make_surfaces(tmp_path / "s", seed=-1)
