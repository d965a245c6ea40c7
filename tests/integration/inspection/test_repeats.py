"""The same picture in other files: in a fit, a calibration, and across a data set's splits."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import patchbank
from patchbank.api import Bank
from patchbank.inspection.learning import stream as streamed
from patchbank.inspection.measuring.evaluate import evaluate
from patchbank.inspection.measuring.figures import Evaluation
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.budget import Parts
from patchbank.vision.images import decode
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces

SETTINGS = make_fit_settings(image_size=64)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_note(image: Image.Image, note: str) -> bytes:
    information = PngImagePlugin.PngInfo()
    information.add_text("Comment", note)
    return encoded(image, "PNG", pnginfo=information)


def turned(image: Image.Image) -> bytes:
    """The picture stored on its head, with the word that it is."""
    exif = Image.Exif()
    exif[0x0112] = 3
    return encoded(image.transpose(Image.Transpose.ROTATE_180), "PNG", exif=exif.tobytes())


AGAIN: dict[str, Callable[[Image.Image], bytes]] = {
    "note.png": lambda image: with_note(image, "line 2"),
    "small.png": lambda image: encoded(image, "PNG", optimize=True),
    "stored.png": lambda image: encoded(image, "PNG", compress_level=0),
    "grey.png": lambda image: encoded(image.convert("L"), "PNG"),
    "palette.png": lambda image: encoded(image.convert("L").convert("P"), "PNG"),
    "alpha.png": lambda image: encoded(image.convert("RGBA"), "PNG"),
    "turned.png": turned,
    "same.bmp": lambda image: encoded(image, "BMP"),
    "same.tif": lambda image: encoded(image, "TIFF", compression="tiff_lzw"),
    "same.webp": lambda image: encoded(image, "WebP", lossless=True),
    "sixteen.png": lambda image: encoded(
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG"
    ),
}


@pytest.fixture
def bank(database_url: str, graphs_home: Path) -> Iterator[Bank]:
    with patchbank.open("part", home=graphs_home, database_url=database_url) as opened:
        yield opened


def test_a_picture_is_known_by_its_pixels(surfaces: Surfaces) -> None:
    image = Image.open(surfaces.train / "000.png")
    first = decode(surfaces.train / "000.png")
    for name, again in AGAIN.items():
        found = decode(again(image), name=name)
        assert found.sha256 != first.sha256, name
        assert found.pixels_sha256 == first.pixels_sha256, name
    assert decode(np.asarray(image)).pixels_sha256 == first.pixels_sha256
    others = [
        decode(surfaces.train / "001.png"),
        decode(np.ascontiguousarray(np.asarray(image).transpose(1, 0, 2))),
        decode(np.asarray(image).reshape(48, 192, 3)),
        decode(np.asarray(image) * np.array([1, 1, 0], np.uint8)),
    ]
    assert len({first.pixels_sha256, *(one.pixels_sha256 for one in others)}) == 5


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_fit_takes_each_picture_once(
    bank: Bank, surfaces: Surfaces, tmp_path: Path, in_parts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is learned and promised is the same with copies as without."""
    if in_parts:
        parts = Parts(count=3, images=20, kept_ratio=0.5)
        monkeypatch.setattr("patchbank.inspection.learning.learn.plan_fit", lambda *_: parts)
    folder = tmp_path / "good"
    shutil.copytree(surfaces.train, folder)
    for number in range(3):
        image = Image.open(surfaces.train / f"{number:03}.png")
        for name, again in AGAIN.items():
            (folder / f"{number:03}-{name}").write_bytes(again(image))
    bank.fit(folder, image_size=64, coreset_ratio=0.2, max_refused="100%")
    assert bank.last_fit is not None
    found = bank.last_fit.bank
    assert len(found.refused) == 3 * len(AGAIN)
    assert all("same picture as" in one.error for one in found.refused)
    assert len(found.images) == found.threshold.sample_size == 24
    assert "24 reference images are too few" in " ".join(found.remarks)
    assert streamed.CALIBRATION_IMAGES > 24


def test_a_calibration_by_pictures_the_bank_was_made_of(bank: Bank, surfaces: Surfaces) -> None:
    bank.fit(surfaces.train, image_size=64)
    image = Image.open(surfaces.train / "000.png")
    copies = [again(image) for again in AGAIN.values()]
    good = sorted(surfaces.good.iterdir())
    report = bank.calibrate([*copies, *good], force=True, max_refused="100%")
    assert report.images == len(good)
    assert len(report.refused) == len(copies)
    assert all("already a reference of this bank" in one.error for one in report.refused)
    # Those of a calibration are kept as well, and let go by the next.
    assert bank.calibrate(good, force=True).images == len(good)


