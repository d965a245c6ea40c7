"""A defective image among the good ones: named, shown, left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces, brushed


@pytest.fixture
def mixed(surfaces: Surfaces, tmp_path: Path) -> Path:
    """24 good surfaces and a scratched one, all called good."""
    folder = tmp_path / "mixed"
    shutil.copytree(surfaces.train, folder)
    Image.fromarray(brushed(300, scratched=True)).save(folder / "bad.png")
    return folder


def test_a_defective_image_among_good_ones(patchbank: Run, mixed: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    strict = patchbank(
        "fit", "brushed", mixed, "--image-size", "96", "--strict", "--report", pictures
    )
    assert strict.code == 2
    assert "bad.png" in strict.complaint
    assert "nothing was stored" in strict.complaint
    assert patchbank("categories", "--json").documents == []
    (picture,) = pictures.iterdir()
    assert picture.name.startswith("01-bad-")
    with Image.open(picture) as opened:
        assert opened.width > opened.height > 90

    outcome = patchbank("fit", "brushed", mixed, "--image-size", "96", "--json")
    assert outcome.code == 0, outcome.err
    (found,) = outcome.document["suspicious"]["images"]
    assert found["name"] == str(mixed / "bad.png")
    assert found["score"] > 2 * outcome.document["suspicious"]["next_score"]
    assert any(remark.startswith("look at this image") for remark in outcome.document["remarks"])
    assert "look at this image" in outcome.err

    without = patchbank(
        "fit", "brushed", mixed, "--image-size", "96", "--exclude", "bad.png", "--json"
    )
    assert without.document["images"] == 24
    assert without.document["suspicious"] is None
    assert without.document["threshold"] < outcome.document["threshold"]

    unknown = patchbank("fit", "brushed", mixed, "--exclude", "bda.png")
    assert unknown.code == 2
    assert "bda.png" in unknown.complaint


def test_a_pass_above_a_region_is_explained(patchbank: Run, surfaces: Surfaces) -> None:
    fitted = patchbank("fit", "brushed", surfaces.train, "--image-size", "96", "--json")
    assert fitted.document["suspicious"] is None
    for document in patchbank("inspect", "brushed", surfaces.root, "--json").documents:
        said = any("passes although a region" in remark for remark in document["remarks"])
        assert said is (document["verdict"] == "pass" and bool(document["regions"]))


def test_a_defective_image_in_a_calibration(
    patchbank: Run, mixed: Path, surfaces: Surfaces, tmp_path: Path
) -> None:
    fitted = patchbank("fit", "brushed", surfaces.train, "--image-size", "96", "--json")
    held_out = tmp_path / "held-out"
    held_out.mkdir()
    for seed in range(400, 416):
        Image.fromarray(brushed(seed)).save(held_out / f"{seed}.png")
    shutil.copy(mixed / "bad.png", held_out)

    strict = patchbank("calibrate", "brushed", held_out, "--force", "--strict")
    assert strict.code == 2
    assert "bad.png" in strict.complaint
    assert "nothing was changed" in strict.complaint
    (category,) = patchbank("categories", "--json").documents
    assert category["bank_version"] == fitted.document["bank_version"]

    without = patchbank(
        "calibrate", "brushed", held_out, "--force", "--exclude", "bad.png", "--json"
    )
    assert without.document["images"] == 16
    assert without.document["suspicious"] is None

    outcome = patchbank("calibrate", "brushed", held_out, "--force", "--json")
    (found,) = outcome.document["suspicious"]["images"]
    assert found["name"] == str(held_out / "bad.png")
    assert outcome.document["suspicious"]["threshold_without"] == without.document["threshold"]
    assert outcome.document["threshold"] > without.document["threshold"]
    assert "calibrate again with --exclude" in outcome.err
