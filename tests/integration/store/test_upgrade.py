"""A database that an earlier patchbank made judges as it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg

from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.keeping.manage import show_category
from patchbank.inspection.learning.calibrate import calibrate
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from tests.fixtures.older_database import make_older
from tests.fixtures.surfaces import Surfaces

SETTINGS = make_fit_settings(image_size=64)


def test_banks_stored_as_copies_become_rows_with_the_same_verdicts(
    database_url: str, empty_database_url: str, graphs_home: Path, surfaces: Surfaces
) -> None:
    train, good = sorted(surfaces.train.iterdir()), sorted(surfaces.good.iterdir())
    images = [*good[:3], *sorted(surfaces.scratched.iterdir())[:3]]
    stored, expected = [], {}
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        fit(workspace, "fitted", train, SETTINGS)
        fit(workspace, "calibrated", train[:16], SETTINGS)
        calibrate(workspace, "calibrated", train[16:], force=True)
        for category in ("fitted", "calibrated"):
            bank = workspace.database.banks.active(category, thumbnails=True)
            # Each lay there as a copy, under its version's number; one before was pruned.
            stored += [replace(bank, key=bank.key._replace(version=v)) for v in (1, 2, 3)]
            inspector = Inspector(workspace, category)
            expected[category] = [inspector.inspect(image) for image in images]
    make_older(empty_database_url, stored)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("delete from patchbank.patch where version = 1")
        connection.execute("delete from patchbank.reference where version = 1")

    with Workspace(home=graphs_home, database_url=empty_database_url) as workspace:
        for category, inspections in expected.items():
            history = show_category(workspace, category)["history"]
            assert [one["state"] for one in history] == ["active", "retired", "pruned"]
            for version in (None, 2):
                inspector = Inspector(workspace, category, bank_version=version)
                for image, before in zip(images, inspections, strict=True):
                    after = inspector.inspect(image)
                    assert (after.verdict, after.score) == (before.verdict, before.score)
                    assert after.p_value == before.p_value
                    assert after.thresholds == before.thresholds
                    assert after.map_threshold == before.map_threshold
                    assert (after.regions, after.similar) == (before.regions, before.similar)
            earlier = workspace.database.inspections.recent(category)[-1]
            assert earlier.image_name == "earlier.png"
            assert (earlier.pass_below, earlier.fail_above) == (2.5, 2.5)
        scores = workspace.database.banks.active("calibrated").content.scores
        assert np.count_nonzero(scores.held_out) == 8
        # A calibration takes the place of the one before, of which no image is known.
        report = calibrate(workspace, "calibrated", good, force=True)
        assert (report.bank_version, report.images) == (4, 8)
        scores = workspace.database.banks.active("calibrated").content.scores
        assert np.count_nonzero(scores.counts) == np.count_nonzero(scores.held_out) == 8
        assert len(scores) == 16 + 8
