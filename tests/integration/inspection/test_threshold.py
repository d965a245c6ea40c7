"""`patchbank threshold`: what limits promise, what others change, and setting them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import patchbank as package
from patchbank.inspection.measuring.judged_defects import (
    JudgedDefects,
    RememberedDefects,
    judge_defects,
)
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import conformal_threshold
from patchbank.store.stored_bank import StoredBank
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces, brushed


def point(document: dict[str, Any], rate: float) -> dict[str, Any]:
    only: dict[str, Any]
    (only,) = (item for item in document["curve"] if item["false_alarm_rate"] == rate)
    return only


def test_the_curve_says_what_is_promised_and_what_would_change(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, workspace: Workspace, tmp_path: Path
) -> None:
    judged = patchbank("inspect", "brushed", surfaces.good, surfaces.scratched, "--json").documents
    with workspace:
        stored = workspace.database.banks.active("brushed").content
    scores = stored.scores.rows(stored.scores.counts).score
    before = patchbank("show", "brushed", "--json").document
    document = patchbank("threshold", "brushed", "--json", "--report", tmp_path / "page").document
    assert (document["bank_version"], document["version_before"]) == (1, None)
    assert document["inspections"] == 16
    assert (tmp_path / "page" / "index.html").read_text().count("in use</span>") == 1
    for rate in (0.01, 0.1):
        found, promised = point(document, rate), conformal_threshold(scores, rate)
        assert found["fail_above"] == promised.value
        assert found["realised_interval"] == list(promised.realised)
        pairs = [
            (item["verdict"], "fail" if item["score"] > promised.value else "pass")
            for item in judged
            if not found["pass_below"] < item["score"] <= promised.value
        ]
        changed = sum(old != new for old, new in pairs)
        assert sum(item["inspections"] for item in found["changes"]) == changed
    assert point(document, 0.01)["missing_images"] == 99 - len(scores)
    assert point(document, 0.001)["estimate"] is None
    assert point(document, 0.01)["in_use"]
    text = patchbank("threshold", "brushed").out
    assert "needs 975 more" in text
    assert "in use 1 %" in text
    # Nothing was changed.
    assert patchbank("show", "brushed", "--json").document == before


def test_limits_are_set_by_rates_and_by_scores_without_a_fit(
    learned: Outcome, patchbank: Run, surfaces: Surfaces
) -> None:
    image = min(surfaces.good.iterdir())
    score = patchbank("inspect", "brushed", image, "--json").document["score"]
    by_rate = patchbank("threshold", "brushed", "--false-alarm-rate", "0.2", "--json").document
    assert (by_rate["bank_version"], by_rate["version_before"]) == (2, 1)
    assert by_rate["set_by"] == "rate"
    low, high = f"{0.5 * score}", f"{0.9 * score}"
    by_score = patchbank(
        "threshold", "brushed", "--pass-below", low, "--fail-above", high, "--json"
    ).document
    assert (by_score["set_by"], by_score["false_alarm_rate"]) == ("score", None)
    assert (by_score["pass_below"], by_score["fail_above"]) == (0.5 * score, 0.9 * score)
    # The recorded inspection passed by version 1.
    assert point(by_score, 0.01)["changes"] == []
    failed = patchbank("inspect", "brushed", image, "--json")
    assert (failed.code, failed.document["verdict"]) == (1, "fail")
    assert failed.document["score"] == score
    shown = patchbank("show", "brushed", "--json").document
    assert (shown["pass_below"], shown["fail_above"]) == (0.5 * score, 0.9 * score)
    assert ", given as a score: of 24 good parts " in shown["calibration"]
    events = [entry["cause"] for entry in shown["history"]]
    assert events.count("threshold") == 2
    set_now = {"pass_below": 0.5 * score, "fail_above": 0.9 * score}
    assert (shown["history"][0]["thresholds"], shown["history"][-1]["thresholds"]) == (
        set_now,
        None,
    )
    assert "; passes up to " in patchbank("history", "brushed").out.splitlines()[0]
    fitted = patchbank("calibrate", "brushed", surfaces.good, "--force", "--json").document
    assert any("limits that were given as scores (passes" in line for line in fitted["remarks"])
    assert patchbank("undo", "brushed").code == 0
    again = patchbank("threshold", "brushed", "--review-rate", "0.1", "--json").document
    assert again["set_by"] == "rate"
    assert patchbank("undo", "brushed").code == 0
    undone = patchbank("show", "brushed", "--json").document
    assert (undone["pass_below"], undone["fail_above"]) == (0.5 * score, 0.9 * score)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--fail-above", "20", "--review-rate", "0.1"], "not by both"),
        (["--false-alarm-rate", "2"], "false-alarm rate 2.0: must be between 0 and 1"),
        (["--fail-above", "-1"], "must be two scores above 0"),
        (["--estimate"], "24 calibration images are too few to fit the tail"),
        (["--false-alarm-rate", "0.2", "--estimate"], "leave --estimate out"),
        (["--cost-miss", "3"], "needs all three: the cost of a miss (--cost-miss)"),
        (
            ["--cost-miss", "3", "--cost-false-alarm", "1", "--defect-rate", "0.1"],
            "give --defects FOLDER",
        ),
        (["--open"], "--open shows the page of --report"),
    ],
)
def test_wrong_limits_are_refused_and_nothing_changes(
    learned: Outcome, patchbank: Run, options: list[str], complaint: str
) -> None:
    refused = patchbank("threshold", "brushed", *options)
    assert refused.code == 2
    assert complaint in refused.complaint
    assert patchbank("show", "brushed", "--json").document["bank_version"] == 1


@pytest.mark.parametrize("damaged", [False, True])
def test_limits_stay_where_defects_cannot_be_judged(
    learned: Outcome, patchbank: Run, tmp_path: Path, damaged: bool
) -> None:
    folder = tmp_path / "defects"
    if damaged:
        folder.mkdir()
        (folder / "a.png").write_text("no picture")
    refused = patchbank("threshold", "brushed", "--fail-above", "20", "--defects", folder)
    assert refused.code == 2
    assert patchbank("show", "brushed", "--json").document["bank_version"] == 1


def test_limits_that_give_way_are_named_and_an_estimate_outlives_another_review_rate(
    patchbank: Run, tmp_path: Path
) -> None:
    for number in range(60):
        Image.fromarray(brushed(number)).save(tmp_path / f"{number:03}.png")
    assert patchbank("fit", "many", tmp_path, "--image-size", "96").code == 0
    rate = ("--false-alarm-rate", "0.005")
    assert patchbank("threshold", "many", *rate, "--estimate").code == 0
    reviewed = patchbank("threshold", "many", "--review-rate", "0.1", "--json").document
    assert (reviewed["set_by"], reviewed["remarks"]) == ("estimate", [])
    assert patchbank("threshold", "many", "--fail-above", "20", "--json").document["remarks"] == []
    by_rate = patchbank("threshold", "many", *rate, "--json").document
    assert by_rate["set_by"] == "rate"
    assert "given as scores (threshold 20) are replaced" in by_rate["remarks"][0]
    assert patchbank("undo", "many").code == patchbank("undo", "many").code == 0
    (remark,) = patchbank("threshold", "many", *rate, "--json").document["remarks"]
    assert "not an estimate any more" in remark


def test_defects_are_judged_unless_the_bank_was_made_of_them(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    defects = tmp_path / "defects"
    shutil.copytree(surfaces.scratched, defects)
    shutil.copy(min(surfaces.train.iterdir()), defects / "learned.png")
    shutil.copy(min(surfaces.scratched.iterdir()), defects / "twice.png")
    costs = ("--cost-miss", "500", "--cost-false-alarm", "2", "--defect-rate", "0.01")
    outcome = patchbank("threshold", "brushed", "--defects", defects, *costs, "--json")
    document = outcome.document
    assert document["defects"] == 8
    assert any("learned.png; withdraw what shows a defect" in line for line in document["remarks"])
    assert any("same picture as" in line for line in document["remarks"])
    found = point(document, 0.01)
    assert (found["recall"]["count"], found["recall"]["total"]) == (8, 8)
    assert found["recall"]["interval"] == pytest.approx([0.6306, 1.0], abs=1e-4)
    assert found["miss_rate"]["interval"] == pytest.approx([0.0, 0.3694], abs=1e-4)
    # All are found at the highest score of a good part, so that a lower limit costs more.
    proposal = document["proposal"]
    assert proposal["fail_above"] == document["fail_above"]
    assert proposal["cost_per_1000_parts"] == pytest.approx(1000 * 0.99 * 2 / 25)


def test_recorded_defects_are_judged_where_their_files_are(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    folder = tmp_path / "found"
    shutil.copytree(surfaces.scratched, folder)
    assert patchbank("defects", "add", "brushed", folder, "--label", "scratch").code == 0
    first, second, *_ = sorted(folder.iterdir())
    first.unlink()
    shutil.copy(min(surfaces.good.iterdir()), second)
    document = patchbank("threshold", "brushed", "--recorded-defects", "--json").document
    assert document["defects"] == 6
    assert any("1 recorded defect cannot be judged" in line for line in document["remarks"])
    assert any(
        "is another picture than the recorded defect" in line for line in document["remarks"]
    )


def test_remembered_defects_are_those_that_this_version_judged(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, workspace: Workspace
) -> None:
    assert patchbank("defects", "add", "brushed", surfaces.scratched).code == 0
    remembered = RememberedDefects()
    calls: list[str] = []

    def judge(stored: StoredBank) -> JudgedDefects:
        return remembered.judge(workspace, stored, lambda stage, *_: calls.append(stage))

    with workspace:
        first = workspace.database.banks.active("brushed")
        # Another process changes the bank after it was read.
        good = sorted(surfaces.train.iterdir())[:12]
        assert patchbank("fit", "brushed", *good, "--image-size", "64").code == 0
        second = workspace.database.banks.active("brushed")
        assert first.key != second.key
        for stored in (first, second):
            alone = judge_defects(workspace, stored, (), recorded=True)
            assert judge(stored).scores == alone.scores
        assert judge(first).scores != judge(second).scores
        calls.clear()
        assert judge(second) is judge(second)
        assert calls == []
        name = workspace.database.defects.of_category("brushed")[0].name
        assert patchbank("defects", "remove", "brushed", name).code == 0
        assert len(judge(second)) == 7


def test_thresholds_in_python(
    learned: Outcome, database_url: str, patchbank: Run, surfaces: Surfaces
) -> None:
    with package.open("brushed") as bank:
        report = bank.thresholds(
            defects=[surfaces.scratched], costs=package.Costs(500, 2, defect_rate=0.01)
        )
        assert report.proposal is not None
        assert report.defects is not None
        assert repr(report).startswith("<ThresholdReport of 'brushed', version 1: threshold ")
        changed = bank.set_thresholds(review_rate=0.2)
        assert changed.thresholds.pass_below < changed.thresholds.fail_above
        assert bank.inspect(min(surfaces.good.iterdir())).thresholds == changed.thresholds
        with pytest.raises(package.PatchbankError, match="give a rate or a score"):
            bank.set_thresholds()
