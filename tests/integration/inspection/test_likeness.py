"""Likeness to recorded defects changes scores: switched on and off, and undone to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from patchbank.errors import ParameterError
from patchbank.inspection.judging.defects import add_defects
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.judge import likeness_of
from patchbank.inspection.judging.live_bank import LiveBank
from patchbank.inspection.keeping.transfer import export_bank, import_bank_file
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.living.add import add
from patchbank.inspection.living.history import history
from patchbank.inspection.living.likeness import use_likeness
from patchbank.inspection.living.undo import undo
from patchbank.inspection.living.withdraw import withdraw
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces, brushed

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "inspection.schema.json").read_text())


@pytest.fixture
def images(surfaces: Surfaces) -> list[Path]:
    """Two scratched and four good images that nothing was learned of."""
    return [*sorted(surfaces.scratched.iterdir())[6:], *sorted(surfaces.good.iterdir())[:4]]


@pytest.fixture
def with_book(workspace: Workspace, surfaces: Surfaces) -> Workspace:
    fit(workspace, "brushed", sorted(surfaces.train.iterdir()), make_fit_settings(image_size=64))
    add_defects(workspace, "brushed", sorted(surfaces.scratched.iterdir())[:6], label="scratch")
    return workspace


def test_likeness_raises_scores_is_explained_and_undone_to_the_bit(
    with_book: Workspace, images: list[Path]
) -> None:
    live = Inspector(with_book, "brushed")
    before = [live.inspect(image) for image in images]
    assert before[0].to_json()["likeness"] is None
    assert before[0].likeness_in_words == ""

    report = use_likeness(with_book, "brushed")
    assert (report.bank_version, report.version_before, report.on) == (2, 1, True)
    assert report.labels == {"scratch": 6}
    after = [live.inspect(image) for image in images]
    for was, now in zip(before, after, strict=True):
        assert now.bank_version == 2
        assert now.score_without_likeness == pytest.approx(was.score, rel=1e-12)
        document = now.to_json()
        jsonschema.validate(document, SCHEMA)
        assert document["likeness"]["added"] == now.added
    scratched = after[0]
    assert scratched.added > 0
    assert scratched.likeness is not None
    assert scratched.likeness.label == "scratch"
    assert "by likeness to scratch" in scratched.summary
    lowered = [inspection for inspection in after[2:] if inspection.added < 0]
    assert lowered
    assert all(found.likeness and found.likeness.label is None for found in lowered)
    assert lowered[0].likeness_in_words.startswith("lowered by")
    # The thresholds are by the scores of references with what likeness adds to them.
    stored = with_book.database.banks.active("brushed").content
    assert stored.scores.added.any()
    likeness = likeness_of(stored)
    assert likeness is not None
    assert likeness.addition(np.zeros((1, likeness.weights.shape[1]))).shape == (1,)

    assert undo(with_book, "brushed").same_as == 1
    again = [live.inspect(image) for image in images]
    assert [item.score for item in again] == [item.score for item in before]
    assert [item.p_value for item in again] == [item.p_value for item in before]
    assert again[0].to_json()["likeness"] is None
    undo(with_book, "brushed", 2)
    restored = Inspector(with_book, "brushed")
    assert [restored.inspect(image).score for image in images] == [item.score for item in after]
    causes = [item["cause"] for item in history(with_book, "brushed")]
    assert causes == ["undo", "undo", "likeness", "fit"]
    # What an inspection said can be said again, from the version that it names.
    earlier = LiveBank(with_book, "brushed", version=2).ready
    found = earlier.extractor.extract_one(images[0])
    size = found.image.width, found.image.height
    judgement = earlier.judge(found.patches, *size, embedding=found.embedding)
    assert judgement.score == scratched.score


def test_pages_and_heatmaps_say_what_raised_a_score(
    with_book: Workspace, images: list[Path], patchbank: Run, tmp_path: Path
) -> None:
    def inspected(name: str) -> tuple[str, int]:
        pictures, page = tmp_path / f"heat-{name}", tmp_path / f"page-{name}"
        patchbank("inspect", "brushed", images[0], "--heatmaps", pictures, "--report", page)
        (picture,) = pictures.glob("*.png")
        with Image.open(picture) as opened:
            return (page / "index.html").read_text(), opened.height

    page_before, height_before = inspected("before")
    use_likeness(with_book, "brushed")
    page, height = inspected("after")
    assert "by likeness to scratch; without it" in page
    assert "likeness" not in page_before
    # A line of its own: in the heading it would be cut off.
    assert height > height_before


def test_every_way_to_judge_uses_the_same_score(with_book: Workspace, images: list[Path]) -> None:
    use_likeness(with_book, "brushed")
    in_memory = Inspector(with_book, "brushed").inspect(images[0])
    in_database = Inspector(with_book, "brushed", in_database=True).inspect(images[0])
    assert in_database.score == pytest.approx(in_memory.score, rel=1e-5)
    held = add(with_book, "brushed", [images[0]])
    assert held.held[0].score == pytest.approx(in_memory.score, rel=1e-6)


def test_an_addition_keeps_likeness_and_its_withdrawal_restores_the_scores(
    with_book: Workspace, images: list[Path]
) -> None:
    use_likeness(with_book, "brushed")
    before = with_book.database.banks.active("brushed").content
    live = Inspector(with_book, "brushed")
    was = [live.inspect(image).score for image in images]
    add(with_book, "brushed", images[4:], force=True)
    changed = with_book.database.banks.active("brushed").content
    assert changed.likeness == before.likeness
    # The new image was not among those that the weights were fitted to: they apply to it.
    assert changed.scores.added[-1] != 0
    known = np.flatnonzero(before.scores.image >= 0)
    np.testing.assert_array_equal(changed.scores.added[known], before.scores.added[known])
    withdraw(with_book, "brushed", [str(image) for image in images[4:]])
    assert [live.inspect(image).score for image in images] == was
    after = with_book.database.banks.active("brushed").content
    np.testing.assert_array_equal(after.scores.added, before.scores.added)


def test_an_exported_bank_keeps_likeness(
    with_book: Workspace, images: list[Path], tmp_path: Path
) -> None:
    use_likeness(with_book, "brushed")
    file = tmp_path / "brushed.patchbank"
    export_bank(with_book, "brushed", file)
    import_bank_file(with_book, file, category="copy")
    wanted = Inspector(with_book, "brushed").inspect(images[0])
    found = Inspector(with_book, "copy").inspect(images[0])
    assert (found.score, found.p_value) == (wanted.score, wanted.p_value)
    assert found.added == wanted.added


def _pictures(folder: Path, parts: range, of_each: int) -> list[Path]:
    """Write pictures of parts that differ by noise alone."""
    folder.mkdir()
    random = np.random.default_rng(parts.start)
    paths = []
    for part in parts:
        for picture in range(of_each):
            noisy = brushed(part) + random.integers(-2, 3, (96, 96, 1))
            paths.append(folder / f"part{part}_{picture}.png")
            Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(paths[-1])
    return paths


@pytest.mark.parametrize("rule", [r"(part\d+)_", None])
def test_pictures_of_a_part_are_left_out_together(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path, rule: str | None
) -> None:
    paths = _pictures(tmp_path / "train", range(200, 224), 2)
    settings = make_fit_settings(image_size=64)
    fit(workspace, "brushed", paths[1:], settings, group_by=rule)
    add_defects(workspace, "brushed", sorted(surfaces.scratched.iterdir())[:6], label="scratch")
    use_likeness(workspace, "brushed")
    scores = workspace.database.banks.active("brushed").content.scores
    assert len(np.unique(scores.group[scores.group >= 0])) == 23

    # A picture that comes later gets no less than the other one of its part.
    add(workspace, "brushed", paths[:1], force=True)
    now = workspace.database.banks.active("brushed").content
    names = [image.name for image in now.images]
    added = dict(zip((names[image] for image in now.scores.image), now.scores.added, strict=True))
    assert added[str(paths[0])] >= added[str(paths[1])] != 0

    # Each alone: the other picture of its part is in the fit.
    fit(workspace, "brushed", paths[1:], settings, group_by="image")
    use_likeness(workspace, "brushed")
    alone = workspace.database.banks.active("brushed").content.scores
    paired = scores.group >= 0
    higher = (scores.score + scores.added)[paired] > (alone.score + alone.added)[paired]
    assert higher.mean() > 0.9


def test_likeness_needs_independent_references(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    paths = _pictures(tmp_path / "train", range(200, 212), 2)
    fit(workspace, "brushed", paths, make_fit_settings(image_size=64))
    add_defects(workspace, "brushed", sorted(surfaces.scratched.iterdir())[:6], label="scratch")
    with pytest.raises(ParameterError, match="needs 20 independent references at least"):
        use_likeness(workspace, "brushed")
    assert workspace.database.banks.active_version("brushed") == 1


def test_what_cannot_be_used_is_said_and_nothing_is_changed(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    fit(workspace, "brushed", sorted(surfaces.train.iterdir()), make_fit_settings(image_size=64))
    with pytest.raises(ParameterError, match="off already"):
        use_likeness(workspace, "brushed", on=False)
    add_defects(workspace, "brushed", sorted(surfaces.scratched.iterdir())[:4], label="scratch")
    with pytest.raises(ParameterError, match="needs 5 recorded defects at least, and 4"):
        use_likeness(workspace, "brushed")
    assert workspace.database.banks.active_version("brushed") == 1


def test_the_command_switches_on_and_off(with_book: Workspace, patchbank: Run) -> None:
    result = patchbank("defects", "use", "brushed", "on", "--json")
    assert result.code == 0, result.err
    document = result.document
    assert (document["on"], document["defects"]) == (True, 6)
    shown = patchbank("show", "brushed", "--json").document
    assert (shown["likeness"]["defects"], shown["likeness"]["labels"]) == (6, ["scratch"])
    assert shown["history"][0]["likeness"] == {"on": True, "defects": 6}
    assert shown["history"][1]["likeness"] is None
    assert "patches; on, to 6 recorded defects" in patchbank("history", "brushed").out
    assert "likeness\n  defects" in patchbank("show", "brushed").out
    result = patchbank("defects", "use", "brushed", "off")
    assert "version 3: scores are by the bank alone" in result.out
    assert patchbank("show", "brushed", "--json").document["likeness"] is None
    assert "patches; off" in patchbank("history", "brushed").out
    result = patchbank("defects", "use", "brushed", "off")
    assert result.code != 0
    assert "off already" in result.err
