"""A defective image among the good ones: named, shown, left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from patchbank import open as open_bank
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


@pytest.fixture
def contaminated(surfaces: Surfaces, tmp_path: Path) -> Path:
    """24 good surfaces and two scratched ones, one of them there twice."""
    folder = tmp_path / "contaminated"
    shutil.copytree(surfaces.train, folder)
    for seed in (300, 301):
        Image.fromarray(brushed(seed, scratched=True)).save(folder / f"bad{seed}.png")
    shutil.copy(folder / "bad300.png", folder / "copy-of-bad300.png")
    return folder


def test_screening_leaves_out_what_is_not_good_and_says_so(
    patchbank: Run, contaminated: Path, surfaces: Surfaces, tmp_path: Path
) -> None:
    fit = ("fit", "brushed", contaminated, "--image-size", "96")
    plain = patchbank(*fit, "--json").document
    assert plain["screening"] is None
    assert plain["images"] == 26

    pictures = tmp_path / "pictures"
    outcome = patchbank(*fit, "--screen", "--report", pictures, "--json")
    assert outcome.code == 0, outcome.err
    document = outcome.document
    found = document["screening"]["left_out"]
    bad = {str(contaminated / f"bad{seed}.png") for seed in (300, 301)}
    assert {image["name"] for image in found} == bad
    # The copy does not come in by the back door.
    assert document["images"] == 24
    assert [image["image"] for image in document["refused"]] == [
        str(contaminated / "copy-of-bad300.png")
    ]
    assert {path.name.split("-")[1] for path in pictures.iterdir()} == {"bad300", "bad301"}
    # None of 24 may fail, and if both are good, at most three of 27 images are above.
    assert document["stated_false_alarm_rate"] == pytest.approx(1 / 25)
    assert document["screening"]["false_alarm_rate_if_good"] == pytest.approx(3 / 27)
    (said,) = (text for text in document["remarks"] if text.startswith("screening"))
    assert all(name in said for name in bad)
    assert "up to 11.1 %" in said
    assert document["fail_above"] < plain["fail_above"]

    # The same bank as one that was fitted to the good ones.
    clean = patchbank("fit", "clean", surfaces.train, "--image-size", "96", "--json").document
    assert document["fail_above"] == clean["fail_above"]
    assert document["bank_size"] == clean["bank_size"]

    assert "2 left out by screening" in patchbank(*fit, "--screen").out
    (_, screened, before) = patchbank("history", "brushed", "--json").documents
    assert {image["name"] for image in screened["screened"]} == bad
    assert all(image["score"] > document["fail_above"] for image in screened["screened"])
    assert before["screened"] == []
    for command in ("history", "show"):
        assert "left out by screening: " in patchbank(command, "brushed").out
    events = patchbank("audit", "brushed", "--json").documents
    assert [event["detail"].get("screened") for event in events] == [None, found, found]

    # What was left out, but is good after all, is taken back in.
    back = patchbank("add", "brushed", contaminated / "bad301.png", "--force", "--json")
    assert back.code == 0, back.err
    assert back.document["images"] == 25


def test_screening_of_good_images_leaves_the_bank_as_it_is(
    patchbank: Run, surfaces: Surfaces
) -> None:
    fit = ("fit", "brushed", surfaces.train, "--image-size", "96", "--json")
    plain, screened = patchbank(*fit).document, patchbank(*fit, "--screen")
    assert screened.document["screening"]["left_out"] == []
    assert screened.document["fail_above"] == plain["fail_above"]
    stated = screened.document["stated_false_alarm_rate"]
    assert screened.document["screening"]["false_alarm_rate_if_good"] == pytest.approx(stated)
    assert "no image stands apart" in screened.err


def test_screening_that_leaves_too_few_stores_nothing(
    patchbank: Run, mixed: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in [*sorted(mixed.glob("[0-9]*.png"))[:4], mixed / "bad.png"]:
        shutil.copy(path, few)
    fit = ("fit", "brushed", few, "--image-size", "96", "--screen")
    outcome = patchbank(*fit)
    assert outcome.code == 2
    assert "screening leaves 4 images of 5; at least 5 are needed" in outcome.complaint
    assert "bad.png" in outcome.complaint
    assert patchbank("categories", "--json").documents == []
    assert patchbank(*fit, "--force").code == 0


def test_screening_in_python_with_groups(mixed: Path, tmp_path: Path) -> None:
    """The groups of those that remain are kept."""
    names = sorted(path for path in mixed.iterdir())
    groups = [None if path.name == "bad.png" else int(path.stem) // 2 for path in names]
    with open_bank("brushed", home=tmp_path / "home") as bank:
        bank.fit(names, groups=groups, screen=True, image_size=96)
        report = bank.last_fit
        assert report is not None
        assert report.screening is not None
        left_out = [image["name"] for image in report.screening.images()]
        assert str(mixed / "bad.png") in left_out
        kept = [path for path in names if str(path) not in left_out]
        assert len(report.bank.images) == len(kept) < len(names)
        numbers = {int(path.stem) // 2 for path in kept}
        assert report.bank.threshold.independent == len(numbers) < len(kept)
        (version,) = bank.history()
        assert version["screened"] == report.screening.images()
