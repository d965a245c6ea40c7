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
    for spelled in (f"{mixed}/./bad.png", f"{mixed.parent}//{mixed.name}/../mixed/bad.png"):
        again = patchbank("fit", "brushed", mixed, "--image-size", "96", "--exclude", spelled)
        assert "look at this image" not in again.err
        assert again.code == 0
    assert without.document["suspicious"] is None
    assert without.document["fail_above"] < outcome.document["fail_above"]

    unknown = patchbank("fit", "brushed", mixed, "--exclude", "bda.png")
    assert unknown.code == 2
    assert "bda.png" in unknown.complaint


def test_pictures_go_to_a_folder_and_those_of_an_earlier_fit_are_said(
    patchbank: Run, mixed: Path, tmp_path: Path
) -> None:
    fit = ("fit", "brushed", mixed, "--image-size", "96", "--report")
    (tmp_path / "file").write_text("in the way")
    for taken in (tmp_path / "file", tmp_path / "file" / "inner"):
        refused = patchbank(*fit, taken)
        assert refused.code == 2
        assert f"{tmp_path / 'file'} is a file; give a folder" in refused.complaint
    assert patchbank("categories", "--json").documents == []

    folder = tmp_path / "pictures"
    assert "earlier fit" not in patchbank(*fit, folder).err
    without = patchbank(*fit, folder, "--exclude", "bad.png", "--json")
    (remark,) = (text for text in without.document["remarks"] if "earlier fit" in text)
    assert remark.startswith(f"{folder} has a picture from an earlier fit as well, such as 01-bad-")


def test_an_evaluation_says_to_take_a_defective_image_out(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(surfaces.root, root)
    scratched = brushed(300, scratched=True)
    Image.fromarray(scratched).save(root / "brushed" / "train" / "good" / "bad.png")
    outcome = patchbank("evaluate", root, "--image-size", "96")
    assert "bad.png (score " in outcome.err
    assert "remove it from the training images" in outcome.err
    assert "--exclude" not in outcome.err


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

    # What the remark advises is not refused for the image that is left out.
    assert patchbank("calibrate", "brushed", held_out, "--force").code == 0
    advised = patchbank("calibrate", "brushed", held_out, "--exclude", "bad.png")
    assert advised.code == 0, advised.err
    # Others may not be missing.
    for name in ("414.png", "415.png"):
        (held_out / name).rename(tmp_path / name)
    fewer = patchbank("calibrate", "brushed", held_out, "--exclude", "bad.png")
    assert fewer.code == 2
    assert "the current calibration uses 16" in fewer.complaint
    for name in ("414.png", "415.png"):
        (tmp_path / name).rename(held_out / name)

    outcome = patchbank("calibrate", "brushed", held_out, "--force", "--json")
    (found,) = outcome.document["suspicious"]["images"]
    assert found["name"] == str(held_out / "bad.png")
    assert outcome.document["suspicious"]["threshold_without"] == without.document["fail_above"]
    assert outcome.document["fail_above"] > without.document["fail_above"]
    assert "calibrate again with --exclude" in outcome.err
