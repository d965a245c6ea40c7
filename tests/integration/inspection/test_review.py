"""Two thresholds that differ: what lies between them is for a person to decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from patchbank.cli.guard import EXIT_FAILED
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import FitSettings, make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.reports.colours import VERDICT_COLOURS
from patchbank.vision.extractor_settings import ExtractorSettings
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces

# Of the 24 references the highest score is one limit, the lowest the other.
SETTINGS = make_fit_settings(image_size=64, false_alarm_rate=0.04, review_rate=0.92)


def test_a_score_between_two_thresholds_is_recorded_and_drawn_for_review(
    database_url: str, graphs_home: Path, surfaces: Surfaces, tmp_path: Path
) -> None:
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        bank = fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS).bank
        limits = bank.thresholds
        assert (limits.pass_below, limits.fail_above) == (min(bank.scores), max(bank.scores))
        inspector = Inspector(workspace, "brushed")
        images = sorted(surfaces.good.iterdir())
        scores = [inspector.inspect(image).score for image in images]
        inside = [min(bank.scores) < score < max(bank.scores) for score in scores]
        image, score = images[inside.index(True)], scores[inside.index(True)]
        found = inspector.inspect(image, heatmaps=tmp_path)
        assert (found.verdict, found.passed) == ("review", False)
        assert found.summary.startswith(
            f"score {score:.4g}, {found.times_the_limit}, to review above {limits.pass_below:.4g}; "
        )
        document = found.to_json()
        assert document["verdict"] == "review"
        assert (document["pass_below"], document["fail_above"]) == (
            min(bank.scores),
            max(bank.scores),
        )
        recorded = workspace.database.inspections.recent("brushed", 1)[0]
        assert (recorded.verdict, recorded.score) == ("review", score)
        assert (recorded.pass_below, recorded.fail_above) == (min(bank.scores), max(bank.scores))
        # The scratched ones fail as before: the upper limit is where it was.
        scratched = inspector.inspect(min(surfaces.scratched.iterdir()))
        assert scratched.verdict == "fail"
    assert found.heatmap is not None
    picture = np.asarray(Image.open(found.heatmap))
    assert (picture[16:44, 16:70] == VERDICT_COLOURS["review"]).all(axis=2).mean() > 0.5


def test_an_image_to_review_has_not_passed(
    database_url: str, graphs_home: Path, surfaces: Surfaces, patchbank: Run
) -> None:
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        bank = fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS).bank
    outcome = patchbank("inspect", "brushed", surfaces.good)
    assert outcome.code == EXIT_FAILED
    assert "REVIEW" in outcome.out
    assert " to review (passes up to " in outcome.out
    assert f"fails above {bank.thresholds.fail_above:.4g})" in outcome.out


def test_the_review_rate_changes_without_a_fit(learned: Outcome, patchbank: Run) -> None:
    before = patchbank("show", "brushed", "--json").document
    assert before["settings"]["review_rate"] == 0.01
    # 24 references cannot tell 1 % from 2 %.
    assert before["pass_below"] == before["fail_above"]
    assert before["review"] == (
        "none: with 24 good parts, the limits for 1 % and for 2 % are the same; 99 tell them apart"
    )
    document = patchbank("calibrate", "brushed", "--review-rate", "0.2", "--json").document
    assert document["fail_above"] == before["fail_above"] > document["pass_below"]
    assert document["review"]["requested_review_rate"] == 0.2
    assert not document["review"]["collapsed"]
    # 5 of 24 + 1.
    assert "at most 20 % of good parts do not pass" in document["review"]["text"]
    none = patchbank("calibrate", "brushed", "--review-rate", "0", "--json").document
    assert none["pass_below"] == none["fail_above"] == before["fail_above"]
    assert none["review"]["text"] == "none: no image goes to review"


def test_a_review_rate_that_leaves_no_good_part_is_refused(
    learned: Outcome, patchbank: Run
) -> None:
    for rate in ("0.99", "-0.1", "nan"):
        refused = patchbank("calibrate", "brushed", f"--review-rate={rate}")
        assert refused.code == 2
        assert f"review rate {float(rate)}: must be 0 or more, and below 1" in refused.complaint


def test_too_few_images_for_a_review_band_are_said(learned: Outcome, patchbank: Run) -> None:
    few = patchbank("calibrate", "brushed", "--false-alarm-rate", "0.1", "--json")
    assert any(
        remark.startswith("review: none: with 24 good parts") for remark in few.document["remarks"]
    )


def test_a_bank_stored_before_there_were_two_thresholds_has_one() -> None:
    document = make_fit_settings().to_json()
    assert document["review_rate"] == 0.01
    del document["review_rate"]
    assert FitSettings.from_json(document, ExtractorSettings()).review_rate == 0
