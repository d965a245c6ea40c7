"""A bank in memory follows the database, row by row, and judges by any version again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from patchbank.errors import BankGoneError
from patchbank.inspection.judging.index import build_index, indexes_of
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.store import indexes
from patchbank.store.bank_content import CalibrationScores, ReferenceImage
from patchbank.store.stored_bank import BankChange
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces

SETTINGS = make_fit_settings(image_size=64)
Teach = Callable[[Path], int]


@pytest.fixture
def teach(workspace: Workspace) -> Teach:
    """Exchange the first reference image for another: patches, image and scores."""

    def exchange(path: Path) -> int:
        banks = workspace.database.banks
        stored = banks.active("brushed", thumbnails=True)
        content = stored.content
        extraction = workspace.extractor(SETTINGS.extractor).extract_one(path)
        rows, columns, dimension = extraction.patches.shape
        row, column = np.divmod(np.arange(rows * columns), columns)
        stays = np.arange(len(content.images)) != 0
        scores = content.scores.rows(content.scores.image != 0)
        image = extraction.image
        change = BankChange(
            replace(
                content,
                features=extraction.patches.reshape(-1, dimension),
                patch_image=np.full(len(row), stays.sum()),
                patch_row=row.astype(np.int16),
                patch_column=column.astype(np.int16),
                images=[
                    ReferenceImage(str(path), image.sha256, image.width, image.height, b"\xff\xd8")
                ],
                embeddings=(extraction.embedding - content.embedding_mean)[np.newaxis],
                scores=replace(scores, image=scores.image - 1).with_more(
                    CalibrationScores.of_images([stays.sum()], [1.0], [1.0])
                ),
            ),
            stored.ordinals[content.patch_image == 0],
            stored.positions[:1],
        )
        return banks.change("brushed", stored.key, change, cause="test")

    return exchange


def test_a_change_is_taken_over_as_a_bank_read_anew_has_it(
    workspace: Workspace, surfaces: Surfaces, teach: Teach
) -> None:
    scratched, good = sorted(surfaces.scratched.iterdir()), sorted(surfaces.good.iterdir())
    with workspace:
        fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS)
        live = Inspector(workspace, "brushed")
        assert live.inspect(scratched[0]).verdict == "fail"
        for number, path in enumerate(scratched[:6], start=2):
            assert teach(path) == number
            seen = live.inspect(path)
            assert (seen.bank_version, seen.similar[0].image) == (number, str(path))
            read_anew = Inspector(workspace, "brushed")
            for image in (*scratched[4:8], good[0]):
                ours, anew = live.inspect(image), read_anew.inspect(image)
                assert ours.score == anew.score
                assert ours.p_value == anew.p_value
                assert ours.similar == anew.similar
                assert (ours.anomaly_map == anew.anomaly_map).all()
        # What was taught is known, and no other.
        assert live.inspect(scratched[0]).score < 0.5 * live.inspect(scratched[-1]).score


def test_the_log_tells_which_version_judges(
    workspace: Workspace, surfaces: Surfaces, teach: Teach, caplog: pytest.LogCaptureFixture
) -> None:
    train, good = sorted(surfaces.train.iterdir()), sorted(surfaces.good.iterdir())
    with workspace:
        fit(workspace, "brushed", train, SETTINGS)
        caplog.set_level(logging.INFO, logger="patchbank.inspection.judging.live_bank")
        live = Inspector(workspace, "brushed")
        live.inspect(good[0])
        teach(good[0])
        live.inspect(good[0])
        fit(workspace, "brushed", train, SETTINGS)
        live.inspect(good[0])
    ours = [entry.getMessage() for entry in caplog.records if entry.name.endswith("live_bank")]
    assert ours == [
        "category 'brushed': judging by bank version 1",
        "category 'brushed': took over bank version 2, as changed from version 1",
        "category 'brushed': judging by bank version 3",
    ]


def test_an_earlier_version_judges_as_it_did(
    workspace: Workspace, surfaces: Surfaces, teach: Teach, patchbank: Run
) -> None:
    images = [*sorted(surfaces.scratched.iterdir())[:3], *sorted(surfaces.good.iterdir())[:2]]
    with workspace:
        fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS)
        recorded = {}
        for version in range(1, 22):
            if version > 1:
                teach(images[version % 3])
                teach_version = workspace.database.banks.active_version("brushed")
                assert teach_version == version
            read_anew = Inspector(workspace, "brushed")
            for image in images:
                inspection = read_anew.inspect(image)
                recorded[version, image] = inspection.score, inspection.p_value
        for version in (1, 2, 11, 20):
            by_version = Inspector(workspace, "brushed", bank_version=version)
            for image in images:
                again = by_version.inspect(image)
                assert again.bank_version == version
                assert (again.score, again.p_value) == recorded[version, image]
        with pytest.raises(BankGoneError, match="has no bank version 40"):
            Inspector(workspace, "brushed", bank_version=40)
    found = patchbank("inspect", "brushed", images[0], "--bank-version", "1", "--json").document
    assert (found["bank_version"], found["score"]) == (1, recorded[1, images[0]][0])
    missing = patchbank("inspect", "brushed", images[0], "--bank-version", "99")
    assert missing.code == 2
    assert "has no bank version 99; its latest version is 21" in missing.complaint


def test_a_calibration_is_a_change_too(
    workspace: Workspace, surfaces: Surfaces, teach: Teach
) -> None:
    good = sorted(surfaces.good.iterdir())
    with workspace:
        fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS)
        live = Inspector(workspace, "brushed")
        before = live.inspect(good[0])
        stored = workspace.database.banks.active("brushed")
        scores = stored.content.scores
        doubled = replace(
            stored.content,
            features=stored.content.features[:0],
            patch_image=stored.content.patch_image[:0],
            images=[],
            embeddings=stored.content.embeddings[:0],
            scores=replace(scores, score=2 * scores.score),
        )
        workspace.database.banks.change("brushed", stored.key, BankChange(doubled), cause="test")
        after = live.inspect(good[0])
        assert after.score == before.score
        assert after.thresholds.fail_above == 2 * before.thresholds.fail_above
        calibration = calibration_of(workspace.database.banks.active("brushed").content)
        assert calibration is not None
        assert after.p_value == calibration.p_value(after.score)


def test_a_version_of_a_category_that_was_removed_and_fitted_anew_is_named(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    train = sorted(surfaces.train.iterdir())
    for _ in range(2):
        fit(workspace, "brushed", train, SETTINGS)
    inspector = Inspector(workspace, "brushed", bank_version=2)
    inspector.inspect(train[0])
    workspace.database.categories.remove("brushed")
    fit(workspace, "brushed", train, SETTINGS)
    for _ in range(2):
        with pytest.raises(BankGoneError, match="'brushed' has no bank version 2"):
            inspector.inspect(train[0])


def test_running_inspectors_take_over_an_earlier_version_that_is_activated(
    patchbank: Run, workspace: Workspace, surfaces: Surfaces, teach: Teach
) -> None:
    image, train = sorted(surfaces.scratched.iterdir())[0], sorted(surfaces.train.iterdir())
    with workspace:
        fit(workspace, "brushed", train, SETTINGS)
        build_index(workspace, "brushed", on="patches", metric="l2", ef_search=150)
        live = [Inspector(workspace, "brushed", in_database=where) for where in (False, True)]
        scores: dict[int, list[float]] = {}

        def judge() -> int:
            seen = [inspector.inspect(image) for inspector in live]
            (version,) = {inspection.bank_version for inspection in seen}
            anew = Inspector(workspace, "brushed").inspect(image)
            assert (seen[0].score, seen[0].p_value) == (anew.score, anew.p_value)
            assert seen[0].similar == seen[1].similar == anew.similar
            scores[version] = [inspection.score for inspection in seen]
            return version

        assert judge() == 1
        teach(image)
        assert judge() == 2
        assert scores[2][0] < scores[1][0]
        done = patchbank("activate", "brushed", "--version", "1")
        assert (done.code, done.err) == (0, "")
        assert done.out == (
            "brushed: version 3 is active, the same as version 1; to go back: patchbank activate "
            "brushed --version 2\n"
        )
        assert judge() == 3
        assert scores[3] == scores[1]
        fit(workspace, "brushed", train[:12], SETTINGS)
        assert judge() == 4
        done = patchbank("activate", "brushed", "--version", "2", "--json")
        assert done.document == {
            "category": "brushed",
            "bank_version": 5,
            "same_as": 2,
            "version_before": 4,
            "remarks": done.document["remarks"],
        }
        # Of another fit: its index is built again with the same settings.
        (remark,) = done.document["remarks"]
        assert remark.startswith("the HNSW index on patches was built again for this version, in ")
        (index,) = indexes_of(workspace, "brushed")
        assert (index.generation, index.metric, index.least_ef_search) == (1, "l2", 150)
        assert judge() == 5
        assert scores[5][0] == scores[2][0]
        history = patchbank("show", "brushed").out
        assert "  activate of version 2 by " in history
        refused = patchbank("activate", "brushed", "--version", "5")
        assert (refused.code, refused.out) == (2, "")
        assert "version 5 of category 'brushed' is already the active one" in refused.complaint
        assert (
            "its latest version is 5"
            in patchbank("activate", "brushed", "--version", "6").complaint
        )


def test_a_fit_builds_the_indexes_of_the_bank_before_again(
    workspace: Workspace, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = sorted(surfaces.train.iterdir())
    with workspace:
        report = fit(workspace, "brushed", train, SETTINGS)
        assert not any("HNSW" in remark for remark in report.bank.remarks)
        build_index(workspace, "brushed", type_="halfvec")
        report = fit(workspace, "brushed", train[:20], SETTINGS)
        assert any("HNSW index on images was built again" in one for one in report.bank.remarks)
        (index,) = indexes_of(workspace, "brushed")
        assert (index.on, index.type, index.generation) == ("images", "halfvec", 2)
        # Where the server cannot any more, the fit counts all the same.
        monkeypatch.setattr(indexes, "MINIMUM_PGVECTOR", (99,))
        report = fit(workspace, "brushed", train, SETTINGS)
        (remark,) = (one for one in report.bank.remarks if "HNSW" in one)
        assert "could not be built again (" in remark
        assert "patchbank index brushed --on images --metric cosine" in remark
        assert indexes_of(workspace, "brushed") == []
