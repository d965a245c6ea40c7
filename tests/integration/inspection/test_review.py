"""Two thresholds that differ: what lies between them is for a person to decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchbank.cli.guard import EXIT_FAILED
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.judging.live_bank import LiveBank
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration, Thresholds
from patchbank.reports.colours import VERDICT_COLOURS
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces

SETTINGS = make_fit_settings(image_size=64)


def test_a_score_between_two_thresholds_is_recorded_and_drawn_for_review(
    database_url: str, graphs_home: Path, surfaces: Surfaces, tmp_path: Path
) -> None:
    image = min(surfaces.scratched.iterdir())
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS)
        live = LiveBank(workspace, "brushed")
        ready = live.refresh()
        score = Inspector(workspace, "brushed", live=live).inspect(image).score
        # No setting parts the two yet; what judges by a bank is made once and kept.
        vars(ready)["judge"] = Judge(
            ready.index,
            ready.judge.settings,
            ready.judge.calibration,
            Thresholds(0.9 * score, 1.1 * score),
        )
        found = Inspector(workspace, "brushed", live=live).inspect(image, heatmaps=tmp_path)
        assert (found.verdict, found.passed) == ("review", False)
        assert found.regions
        document = found.to_json()
        assert document["verdict"] == "review"
        assert (document["pass_below"], document["fail_above"]) == (0.9 * score, 1.1 * score)
        recorded = workspace.database.inspections.recent("brushed", 1)[0]
        assert (recorded.verdict, recorded.score) == ("review", score)
        assert (recorded.pass_below, recorded.fail_above) == (0.9 * score, 1.1 * score)
    assert found.heatmap is not None
    picture = np.asarray(Image.open(found.heatmap))
    assert (picture[16:44, 16:70] == VERDICT_COLOURS["review"]).all(axis=2).mean() > 0.5


def test_an_image_to_review_has_not_passed(
    database_url: str,
    graphs_home: Path,
    surfaces: Surfaces,
    patchbank: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = min(surfaces.scratched.iterdir())
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS)
    # No setting parts the two yet.
    monkeypatch.setattr(Calibration, "thresholds", lambda *_: Thresholds(0.0, 1e6))
    outcome = patchbank("inspect", "brushed", image)
    assert outcome.code == EXIT_FAILED
    assert outcome.out.startswith("REVIEW ")
    assert "passes up to 0.0000, fails above 1000000.0000" in outcome.out
