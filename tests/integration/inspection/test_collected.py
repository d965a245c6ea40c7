"""What lies among images of parts and is none: every command leaves it out, and says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import patchbank as api
from patchbank.errors import DatasetError
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces

SMALL = ("--image-size", "64")
IMAGES = 6


@pytest.fixture
def cluttered(surfaces: Surfaces, tmp_path: Path) -> Path:
    """Good images, with masks in a folder and beside one, a note and a thumbnail of a system."""
    folder = tmp_path / "parts"
    for number, image in enumerate(sorted(surfaces.train.iterdir())[:IMAGES]):
        copy = folder / "2026-11-25" / f"{number}.png"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, copy)
    mask = np.zeros((96, 96), np.uint8)
    mask[10:20, 10:20] = 255
    for name in ("masks/0.png", "2026-11-25/1_mask.png", "2026-11-25/2.bmp", "@eaDir/0.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(folder / name)
    (folder / "notes.txt").write_text("")
    return folder


@pytest.mark.parametrize("command", ["fit", "calibrate"])
def test_a_data_set_is_neither_learned_nor_calibrated_by(
    patchbank: Run, surfaces: Surfaces, command: str
) -> None:
    options = SMALL if command == "fit" else ()
    for given in (surfaces.root, surfaces.root / "brushed", surfaces.scratched):
        outcome = patchbank(command, "brushed", given, *options)
        assert outcome.code == 2
        assert outcome.complaint.endswith(str(surfaces.train))
    assert patchbank("categories", "--json").out == ""


def test_every_command_leaves_out_what_is_no_image_of_a_part(
    patchbank: Run, cluttered: Path, surfaces: Surfaces
) -> None:
    fitted = patchbank("fit", "brushed", cluttered, *SMALL, "--json")
    assert fitted.document["images"] == IMAGES
    assert fitted.document["refused"] == []
    words = ("3 masks left out", "1 file not read: .txt")
    for word in words:
        assert sum(word in remark for remark in fitted.document["remarks"]) == 1
        assert f"remark   {word}" in fitted.err
    heatmaps = cluttered / "heatmaps"
    options = ("--json", "--heatmaps", heatmaps)
    first, second = (patchbank("inspect", "brushed", cluttered, *options) for _ in range(2))
    for judged in (first, second):
        assert len(judged.documents) == IMAGES
        assert all(f"remark   {word}" in judged.err for word in words)
    assert f"{IMAGES} pictures written by patchbank left out" in second.err
    shutil.copy(surfaces.scratched / "001.png", cluttered / "defect.png")
    added = patchbank("defects", "add", "brushed", cluttered, "--json").document
    assert len(added["added"]) == IMAGES + 1
    assert any("3 masks left out" in remark for remark in added["remarks"])
    others = cluttered.with_name("others")
    shutil.copytree(cluttered / "masks", others / "masks")
    for image in sorted(surfaces.train.iterdir())[IMAGES:]:
        shutil.copy(image, others / image.name)
    calibrated = patchbank("calibrate", "brushed", others, "--json").document
    assert calibrated["images"] == len(list(surfaces.train.iterdir())) - IMAGES
    assert any("1 mask left out" in remark for remark in calibrated["remarks"])


def test_the_python_interface_leaves_out_the_same(
    cluttered: Path, surfaces: Surfaces, database_url: str, graphs_home: Path
) -> None:
    with api.open("brushed", home=graphs_home, database_url=database_url) as bank:
        with pytest.raises(DatasetError, match=r"train/good$"):
            bank.fit(surfaces.root, image_size=64)
        report = bank.fit(cluttered, image_size=64).last_fit
        assert report is not None
        assert len(report.bank.images) == IMAGES
        assert any("3 masks left out" in remark for remark in report.bank.remarks)
        assert len(list(bank.inspect_many(cluttered))) == IMAGES
        assert any("3 masks left out" in remark for remark in bank.remarks)
        named = [cluttered / "2026-11-25" / "0.png", cluttered / "2026-11-25" / "1_mask.png"]
        assert len(list(bank.inspect_many(named))) == len(named)
        assert any("named like a mask" in remark for remark in bank.remarks)


def test_an_evaluation_says_that_masks_were_scaled_and_pictures_left_out(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(surfaces.root, root)
    masks = sorted((root / "brushed" / "ground_truth" / "scratch").iterdir())
    for mask in masks:
        picture = Image.open(mask)
        picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(mask)
    shutil.copy(masks[0], root / "brushed" / "test" / "scratch" / "000_mask.png")
    outcome = patchbank("evaluate", root, *SMALL, "--json")
    document = outcome.documents[0]
    assert document["test_anomalous"] == len(masks)
    assert document["pixel_auroc"] is not None
    remarks = outcome.err.splitlines()
    assert any(f"{len(masks)} masks whose size differs" in remark for remark in remarks)
    assert any("1 mask left out" in remark for remark in remarks)