def test_a_bank_made_before_pixels_were_kept_knows_its_files(
    bank: Bank, surfaces: Surfaces, database_url: str, graphs_home: Path, tmp_path: Path
) -> None:
    bank.fit(surfaces.train, image_size=64)
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        with workspace.database.connection() as connection:
            connection.execute("update image set pixels_sha256 = null")
        images = workspace.database.banks.active("part").content.images
    assert {one.pixels_sha256 for one in images} == {None}
    copy = tmp_path / "renamed.png"
    shutil.copy(surfaces.train / "000.png", copy)
    report = bank.calibrate([copy, *sorted(surfaces.good.iterdir())], force=True)
    assert [one.image for one in report.refused] == [str(copy)]
    # And by a file it comes and goes as it is.
    bank.export(tmp_path / "old.bank")
    patchbank.import_bank(
        tmp_path / "old.bank", "again", home=graphs_home, database_url=database_url
    ).close()


def test_the_digest_goes_along_in_a_file(
    bank: Bank, surfaces: Surfaces, database_url: str, graphs_home: Path, tmp_path: Path
) -> None:
    bank.fit(surfaces.train, image_size=64)
    bank.export(tmp_path / "part.bank")
    other = patchbank.import_bank(
        tmp_path / "part.bank", "again", home=graphs_home, database_url=database_url
    )
    copies = [again(Image.open(surfaces.train / "001.png")) for again in AGAIN.values()]
    with other:
        report = other.calibrate(
            [*copies, *sorted(surfaces.good.iterdir())], force=True, max_refused="100%"
        )
    assert len(report.refused) == len(copies)


def figures(workspace: Workspace, root: Path, dataset: str) -> Evaluation:
    results = list(evaluate(workspace, root, None, SETTINGS, dataset=dataset))
    assert isinstance(results[0], Evaluation)
    return results[0]


def test_training_images_among_the_test_images_count_in_no_figure(
    surfaces: Surfaces, tmp_path: Path, database_url: str, graphs_home: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(surfaces.root, root)
    category = root / "brushed"
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        before = figures(workspace, root, "mvtec")
        for number in range(3):
            image = Image.open(surfaces.train / f"{number:03}.png")
            (category / "test" / "good" / f"z{number}.png").write_bytes(with_note(image, "x"))
        copy = Image.open(surfaces.scratched / "000.png")
        (category / "test" / "scratch" / "z.png").write_bytes(with_note(copy, "x"))
        shutil.copy(surfaces.train / "005.png", category / "test" / "scratch" / "learned.png")
        after = figures(workspace, root, "mvtec")
    timed = {"fit_seconds", "milliseconds_per_image"}
    for name, value in before.values.items():
        assert name in timed or after.values[name] == value, name
    assert after.facts == {**before.facts, "test_left_out": 5}
    told = [one for one in after.remarks if "training images" in one]
    assert len(told) == 1
    assert told[0].startswith(
        "4 test images are also among the training images (same content), and"
    )
    assert "count in no figure" in told[0]
    assert "z0.png" in told[0]
    assert "1 labelled anomalous: the bank has learned them as good" in told[0]
    told = [one for one in after.remarks if "repeated" in one]
    assert len(told) == 1
    assert told[0].startswith("1 test image is repeated, and counts once: ")


def test_a_folder_that_is_split_by_names_knows_copies_by_their_pixels(
    surfaces: Surfaces, tmp_path: Path, database_url: str, graphs_home: Path
) -> None:
    """Patchbank splits such a set itself: a copy may fall on either side."""
    good = tmp_path / "part" / "good"
    good.mkdir(parents=True)
    for path in sorted(surfaces.train.iterdir()):
        shutil.copy(path, good)
        (good / f"{path.stem}-again.bmp").write_bytes(encoded(Image.open(path), "BMP"))
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        found = figures(workspace, tmp_path / "part", "folder")
    facts = found.facts
    assert facts["test_left_out"] > 0
    assert facts["train_images"] + facts["test_good"] == 24
    assert any("also among the training images" in one for one in found.remarks)


def test_a_test_of_training_images_alone_is_no_test(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(surfaces.root, root)
    shutil.rmtree(root / "brushed" / "test")
    shutil.rmtree(root / "brushed" / "ground_truth")
    shutil.copytree(root / "brushed" / "train", root / "brushed" / "test")
    outcome = patchbank("evaluate", root, "--image-size", "64")
    assert outcome.code == 2
    assert "24 test images are also among the training images" in outcome.err
    assert "and 19 more" in outcome.err


def test_a_picture_called_good_and_bad(
    surfaces: Surfaces, tmp_path: Path, database_url: str, graphs_home: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(surfaces.root, root)
    test = root / "brushed" / "test"
    shutil.copy(test / "scratch" / "000.png", test / "good" / "odd.png")
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        found = figures(workspace, root, "mvtec")
    assert found.facts["test_good"] + found.facts["test_anomalous"] == 16
    assert any("labelled good and anomalous" in one for one in found.remarks)
