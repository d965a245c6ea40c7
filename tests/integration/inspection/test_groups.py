"""Several images of one part: groups given by the user, from the fit to the verdict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import patchbank
from patchbank.errors import ParameterError
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import brushed

PARTS, PICTURES = 8, 3


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight parts with three pictures each, in a folder for each part."""
    root = tmp_path_factory.mktemp("parts")
    random = np.random.default_rng(0)
    for part in range(PARTS):
        folder = root / f"part{part}"
        folder.mkdir()
        for picture in range(PICTURES):
            noisy = brushed(part) + random.integers(-2, 3, (96, 96, 1))
            Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(
                folder / f"part{part}_{picture}.png"
            )
    return root


def test_pictures_of_a_part_count_as_one(tmp_path: Path, parts: Path) -> None:
    images = sorted(parts.rglob("*.png"))
    with patchbank.open("brushed", home=tmp_path / "home") as bank:
        bank.fit(parts, image_size=64, group_by="folder", false_alarm_rate=0.05)
        assert bank.last_fit is not None
        fitted = bank.last_fit.bank
        assert fitted.threshold.independent == PARTS
        assert fitted.threshold.guaranteed_rate == 1 / (PARTS + 1)
        assert "24 images, about 8 independent" in fitted.threshold.describe()
        assert any("add 11 more independent images" in remark for remark in fitted.remarks)
        inspection = bank.inspect(images[0])
        assert inspection.independent_references == PARTS
        assert "about 8 of them independent" in inspection.rarity
        grouped = fitted.scores
        # The same in another way; pictures that find their twins in the bank score lower.
        bank.fit(images, image_size=64, groups=[path.parent.name for path in images])
        assert bank.last_fit is not None
        np.testing.assert_array_equal(bank.last_fit.bank.scores, grouped)
        file = tmp_path / "brushed.bank"
        bank.export(file)
        again = patchbank.import_bank(file, "again", home=tmp_path / "home")
        assert again.inspect(images[0]).p_value == bank.inspect(images[0]).p_value
        assert again.inspect(images[0]).independent_references == PARTS
        again.close()
        with pytest.raises(ParameterError, match="23 given for 24 images"):
            bank.fit(images, image_size=64, groups=["a"] * 23)
        with pytest.raises(ParameterError, match="all 24 images are of one group"):
            bank.fit(images, image_size=64, groups=["a"] * 24)
        with pytest.raises(ParameterError, match="either groups or group_by"):
            bank.fit(images, image_size=64, groups=["a"] * 24, group_by="folder")


def test_commands_say_how_many_are_independent(patchbank: Run, parts: Path) -> None:
    rule = ("--group-by", r"part(\d)_", "--image-size", "64", "--json")
    fitted = json.loads(patchbank("fit", "brushed", parts, *rule).out)
    assert fitted["independent_references"] == PARTS
    assert fitted["stated_false_alarm_rate"] == 1 / (PARTS + 1)
    shown = json.loads(patchbank("show", "brushed", "--json").out)
    assert shown["independent_references"] == PARTS
    assert shown["stated_false_alarm_rate"] == 1 / (PARTS + 1)
    held_out = sorted(parts.rglob("*_0.png"))
    outcome = patchbank("fit", "brushed", *held_out, *rule)
    assert json.loads(outcome.out)["independent_references"] == PARTS
    others = [path for path in sorted(parts.rglob("*.png")) if path not in held_out]
    outcome = patchbank("calibrate", "brushed", *others, "--group-by", "folder", "--json")
    assert json.loads(outcome.out)["independent_references"] == PARTS
    assert json.loads(outcome.out)["images"] == PARTS * (PICTURES - 1)
    outcome = patchbank("fit", "brushed", parts, "--group-by", "part")
    assert outcome.code == 2
    assert "a pattern with one group in parentheses" in outcome.err


