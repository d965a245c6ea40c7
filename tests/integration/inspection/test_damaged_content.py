"""Damaged content of the database is reported in a line, or found again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest

from patchbank.datasets.study import read_study
from patchbank.errors import DamagedBankError
from patchbank.inspection.keeping.bank_map import bank_map
from patchbank.inspection.keeping.references import list_references, score_histogram
from patchbank.inspection.measuring.check import check
from patchbank.inspection.workspace import Workspace
from patchbank.memory.labelled import Likeness
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces

FIRST_IMAGE = "where image_id = (select min(image_id) from patchbank.image)"
FIT_AGAIN = "bank 1 of category 'brushed' is damaged: {}; fit the category again"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("patch set feature = '[1,2]' where ordinal = 3", "rows are not of the expected "),
        ("reference set embedding = '[1,2]' where position = 0", "rows are not of the expected "),
        ("bank set embedding_mean = '[1,2]'", "rows are not of the expected "),
        (rf"image set sha256 = '\x00' {FIRST_IMAGE}", "sha256 is '00', expected 64 hexadecimal"),
        (f"image set width = 0 {FIRST_IMAGE}", "size is 0 x 96, expected at least 1 x 1"),
        ("calibration_score set score = 'nan' where position = 0", "calibration scores must be "),
        (rf"image set texture = '\x00' {FIRST_IMAGE}", "a texture has 1 bytes, expected 16384"),
    ],
)
def test_a_damaged_bank_is_named_with_the_damage_and_the_remedy(
    learned: Outcome,
    patchbank: Run,
    surfaces: Surfaces,
    database_url: str,
    damage: str,
    reason: str,
) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute(f"update patchbank.{damage}".encode()).rowcount == 1
    image = min(surfaces.good.iterdir())
    # A texture is needed only where the bank is changed.
    commands = [("add", "brushed", image, "--force"), ("withdraw", "brushed", "000.png")]
    if "texture" not in damage:
        commands += [("inspect", "brushed", image), ("show", "brushed")]
    start, end = FIT_AGAIN.format(f"{reason}#").split("#")
    for command in commands:
        outcome = patchbank(*command)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.complaint.startswith(start)
        assert outcome.complaint.endswith(end)
    again = patchbank("fit", "brushed", surfaces.train, "--image-size", "96")
    assert again.code == 0, again.err
    assert patchbank("inspect", "brushed", image).code in (0, 1)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("settings", "settings - 'image_score'", "its settings name no image_score"),
        ("settings", "'[1]'", "its settings are [1], expected names and values"),
        ("settings", """settings || '{"image_score": "best"}'""", "in its settings, score method"),
        ("settings", """settings || '{"false_alarm_rate": "x"}'""", "in its settings, false_"),
        ("settings", """settings || '{"false_alarm_rate": 7}'""", "in its settings, false-alarm"),
        ("settings", """settings || '{"fail_above": 3}'""", "in its settings, limits: passes"),
        ("extractor", "'[]'", "its extractor are [], expected names and values"),
        ("extractor", """extractor || '{"image_size": -1}'""", "in its extractor, image size"),
    ],
)
def test_settings_that_were_edited_by_hand_are_named(
    learned: Outcome,
    patchbank: Run,
    surfaces: Surfaces,
    database_url: str,
    column: str,
    value: str,
    reason: str,
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(f"update patchbank.bank set {column} = {value}".encode())
    image = min(surfaces.good.iterdir())
    for command in (
        ("inspect", "brushed", image),
        ("add", "brushed", image, "--force"),
        ("threshold", "brushed"),
        ("calibrate", "brushed", surfaces.good),
        ("show", "brushed"),
    ):
        outcome = patchbank(*command)
        if outcome.code == 0 and command[0] in ("show", "threshold"):
            continue  # These do without a score method and an extractor.
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.complaint.startswith(f"bank 1 of category 'brushed' is damaged: {reason}")
        assert outcome.complaint.endswith("; fit the category again")
    again = patchbank("fit", "brushed", surfaces.train, "--image-size", "96")
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("settings", '{"false_alarm_rate": 7}', ("references", "histogram", "map")),
        ("extractor", '{"image_size": -1}', ("map", "check")),
    ],
)
def test_what_shows_a_bank_names_the_damage_too(
    learned: Outcome,
    workspace: Workspace,
    surfaces: Surfaces,
    column: str,
    value: str,
    shown: tuple[str, ...],
) -> None:
    with workspace.database.connection() as connection:
        connection.execute(f"update bank set {column} = {column} || '{value}'".encode())
    show: dict[str, Callable[[], object]] = {
        "references": lambda: list_references(workspace, "brushed", limit=5),
        "histogram": lambda: score_histogram(workspace, "brushed", bins=5, inspections=5),
        "map": lambda: bank_map(workspace, "brushed"),
        "check": lambda: check(workspace, "brushed", read_study(surfaces.good.parent)),
    }
    for name in shown:
        start = f"^bank 1 of category 'brushed' is damaged: in its {column}, "
        with pytest.raises(DamagedBankError, match=start):
            show[name]()


def test_settings_of_a_newer_patchbank_are_named(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("""update patchbank.bank set settings = settings || '{"zoom": 2}'""")
    outcome = patchbank("inspect", "brushed", min(surfaces.good.iterdir()))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint == (
        "bank 1 of category 'brushed' was made by a newer patchbank: it has the setting 'zoom'; "
        "upgrade patchbank, or fit the category again"
    )


def with_nan(content: bytes) -> bytes:
    likeness = Likeness.from_bytes(content)
    return replace(likeness, offsets=likeness.offsets * np.nan).to_bytes()


def with_twice_the_step(content: bytes) -> bytes:
    likeness = Likeness.from_bytes(content)
    return replace(likeness, step=2 * likeness.step).to_bytes()


def with_fewer_weights(content: bytes) -> bytes:
    likeness = Likeness.from_bytes(content)
    return replace(likeness, weights=likeness.weights[:, 1:]).to_bytes()


def test_damaged_weights_of_likeness_are_named_and_can_be_switched_off(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, database_url: str
) -> None:
    image = min(surfaces.good.iterdir())
    before = patchbank("inspect", "brushed", image, "--json").document
    added = patchbank("defects", "add", "brushed", surfaces.scratched, "--label", "scratch")
    assert added.code == 0, added.err
    assert patchbank("defects", "use", "brushed", "on").code == 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("select content from patchbank.likeness").fetchone()
        assert row is not None
        for content, reason in (
            (row[0][:100], "likeness to defects cannot be read: "),
            (b"", "likeness to defects cannot be read: "),
            (with_nan(row[0]), "likeness to defects has weights that do not belong together"),
            (with_fewer_weights(row[0]), "likeness to defects has "),
            (with_twice_the_step(row[0]), "likeness to defects was changed, or is missing"),
            (None, "likeness to defects was changed, or is missing"),
        ):
            if content is None:
                connection.execute("delete from patchbank.likeness")
            else:
                connection.execute("update patchbank.likeness set content = %s", [content])
            for command in (
                ("inspect", "brushed", image),
                ("add", "brushed", image, "--force"),
                ("withdraw", "brushed", "000.png"),
                ("threshold", "brushed", "--recorded-defects"),
                ("defects", "use", "brushed", "on"),
            ):
                outcome = patchbank(*command)
                assert (outcome.code, outcome.out) == (2, "")
                assert outcome.complaint.startswith(
                    f"bank 2 of category 'brushed' is damaged: {reason}"
                )
                assert outcome.complaint.endswith(
                    "; switch likeness off with: patchbank defects use brushed off"
                )
    off = patchbank("defects", "use", "brushed", "off")
    assert off.code == 0, off.err
    after = patchbank("inspect", "brushed", image, "--json").document
    assert (after["score"], after["p_value"]) == (before["score"], before["p_value"])


def test_a_damaged_region_names_its_defect(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, database_url: str
) -> None:
    defects, image = sorted(surfaces.scratched.iterdir())[:2], min(surfaces.good.iterdir())
    assert patchbank("defects", "add", "brushed", *defects, "--label", "scratch").code == 0
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "update patchbank.defect_region set embedding = '[1,2]' where number = 1 "
            "and defect_id = (select min(defect_id) from patchbank.defect)"
        )
    complaint = patchbank("inspect", "brushed", image).complaint
    assert complaint.startswith("the recorded defect ")
    assert " is damaged: a region of it has 2 numbers, expected " in complaint
    _, remedy = complaint.split("record it again after: patchbank ")
    assert patchbank(*remedy.split(" ", 3)).code == 0
    assert patchbank("inspect", "brushed", image).code in (0, 1)


@pytest.mark.parametrize(
    "damaged", ["substr(features, 1, 101)", "decode(repeat('ff', length(features)), 'hex')"]
)
def test_damaged_features_of_a_reference_are_computed_again(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, database_url: str, damaged: str
) -> None:
    image: Path = min(surfaces.good.iterdir())
    wanted = patchbank("add", "brushed", image, "--force", "--json").document
    assert patchbank("undo", "brushed").code == 0
    with psycopg.connect(database_url) as connection:
        update = f"update patchbank.reference_features set features = {damaged}"
        connection.execute(f"{update} where position < 3".encode())
        connection.execute("delete from patchbank.reference_neighbours")
    found = patchbank("add", "brushed", image, "--force", "--json")
    assert found.code == 0, found.err
    for name in ("thresholds", "added"):
        assert found.document[name] == wanted[name]
