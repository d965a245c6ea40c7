"""Images that look defective are held back from a bank, and the effect is shown first."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import patchbank
from patchbank.errors import ImageError, NoImagesError, ParameterError
from patchbank.inspection.judging.defects import add_defects
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.change_rate import change_rule
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.living.add import AddReport, add, add_paths
from patchbank.inspection.living.quarantine import dismiss, quarantined
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces

SETTINGS = make_fit_settings(image_size=64)


@pytest.fixture
def bank(workspace: Workspace, surfaces: Surfaces) -> Workspace:
    fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS)
    return workspace


def test_an_image_that_fails_is_held_until_it_is_confirmed(
    bank: Workspace, surfaces: Surfaces
) -> None:
    scratched, good = sorted(surfaces.scratched.iterdir()), sorted(surfaces.good.iterdir())
    content = scratched[1].read_bytes()
    pixels = np.asarray(Image.open(scratched[2]).convert("RGB"))
    report = add(
        bank, "brushed", [scratched[0], content, pixels, good[0]], names=["a", "b", "c", "d"]
    )
    assert [image.name for image in report.added] == ["d"]
    assert [image.name for image in report.held] == ["a", "b", "c"]
    assert "fails, score" in report.held[0].reason
    held = quarantined(bank, "brushed")
    assert [image["name"] for image in held] == ["a", "b", "c"]
    assert [image["origin"] for image in held] == [str(scratched[0]), None, None]
    assert held[0]["held_by"]

    with pytest.raises(ParameterError, match="and --force to confirm"):
        add_paths(bank, "brushed", [], held=True)
    confirmed = add_paths(bank, "brushed", [], held=True, force=True)
    assert [(image.name, image.verdict) for image in confirmed.added] == [
        ("a", "fail"), ("b", "fail"), ("c", "fail"),
    ]  # fmt: skip
    assert quarantined(bank, "brushed") == []
    with bank.database.connection() as connection:
        rows = connection.execute("select kind, detail from event order by event_id").fetchall()
    kinds = [kind for kind, _ in rows]
    assert kinds == ["fit", "add", "hold", "add"]
    assert rows[3][1]["forced"] == ["a", "b", "c"]
    with pytest.raises(NoImagesError, match="no images in quarantine"):
        add_paths(bank, "brushed", [], held=True, force=True)


def test_an_image_like_recorded_defects_is_held_although_it_does_not_fail(
    bank: Workspace, surfaces: Surfaces
) -> None:
    scratched, good = sorted(surfaces.scratched.iterdir()), sorted(surfaces.good.iterdir())
    # All scratches are for review now.
    change_rule(
        bank,
        "brushed",
        lambda rule, _: replace(rule, pass_below=1e-3, fail_above=1e6),
        cause="threshold",
    )
    add_defects(bank, "brushed", scratched[1:], label="scratch")
    add_defects(bank, "brushed", good[1:2], label="dent")
    report = add(bank, "brushed", [scratched[0], good[1]], names=["a", "b"])
    assert (report.added, report.bank_version) == ((), None)
    assert [image.name for image in report.held] == ["a", "b"]
    assert report.held[0].reason.startswith("probably scratch (7 of 7 nearest), score")
    assert report.held[1].reason == "recorded as a defect (dent)"
    confirmed = add(bank, "brushed", [scratched[0]], names=["a"], force=True)
    assert [(image.name, image.verdict) for image in confirmed.added] == [("a", "review")]
    with bank.database.connection() as connection:
        rows = connection.execute("select detail from event where kind = 'add'").fetchall()
    assert [detail["forced"] for (detail,) in rows] == [["a"]]


def test_a_held_image_can_be_dismissed(bank: Workspace, surfaces: Surfaces) -> None:
    scratched = sorted(surfaces.scratched.iterdir())
    add(bank, "brushed", scratched[:2])
    with pytest.raises(ParameterError, match="no image has this name"):
        dismiss(bank, "brushed", ["nobody.png"])
    assert dismiss(bank, "brushed", [str(scratched[0])]) == [scratched[0].as_posix()]
    assert [image["name"] for image in quarantined(bank, "brushed")] == [scratched[1].as_posix()]
    assert bank.database.banks.active_version("brushed") == 1


def test_the_effect_on_recorded_inspections_is_known_before(
    bank: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    scratched = [
        Path(shutil.copy(path, tmp_path / f"{number}.png"))
        for number, path in enumerate(sorted(surfaces.scratched.iterdir())[:4])
    ]
    inspector = Inspector(bank, "brushed")
    failed = [inspector.inspect(path) for path in scratched]
    assert {inspection.verdict for inspection in failed} == {"fail"}
    inspector.inspect(scratched[0])
    # Of this one, only the recorded score is known; that one's image was kept.
    scratched[3].write_bytes(scratched[2].read_bytes())
    scratched[2].unlink()
    with bank.database.connection() as connection:
        connection.execute(
            "delete from inspection_image where inspection_id = %s", [failed[3].inspection_id]
        )

    pictures = tmp_path / "pictures"
    planned = add(
        bank, "brushed", [scratched[0]], force=True, dry_run=True, effect=10, report=pictures
    )
    assert bank.database.banks.active_version("brushed") == 1
    assert planned.bank_version is None
    assert planned.effect is not None
    assert (planned.effect.judged_again, planned.effect.by_score) == (3, 1)
    changes = {change.image: change for change in planned.effect.changes}
    change = changes[scratched[0].as_posix()]
    assert (change.before, change.after) == ("fail", "pass")
    assert change.score == failed[0].score
    assert change.picture is not None
    assert change.picture.is_file()
    # One scratch taught as good lets others pass: that is what the effect is shown for.
    assert len(changes) > 1
    assert f"{len(changes)} from fail to pass" in planned.effect.describe()

    # What was foreseen is what happens.
    asked: list[AddReport] = []

    def agree(report: AddReport) -> bool:
        asked.append(report)
        return True

    done = add(bank, "brushed", [scratched[0]], force=True, effect=10, confirm=agree)
    assert len(asked) == 1
    assert done.bank_version == 2
    for path in scratched[:2]:
        now = inspector.inspect(path)
        expected = changes.get(path.as_posix())
        assert now.verdict == ("fail" if expected is None else expected.after)
        if expected is not None:
            assert now.score == expected.score_after
    refused = add(bank, "brushed", sorted(surfaces.good.iterdir())[:1], confirm=lambda _: False)
    assert refused.bank_version is None
    assert refused.dry_run
    assert bank.database.banks.active_version("brushed") == 2


def test_the_commands_show_what_is_held_and_what_would_change(
    bank: Workspace, surfaces: Surfaces, patchbank: Run, tmp_path: Path
) -> None:
    path = tmp_path / "0.png"
    for number, scratched in enumerate(sorted(surfaces.scratched.iterdir())[:2]):
        shutil.copy(scratched, tmp_path / f"{number}.png")
    patchbank("inspect", "brushed", path)
    held = patchbank("add", "brushed", path, "--report", tmp_path / "held")
    assert held.code == 1
    assert len(list((tmp_path / "held").glob("*.png"))) == 1
    assert f"1 picture in {tmp_path / 'held'}" in held.out
    assert "patchbank quarantine brushed lists them" in held.err
    (listed,) = patchbank("quarantine", "brushed", "--json").documents
    local = datetime.fromisoformat(listed["held_at"]).astimezone()
    assert patchbank("quarantine", "brushed").out.startswith(f"{local:%Y-%m-%d %H:%M:%S}  ")
    nobody = patchbank("quarantine", "brushed", "--dismiss", "nobody")
    assert nobody.complaint.endswith("; patchbank quarantine brushed lists what is held")
    assert listed["name"] == path.as_posix()
    shown = patchbank("add", "brushed", path, "--force", "--dry-run")
    assert "of the last 1 inspection (judged again) 1 gets another verdict" in shown.out
    assert "1 from fail to pass" in shown.out
    assert re.search(r"would add +1 image, \d+ patches", shown.out)
    assert f"forced   {path}: fails, score" in shown.err
    assert re.search(r"calibration +threshold [\d.]+; before: threshold [\d.]+", shown.out)
    assert "version 1, unchanged" in shown.out
    # Nothing is held by what only shows, so that no list of it is named.
    planned = patchbank("add", "brushed", tmp_path / "1.png", "--dry-run")
    assert planned.code == 1
    assert planned.err.startswith(f"to hold  {tmp_path / '1.png'}: ")
    assert "held images are not added; if they show good parts" in planned.err
    assert len(quarantined(bank, "brushed")) == 1
    done = patchbank("add", "brushed", "--held", "--force")
    assert done.code == 0
    assert "brushed, version 2" in done.out
    assert patchbank("quarantine", "brushed").out == ""
    again = patchbank("add", "brushed")
    assert again.code == 2


def test_what_is_confirmed_is_what_was_held(
    bank: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    path = tmp_path / "0.png"
    first, second = sorted(surfaces.scratched.iterdir())[:2]
    shutil.copy(first, path)
    assert add(bank, "brushed", [path]).held
    shutil.copy(second, path)
    remedy = r"quarantine brushed --dismiss \S+/0\.png$"
    with pytest.raises(ImageError, match=rf"0\.png: the file has another content .* {remedy}"):
        add_paths(bank, "brushed", [], held=True, force=True)
    # Held once more, it is there twice under one name; dismissing the name takes out both.
    assert add(bank, "brushed", [path]).held
    assert len(quarantined(bank, "brushed")) == 2
    assert dismiss(bank, "brushed", [str(path)]) == [path.as_posix()] * 2
    assert quarantined(bank, "brushed") == []
    assert add(bank, "brushed", [path]).held
    path.unlink()
    with pytest.raises(ImageError, match=r"0\.png: was held, and cannot be read .* --dismiss"):
        add_paths(bank, "brushed", [], held=True, force=True)
    assert bank.database.banks.active_version("brushed") == 1


def test_what_is_held_is_confirmed_in_python(
    bank: Workspace, surfaces: Surfaces, graphs_home: Path, database_url: str
) -> None:
    pixels = np.asarray(Image.open(sorted(surfaces.scratched.iterdir())[0]).convert("RGB"))
    with patchbank.open("brushed", home=graphs_home, database_url=database_url) as opened:
        assert [image.name for image in opened.add([pixels], names=["array"]).held] == ["array"]
        (added,) = opened.add_held().added
        assert (added.name, added.verdict) == ("array", "fail")
        assert added.confirmed is not None
        assert added.confirmed.startswith("fails, ")
        assert opened.quarantine() == []
        with pytest.raises(NoImagesError, match="no images in quarantine"):
            opened.add_held()