def test_pictures_of_a_part_are_detected(tmp_path: Path, parts: Path) -> None:
    images = sorted(parts.rglob("*.png"))
    later, first = images[-1], images[:-1]
    with patchbank.open("brushed", home=tmp_path / "home") as bank:
        bank.fit(first, image_size=64)
        assert bank.last_fit is not None
        fitted = bank.last_fit.bank
        assert fitted.threshold.independent == PARTS
        assert any("23 images count as about 8 independent" in said for said in fitted.remarks)
        detected = fitted.scores
        bank.fit(first, image_size=64, group_by="folder")
        np.testing.assert_array_equal(bank.last_fit.bank.scores, detected)
        bank.fit(first, image_size=64, group_by="image")
        assert bank.last_fit.bank.threshold.independent == len(first)
        # A part whose pictures are all left out is less like the rest of the bank.
        assert np.median(bank.last_fit.bank.scores / detected) < 0.9

        bank.fit(first, image_size=64)
        file = tmp_path / "brushed.bank"
        bank.export(file)
        before = bank.inspect(later)
        with patchbank.import_bank(file, "again", home=tmp_path / "home") as again:
            for changed in (bank, again):
                # Another picture of a part that is known is no further independent one.
                assert changed.add(later, force=True).added
                assert changed.inspect(first[0]).independent_references == PARTS
                changed.withdraw([later.as_posix()])
                after = changed.inspect(later)
                assert after.p_value == before.p_value
                assert after.score == before.score


def test_held_out_pictures_of_a_part_are_detected(patchbank: Run, parts: Path) -> None:
    images = sorted(parts.rglob("*.png"))
    patchbank("fit", "brushed", *images[::PICTURES], "--image-size", "64")
    held_out = [path for path in images if path not in images[::PICTURES]]
    outcome = patchbank("calibrate", "brushed", *held_out, "--json", "--force")
    calibrated = json.loads(outcome.out)
    assert calibrated["independent_references"] == PARTS
    assert any("about 8 independent" in remark for remark in calibrated["remarks"])


def test_an_added_picture_joins_the_group_of_its_part(
    tmp_path: Path, parts: Path, patchbank: Run
) -> None:
    images = sorted(path for path in parts.rglob("*.png") if "part0_2" not in path.name)
    rule = r"(part\d+)_"
    fit = ("fit", "brushed", *images, "--image-size", "64", "--group-by", rule, "--force")
    assert patchbank(*fit).code == 0
    before = patchbank("show", "brushed", "--json").document
    known = parts / "part0" / "part0_2.png"
    twins = []
    random = np.random.default_rng(1)
    for picture in range(2):
        twins.append(tmp_path / f"part8_{picture}.png")
        noisy = brushed(8) + random.integers(-2, 3, (96, 96, 1))
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(twins[-1])
    assert before["settings"]["group_by"] == rule
    # The rule of the fit is that of the bank, unless another is given.
    arguments = ("add", "brushed", known, *twins, "--force", "--json")
    added = patchbank(*arguments).document
    assert added["remarks"] == []
    after = patchbank("show", "brushed", "--json").document
    # A part that was known, and another one with two pictures.
    assert (before["independent_references"], after["independent_references"]) == (PARTS, PARTS + 1)
    assert patchbank("withdraw", "brushed", known, *twins, "--json").document["same_as"] == 1
    assert patchbank("show", "brushed", "--json").document["independent_references"] == PARTS
    wrong = patchbank("add", "brushed", known, "--force", "--group-by", "(nothing)")
    assert "gives none of the 24 images a group" in wrong.complaint
    unlike = tmp_path / "another.png"
    Image.fromarray(brushed(9)).save(unlike)
    remarks = patchbank("add", "brushed", unlike, "--force", "--dry-run", "--json").document
    assert any("1 image has no group by --group-by" in text for text in remarks["remarks"])

    # A table and a file that was imported say nothing of other images.
    table = tmp_path / "parts.csv"
    table.write_text(
        "path,part\n" + "".join(f"{path},{path.parent.name}\n" for path in images), "utf-8"
    )
    file = tmp_path / "brushed.bank"
    assert patchbank("export", "brushed", file).code == 0
    assert patchbank("import", file, "--category", "imported").code == 0
    by_table = ("fit", "listed", *images, "--image-size", "64", "--group-by", f"{table}:part")
    assert patchbank(*by_table, "--force").code == 0
    for category in ("imported", "listed"):
        assert "group_by" not in patchbank("show", category, "--json").document["settings"]
        unsaid = patchbank("add", category, known, "--force", "--dry-run")
        assert f"references of '{category}' are in groups, and 1 added image counts" in unsaid.err
