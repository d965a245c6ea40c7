"""Parts of known answer are judged several times each, and the agreement is measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from patchbank import StudyImage
from patchbank.api import open_bank
from patchbank.errors import NoImagesError
from patchbank.inspection.measuring import check_report
from patchbank.inspection.measuring.check_report import StudyVerdict, agreement_of_parts, parts_of
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Thresholds
from tests.fixtures.browser import opened_page
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces, brushed

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GOOD, BAD, REPEATS = 6, 4, 3


def imaged(pixels: np.ndarray[Any, np.dtype[np.uint8]], seed: int) -> Image.Image:
    """Return the picture taken again: other noise of the camera."""
    noise = np.random.default_rng(seed).normal(0, 2, pixels.shape[:2])[..., np.newaxis]
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Six good and four scratched parts, three images of each."""
    root = tmp_path / "study"
    for number in range(GOOD + BAD):
        scratched = number >= GOOD
        folder = root / ("scratch" if scratched else "good") / f"p{number}"
        folder.mkdir(parents=True)
        pixels = brushed(300 + number, scratched=scratched)
        for repeat in range(REPEATS):
            imaged(pixels, 10 * number + repeat).save(folder / f"{repeat}.png")
    return root


def test_the_agreement_is_measured(
    patchbank: Run, learned: Outcome, study: Path, workspace: Workspace
) -> None:
    before = patchbank("inspections", "brushed", "--json").documents
    outcome = patchbank("check", "brushed", study, "--json")
    assert outcome.code == 0, outcome.err
    document = outcome.document
    assert (document["good_parts"], document["defective_parts"]) == (GOOD, BAD)
    assert document["images"] == 30
    assert document["miss_rate"]["count"] == 0
    assert document["miss_rate"]["total"] == BAD * REPEATS
    # 0.05 is shared by both tails of an exact interval: 1 - 0.025 ** (1 / 12).
    assert document["miss_rate"]["interval"] == [0.0, pytest.approx(1 - 0.025 ** (1 / 12))]
    assert document["miss_rate"]["reading"] == "acceptable"
    assert document["miss_rate"]["reading_of_interval"] == "not acceptable"
    assert document["repeatability"]["total"] == GOOD + BAD
    assert document["unstable"] == [
        part["part"] for part in document["parts"] if part["outcome"] == "unstable"
    ]
    assert len(document["parts"]) == GOOD + BAD
    (remark,) = document["remarks"]
    assert remark.startswith("10 parts with 3 images or more of each: the usual study has 50 parts")
    # The verdicts are those of an inspection, and nothing is recorded.
    single = patchbank(
        "inspect", "brushed", study / "good" / "p0" / "1.png", "--no-record", "--json"
    )
    (part,) = [part for part in document["parts"] if part["part"] == "good/p0"]
    assert part["images"][1]["score"] == pytest.approx(single.document["score"], rel=1e-5)
    assert patchbank("inspections", "brushed", "--json").documents == before
    recorded = patchbank("check", "brushed", study, "--record", "--json")
    assert recorded.document["recorded"] is True
    (last, *others) = workspace.database.inspections.recent("brushed")
    assert len(others) == len(before) + 29
    assert (last.image_name, last.part) == ("scratch/p9/2.png", "scratch/p9")


def test_the_answer_is_a_table(patchbank: Run, learned: Outcome, study: Path) -> None:
    outcome = patchbank("check", "brushed", study)
    assert outcome.code == 0, outcome.err
    assert "6 good parts and 4 defective parts, 30 images; bank version 1" in outcome.out
    assert "0 of 12 images" in outcome.out
    assert "acceptable, by the interval perhaps not acceptable" in outcome.out
    assert "review counts as not passed" in outcome.out
    assert "remark   10 parts with 3 images or more" in outcome.err


def test_the_verdicts_are_written_as_csv(
    patchbank: Run, learned: Outcome, study: Path, tmp_path: Path
) -> None:
    file = tmp_path / "study.csv"
    outcome = patchbank("check", "brushed", study, "--csv", file)
    assert outcome.code == 0, outcome.err
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 30
    assert [row["repeat"] for row in rows[:3]] == ["1", "2", "3"]
    assert {row["part"] for row in rows if row["answer"] == "scratch"} == {
        f"scratch/p{number}" for number in range(GOOD, GOOD + BAD)
    }
    assert all(row["right"] == "yes" for row in rows if row["answer"] == "scratch")
    printed = patchbank("check", "brushed", study, "--csv", "-").out
    assert printed == file.read_text(encoding="utf-8")
    for target, expected in (
        (tmp_path, "is a folder; give a file"),
        (tmp_path / "no" / "x.csv", "no such file or directory"),
    ):
        assert expected in patchbank("check", "brushed", study, "--csv", target).complaint
    both = patchbank("check", "brushed", study, "--csv", "-", "--json")
    assert "both write to standard output" in both.complaint


