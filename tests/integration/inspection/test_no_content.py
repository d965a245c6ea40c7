"""Images that show nothing, and banks made of images that all look the same."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import patchbank
from patchbank.api import Bank
from patchbank.datasets.catalogue import find_dataset
from patchbank.errors import (
    BankFileError,
    ImageError,
    IndistinctImagesError,
    NoImagesError,
)
from patchbank.inspection.keeping.bank_file import BankFile, write_bank_file
from patchbank.inspection.learning import stream as streamed
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.measuring.evaluate import evaluate_category
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.budget import Parts
from patchbank.store.bank_content import CalibrationScores
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from tests.fixtures.surfaces import Surfaces, brushed

SIDE = 64


def transparent() -> Image.Image:
    """A photograph that nothing is seen of: what is transparent is black."""
    picture = Image.fromarray(brushed(1)).convert("RGBA")
    picture.putalpha(0)
    return picture


def one_level_of_noise(around: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(-1, 2, (96, 96, 1)) + around
    return Image.fromarray(np.repeat(noise, 3, axis=2).astype(np.uint8))


def black_with_a_hot_pixel() -> Image.Image:
    pixels = np.zeros((1500, 1500), np.uint8)
    pixels[700, 300] = 255
    return Image.fromarray(pixels)


EMPTY: dict[str, Callable[[], Image.Image]] = {
    "black": lambda: Image.new("L", (96, 96)),
    "white": lambda: Image.new("RGB", (96, 96), (255, 255, 255)),
    "blue": lambda: Image.new("RGB", (96, 96), (0, 0, 255)),
    "transparent": transparent,
    "transparent-black": lambda: Image.new("RGBA", (96, 96)),
    "palette": lambda: Image.new("P", (96, 96), 3),
    "sixteen-bits": lambda: Image.fromarray(np.full((96, 96), 40_000, np.uint16)),
    "noise-of-one": lambda: one_level_of_noise(7),
    "hot-pixel": black_with_a_hot_pixel,
}


@pytest.fixture
def bank(database_url: str, graphs_home: Path) -> Iterator[Bank]:
    with patchbank.open("part", home=graphs_home, database_url=database_url) as opened:
        yield opened


def alike(count: int, first: int = 0) -> list[npt.NDArray[np.uint8]]:
    """Different pictures that are the same where they are inspected."""
    pictures = []
    for number in range(first, first + count):
        picture = brushed(3)
        picture[0, number] ^= 1
        pictures.append(picture)
    return pictures


def test_what_shows_nothing_is_neither_learned_nor_judged(
    bank: Bank, surfaces: Surfaces, tmp_path: Path
) -> None:
    folder = tmp_path / "good"
    shutil.copytree(surfaces.train, folder)
    for name, made in EMPTY.items():
        made().save(folder / f"{name}.png")
    bank.fit(folder, image_size=SIDE)
    assert bank.last_fit is not None
    learned = bank.last_fit.bank
    assert len(learned.images) == 24
    reasons = {Path(one.image).stem: one.error for one in learned.refused}
    assert reasons.keys() == EMPTY.keys()
    for name, reason in reasons.items():
        assert f"{name}.png: shows nothing: " in reason
        assert "\n" not in reason
    assert "one colour, (0, 0, 255); check the camera" in reasons["blue"]
    for name in EMPTY:
        with pytest.raises(ImageError, match=rf"{name}\.png: shows nothing"):
            bank.inspect(folder / f"{name}.png")
    results = list(bank.inspect_many(sorted(folder.glob("[!0-9]*.png"))))
    assert len(results) == len(EMPTY)
    assert all(isinstance(one, Refused) for one in results)
    with pytest.raises(ImageError, match="shows nothing"):
        bank.search(folder / "black.png")
    with pytest.raises(NoImagesError, match="0 usable"):
        bank.calibrate([folder / "black.png", folder / "white.png"])


def test_little_content_is_content(bank: Bank, surfaces: Surfaces) -> None:
    """A defect on an even surface is a defect, and dark is not black."""
    even = np.full((96, 96, 3), 200, np.uint8)
    even[40:44, 40:60] = 190
    bank.fit(surfaces.train, image_size=SIDE)
    assert bank.inspect(even).verdict != "pass"
    assert bank.inspect(brushed(5) // 8).verdict != "pass"


def test_a_crop_that_leaves_one_colour() -> None:
    pixels = np.zeros((96, 96, 3), np.uint8)
    pixels[:8] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    settings = ExtractorSettings(image_size=96, center_crop=SIDE)
    for precision in ("uint8", "float32"):
        with (
            Extractor(replace(settings, resize_precision=precision), threads=1) as extractor,
            pytest.raises(ImageError, match=r"label\.png: .*64 x 64 pixels inspected .*no crop"),
        ):
            extractor.extract_one(buffer.getvalue(), name="label.png")


@pytest.mark.parametrize("in_parts", [False, True])
def test_images_that_all_look_the_same_make_no_bank(
    bank: Bank, in_parts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_parts:
        parts = Parts(count=2, images=3, kept_ratio=0.5)
        monkeypatch.setattr("patchbank.inspection.learning.learn.plan_fit", lambda *_: parts)
    with pytest.raises(IndistinctImagesError, match="6 images look the same to the network"):
        bank.fit(alike(6), image_size=96, center_crop=SIDE)
    assert not bank.fitted
    assert streamed.CALIBRATION_IMAGES > 6


def test_a_calibration_by_what_the_bank_was_made_of(bank: Bank) -> None:
    """Other files of which the network sees what the bank holds score 0."""
    learned = [alike(1)[0], *(brushed(number) for number in range(4, 10))]
    bank.fit(learned, image_size=96, center_crop=SIDE, coreset_ratio=1.0)
    names = [f"again/{number}" for number in range(4)]
    with pytest.raises(IndistinctImagesError, match=r"good images score 0.*nothing was changed"):
        bank.calibrate(alike(4, first=10), names=names, force=True)
    assert bank.inspect(brushed(20)).bank_version == 1


def test_a_file_with_a_bank_that_cannot_judge(
    bank: Bank, surfaces: Surfaces, tmp_path: Path, database_url: str, graphs_home: Path
) -> None:
    bank.fit(surfaces.train, image_size=SIDE)
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        sound = workspace.database.banks.active("part", thumbnails=True).content
    zeros = CalibrationScores.of_images(np.arange(24), np.zeros(24), np.zeros(24))
    for changes, words in (
        ({"embeddings": np.zeros_like(sound.embeddings)}, "images are identical"),
        ({"covering_radius": 0.0}, "covering radius 0"),
        ({"scores": zeros}, "threshold"),
        ({"features": np.ones_like(sound.features)}, "patches are identical"),
    ):
        file = tmp_path / "bad.bank"
        write_bank_file(file, BankFile("bad", 1, replace(sound, **changes)), force=True)
        with pytest.raises(BankFileError, match=rf"bad\.bank: its bank cannot judge: .*{words}"):
            patchbank.import_bank(file, home=graphs_home, database_url=database_url)
    good = tmp_path / "good.bank"
    write_bank_file(good, BankFile("good", 1, sound))
    with patchbank.import_bank(good, home=graphs_home, database_url=database_url) as imported:
        assert imported.fitted


def test_images_without_content_count_in_no_figure(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(surfaces.root, root)
    Image.new("L", (96, 96)).save(root / "brushed" / "test" / "good" / "dead.png")
    samples = find_dataset("mvtec").load(root, "brushed")
    with workspace:
        found = evaluate_category(workspace, samples, make_fit_settings(image_size=SIDE))
    assert found.image.good == 8
    assert any("dead.png: shows nothing" in remark for remark in found.summary().remarks)


def test_int8_needs_images_that_show_something(workspace: Workspace) -> None:
    black = [np.zeros((64, 64), np.uint8) for _ in range(4)]
    with workspace, pytest.raises(NoImagesError, match=r"image-000\d: shows nothing"):
        learn(workspace, black, make_fit_settings(image_size=SIDE, precision="int8"))
