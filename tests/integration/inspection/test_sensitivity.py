"""Synthetic defects of growing size and contrast are judged by the active bank."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from patchbank.api import open_bank
from patchbank.errors import NoImagesError, ParameterError
from patchbank.inspection.measuring import sensitivity as module
from patchbank.inspection.measuring.sensitivity_report import SensitivityReport, Trial
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Thresholds
from tests.fixtures.banks import make_bank
from tests.fixtures.browser import opened_page
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces, brushed

if TYPE_CHECKING:
    from playwright.sync_api import Browser

QUICK = ("--sizes", "4,24", "--contrasts", "5,80", "--images", "4")


def share_of(document: dict[str, Any], kind: str, size: int, contrast: float) -> float:
    (row,) = [
        row
        for row in document["defects"]
        if (row["kind"], row["size_pixels"], row["contrast"]) == (kind, size, contrast)
    ]
    return float(row["share_found"])


@pytest.fixture
def again(surfaces: Surfaces, tmp_path: Path) -> Path:
    """References taken again, with other noise: the bank has not learned them, and they pass."""
    folder = tmp_path / "good"
    folder.mkdir()
    for number in range(6):
        noise = np.random.default_rng(number).normal(0, 2, (96, 96, 1))
        pixels = np.clip(brushed(number) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_larger_and_stronger_defects_are_found(
    patchbank: Run, learned: Outcome, again: Path, tmp_path: Path
) -> None:
    before = patchbank("inspections", "brushed", "--json").documents
    file = tmp_path / "found.csv"
    outcome = patchbank("sensitivity", "brushed", again, *QUICK, "--json", "--csv", file)
    assert outcome.code == 0, outcome.err
    document = outcome.document
    assert document["synthetic"] is True
    assert "no recall" in document["note"]
    assert document["held_out"] is True
    assert document["images"] == 4
    assert document["kinds"] == ["scratch", "spot", "stain", "cut"]
    assert len(document["defects"]) == 4 * 2 * 2
    for kind in document["kinds"]:
        assert share_of(document, kind, 4, 0.05) <= share_of(document, kind, 24, 0.8)
    assert share_of(document, "spot", 24, 0.8) == 1
    assert {
        (row["kind"], row["size_pixels"])
        for row in document["smallest_found"]
        if row["contrast"] == 0.8 and row["kind"] == "spot"
    } <= {("spot", 4), ("spot", 24)}
    for row in document["defects"]:
        assert row["images"] == 4
        assert row["found"] <= row["located"] <= 4
        assert row["low"] <= row["share_found"] <= row["high"]
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    assert [float(row["share_found"]) for row in rows] == [
        row["share_found"] for row in document["defects"]
    ]
    assert {row["synthetic"] for row in rows} == {"yes"}
    assert patchbank("inspections", "brushed", "--json").documents == before
    repeated = patchbank("sensitivity", "brushed", again, *QUICK, "--json").document
    assert repeated["defects"] == document["defects"]
    other = patchbank("sensitivity", "brushed", again, *QUICK, "--seed", "3", "--json").document
    assert other["seed"] == 3


def test_references_are_judged_without_their_own_patches(
    patchbank: Run, learned: Outcome, surfaces: Surfaces
) -> None:
    options = ("--kinds", "spot", "--mm-per-pixel", "0.05", *QUICK)
    outcome = patchbank("sensitivity", "brushed", *options)
    assert outcome.code == 0, outcome.err
    assert "4 references, each judged without its own patches" in outcome.out
    assert "4 px (0.2 mm)" in outcome.out
    assert "The defects are synthetic" in outcome.out
    document = patchbank("sensitivity", "brushed", *options, "--json").document
    assert document["held_out"] is False
    assert document["kinds"] == ["spot"]
    assert share_of(document, "spot", 24, 0.8) == 1
    assert document["defects"][0]["size_mm"] == 0.2
    # A copy of the reference would score zero in the bank that has it; here it does not pass a
    # defect as large as a quarter of it more easily than a new image does.
    assert share_of(document, "spot", 4, 0.05) < 1


def test_the_references_of_the_bank_are_no_new_images(
    patchbank: Run, learned: Outcome, surfaces: Surfaces, again: Path
) -> None:
    shutil.copy(surfaces.train / "007.png", again / "copied.png")
    (again / "broken.png").write_bytes(b"no picture")
    document = patchbank(
        "sensitivity", "brushed", again, "--kinds", "spot", "--sizes", "24", "--contrasts", "80",
        "--json",
    ).document  # fmt: skip
    (line,) = document["left_out"]
    assert line.startswith("1 image is left out: the bank has learned")
    (refused,) = document["refused"]
    assert refused["image"].endswith("broken.png")
    assert document["images"] + len(document["not_passed_without_defect"]) == 6
    outcome = patchbank("sensitivity", "brushed", surfaces.train, *QUICK)
    assert outcome.code == 2
    assert outcome.complaint.startswith("no image can be used: 24 images are left out: the bank")


def test_files_that_are_gone_are_left_out(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    folder = tmp_path / "train"
    shutil.copytree(surfaces.train, folder)
    assert patchbank("fit", "plate", folder, "--image-size", "96").code == 0
    for path in sorted(folder.iterdir())[4:]:
        path.unlink()
    Image.fromarray(brushed(5)).save(folder / "003.png")
    document = patchbank("sensitivity", "plate", *QUICK, "--json").document
    assert document["images"] + len(document["not_passed_without_defect"]) == 3
    (line,) = document["left_out"]
    assert line.startswith("21 references are left out: the file is not there any more, or is")
    shutil.rmtree(folder)
    assert "no image can be used" in patchbank("sensitivity", "plate", *QUICK).complaint


def test_a_bank_of_unknown_provenance_asks_for_images(
    patchbank: Run, workspace: Workspace, again: Path
) -> None:
    """Without knowing whose its patches are, none can be left out."""
    nowhere = np.full(60, -1)
    bank = make_bank(
        patch_image=nowhere,
        patch_row=nowhere.astype(np.int16),
        patch_column=nowhere.astype(np.int16),
    )
    workspace.database.banks.save("tile", bank)
    complaint = patchbank("sensitivity", "tile").complaint
    assert complaint == (
        "category 'tile': its bank does not know which images its patches are of; give a folder "
        "of good images that it was not fitted to"
    )


def test_defects_are_only_where_the_bank_looks(
    learned: Outcome, database_url: str, graphs_home: Path, surfaces: Surfaces
) -> None:
    """By the Python API: the left half is ignored, so nothing is drawn there."""
    middles: list[float] = []
    images = [brushed(number) for number in range(8)]
    lighter = [np.clip(image.astype(int) + 1, 0, 255).astype(np.uint8) for image in images]
    with open_bank("half", home=graphs_home, database_url=database_url) as bank:
        bank.fit(images, image_size=96, ignore_box="0%,0%,50%,100%", false_alarm_rate=0.2)
        report = bank.sensitivity(
            lighter,
            sizes=[10], contrasts=[0.8], kinds=["cut", "spot"],
        )  # fmt: skip
        assert report.trial.kinds == ("spot", "cut")
        for pair in report.pairs.values():
            shown = pair.smallest_found or pair.largest_missed
            assert shown is not None
            # The crop is the whole image.
            clean = lighter[int(shown.image.removeprefix("image-"))]
            columns = np.flatnonzero((shown.pixels != clean).any(axis=(0, 2)))
            middles.append((columns[0] + columns[-1] + 1) / 2)
            assert np.isnan(shown.anomaly_map[:, :40]).all()
        assert middles
        assert min(middles) >= 47
        found = report.located.sum() / (report.images * 2)
        assert found >= 0.5
        with pytest.raises(ParameterError, match="larger than the images"):
            bank.sensitivity(lighter, sizes=[200])
        with pytest.raises(NoImagesError, match="does not know the files"):
            bank.sensitivity()


def test_fewer_images_are_used_where_it_would_take_long(
    patchbank: Run, learned: Outcome, again: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONG_SECONDS", 1e-9)
    monkeypatch.setattr(module, "_FEWEST_IMAGES", 2)
    options = ("--kinds", "spot", "--sizes", "8")
    document = patchbank("sensitivity", "brushed", again, *options, "--json").document
    assert document["images"] == 2
    (remark,) = document["remarks"]
    assert remark.startswith("2 of ")
    assert remark.endswith("images are used, so that it does not take too long; --images N decides")


def test_the_smallest_found_is_the_one_from_which_on_all_are() -> None:
    """Of ten images: 9 or more at a size and all larger ones."""
    found = np.array([[[3], [9], [8], [9], [10]]])
    report = SensitivityReport(
        "c", 1, Thresholds(1, 1), 1.0, Trial(("spot",), (2, 4, 8, 16, 32), (0.5,), 0, 0.25), 10,
        found, found, (), True, {}, (), (), (), 1.0,
    )  # fmt: skip
    assert report.smallest(0, 0) == 16
    assert report.in_words() == ["spot: 16 px (4 mm) at 50 %"]
    assert "16 px" in repr(report)
    never = SensitivityReport(**{**vars(report), "found": found * 0})
    assert never.smallest(0, 0) is None
    assert never.to_json()["smallest_found"][0]["size_pixels"] is None


def test_bad_input_is_a_line(patchbank: Run, learned: Outcome, tmp_path: Path) -> None:
    for options, expected in (
        (("--kinds", "scratch,hole"), "kind 'hole': must be one of scratch, spot, stain, cut"),
        (("--sizes", "1"), "size 1: must be a whole number of pixels, 2 or more"),
        (("--sizes", "4;8"), "--sizes 4;8: give whole numbers, separated by commas"),
        (("--contrasts", "0"), "contrast 0: must be above 0"),
        (("--contrasts", "140"), "contrast 1.4: must be above 0 and at most 1"),
        (("--mm-per-pixel", "0"), "millimetres per pixel 0: must be above 0 and at most 10,000"),
        (("--mm-per-pixel", "1e308"), "millimetres per pixel 1e+308: must be above 0 and at most"),
        (("--mm-per-pixel", "nan"), "millimetres per pixel nan: must be above 0 and at most"),
        (("--sizes", ",".join(map(str, range(2, 20)))), "18 sizes: give at most 12"),
        (("--report", tmp_path / "x" / "y", "--open", "--sizes", "500"), "size 500: larger than"),
        (("--open",), "--open shows the page of --report"),
    ):
        outcome = patchbank("sensitivity", "brushed", *options)
        assert outcome.code == 2
        assert expected in outcome.complaint
    assert "category 'nothing'" in patchbank("sensitivity", "nothing").complaint
    missing = tmp_path / "none"
    assert "does not exist" in patchbank("sensitivity", "brushed", missing).complaint


def test_the_page_shows_the_smallest_found_beside_the_largest_missed(
    learned: Outcome, database_url: str, graphs_home: Path, again: Path, tmp_path: Path,
    browser: Browser,
) -> None:  # fmt: skip
    folder = tmp_path / "page"
    with open_bank("brushed", home=graphs_home, database_url=database_url) as bank:
        report = bank.sensitivity(
            again, sizes=[4, 24], contrasts=[0.05, 0.8], kinds=["spot", "scratch"],
            mm_per_pixel=0.1, report=folder,
        )  # fmt: skip
    assert report.page == folder / "index.html"
    json.dumps(report.to_json())
    assert report.pairs[1, 1].smallest_found is not None
    for width, scheme in ((420, "light"), (420, "dark"), (1400, "light")):
        with opened_page(browser, folder / "index.html", width, scheme) as (tab, problems):
            assert not problems
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            # No column is hidden beyond the edge of its table.
            assert tab.evaluate(
                "[...document.querySelectorAll('.scroll')].every("
                "card => card.scrollWidth <= card.clientWidth)"
            )
            assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
            text = tab.locator("main").inner_text()
            assert "The defects are synthetic" in text
            assert "they are no recall" in text
            assert "Synthetic spot, contrast 80 %" in text
            assert "24 px (2.4 mm)" in text
            assert "FOUND" in text
            assert tab.locator("article").count() == len(report.pairs)
            assert tab.locator("table.numbers").count() == 2