def test_what_the_bank_has_learned_is_left_out(
    patchbank: Run, learned: Outcome, surfaces: Surfaces, study: Path
) -> None:
    # The same pixels in another file, beside two new images of that part; and a copied repeat.
    Image.open(surfaces.train / "003.png").save(study / "good" / "p1" / "3.bmp")
    (study / "scratch" / "p8" / "3.png").write_bytes(
        (study / "scratch" / "p8" / "0.png").read_bytes()
    )
    (study / "good" / "p2" / "9.png").write_bytes(b"no picture")
    document = patchbank("check", "brushed", study, "--json").document
    assert document["good_parts"] == GOOD - 1
    assert document["images"] == 30 - 3
    learned_line, repeated_line = document["left_out"]
    assert learned_line == (
        "1 part is left out: the bank has an image of the part among its references, so that the "
        "verdicts would flatter: good/p1 (good/p1/3.bmp)"
    )
    assert repeated_line == (
        "1 image is left out: the pixels are those of another image, which is no repeat: "
        "scratch/p8/3.png (as scratch/p8/0.png)"
    )
    (refused,) = document["refused"]
    assert refused["image"] == "good/p2/9.png"


def test_a_study_without_unknown_parts_is_refused(
    patchbank: Run, learned: Outcome, surfaces: Surfaces, tmp_path: Path
) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "1.png").write_bytes((surfaces.train / "001.png").read_bytes())
    outcome = patchbank("check", "brushed", tmp_path)
    assert outcome.code == 2
    assert outcome.complaint.startswith("no image of the study can be judged: 1 part is left out")
    assert outcome.complaint.endswith("give images of parts that the bank was not fitted to")
    assert "category 'nothing'" in patchbank("check", "nothing", tmp_path).complaint


def test_review_counts_as_not_passed() -> None:
    """A part at the limit: of the good one a false alarm, of the defective one found."""
    images = [StudyImage(b"", str(number), f"p{number // 2}", answer) for number, answer in
              enumerate(["good", "good", "defect", "defect", "good", "good"])]  # fmt: skip
    verdicts = ["review", "pass", "review", "fail", "pass", "pass"]
    parts = parts_of(
        [
            StudyVerdict(image, verdict, 1.0, 0.5)  # type: ignore[arg-type]
            for image, verdict in zip(images, verdicts, strict=True)
        ]
    )
    assert [part.outcome for part in parts] == ["unstable", "right", "right"]
    found = agreement_of_parts(parts)
    assert found.miss_rate is not None
    assert found.miss_rate.count == 0
    assert found.false_alarm_rate is not None
    assert (found.false_alarm_rate.count, found.false_alarm_rate.total) == (1, 4)
    report = check_report.CheckReport(
        "c", 1, Thresholds(0.5, 1.5), parts, found, "", (), (), (), False, 1.0
    )
    assert report.to_review(defective=False) == report.to_review(defective=True) == 1
    assert report.to_json()["unstable"] == ["p0"]
    assert "agreement with the answers 66.7 %" in repr(report)


def test_the_page_shows_unstable_and_wrong_parts(
    learned: Outcome, database_url: str, graphs_home: Path, tmp_path: Path, browser: Browser
) -> None:
    """By the Python API, with images in memory: a part that is good and scratched, a hidden one."""
    # A reference taken again surely passes.
    again = [imaged(brushed(3), seed) for seed in range(3)]
    images = [
        StudyImage(again[0], "<b>a</b>.png", "mixed <i>", "good"),
        StudyImage(brushed(7_000, scratched=True), "b.png", "mixed <i>", "good"),
        StudyImage(again[1], "c.png", "hidden", "crack"),
        StudyImage(again[2], "d.png", "hidden", "crack"),
    ]
    folder = tmp_path / "page"
    with open_bank("brushed", home=graphs_home, database_url=database_url) as bank:
        report = bank.check(images, report=folder)
        assert {part.name: part.outcome for part in report.parts} == {
            "mixed <i>": "unstable", "hidden": "missed",
        }  # fmt: skip
        assert report.page == folder / "index.html"
        json.dumps(report.to_json())
        with pytest.raises(NoImagesError, match="no image of the study"):
            bank.check([StudyImage(b"x", "x", "x", "good")])
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
            assert "mixed <i>" in text
            assert "Review counts as not passed" in text
            assert "UNSTABLE" in text
            assert "MISSED" in text
            assert tab.locator("article").count() == 2
            assert tab.locator("article").first.locator("img").count() == 4
