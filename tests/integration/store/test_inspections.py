from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from patchbank.errors import BankGoneError, UnknownCategoryError
from patchbank.store import categories
from patchbank.store.bank_key import BankKey
from patchbank.store.categories import RemovedRows
from patchbank.store.database import Database
from patchbank.store.inspections import InspectionRecord
from tests.fixtures.banks import make_bank


def _inspection(key: BankKey, name: str, **changes: Any) -> InspectionRecord:
    fields: dict[str, Any] = {
        "category_id": key[0],
        "bank_version": key.version,
        "image_name": name,
        "sha256": hashlib.sha256(name.encode()).hexdigest(),
        "verdict": "pass",
        "score": 1.5,
        "pass_below": 2.25,
        "fail_above": 2.5,
        "p_value": 0.25,
        "regions": [{"bounding_box": [1, 2, 3, 4], "peak": 1.0}],
        "similar": [{"image": "good/001.png", "similarity": 0.5}],
        "timings_ms": {"network": 2.5},
    }
    return InspectionRecord(**(fields | changes))


def test_inspections_are_kept_as_they_were(database: Database) -> None:
    key = _saved(database, "tile")
    new = [
        _inspection(key, "a.png"),
        _inspection(key, "b 'ä'.png", verdict="fail", p_value=None, regions=(), similar=()),
        _inspection(key, "c.png", verdict="review", timings_ms={}),
        _inspection(
            key, "e.png", verdict="fail", part="1", station="2", brightness=118.5, sharpness=0.25,
            grid_rows=2, grid_columns=5, outside=bytes([0b10000001, 0b01000000]), width=40_000,
            height=480, calibration_images=200, independent_references=150, actor="line 2",
            likeness={"added": 0.1, "score_without": 1.4, "label": None},
            similar_defects=[{"name": "d/1.png", "label": "poke", "similarity": 0.75}],
            probable_defect={"label": "poke", "agreeing": 4, "nearest": 5},
            remarks=["has 40000 x 480 pixels", "«ß»"],
        ),
    ]  # fmt: skip
    database.inspections.record_many(new)
    database.inspections.record_many([_inspection(key, "d.png")])
    database.inspections.record_many([])
    recent = database.inspections.recent("tile")
    assert recent[0].image_name == "d.png"
    stored = {inspection.image_name: inspection for inspection in recent}
    assert len(stored) == len(recent) == 5
    for inspection in new:
        found = stored[inspection.image_name]
        assert found.inspection_id is not None
        assert found.inspected_at is not None
        unnumbered = replace(found, inspection_id=None, inspected_at=None)
        assert unnumbered == replace(
            inspection,
            regions=list(inspection.regions),
            similar=list(inspection.similar),
            similar_defects=list(inspection.similar_defects),
            remarks=list(inspection.remarks),
            # Of the bank that judged.
            extractor=dict.fromkeys(("image_size", "center_crop", "scale", "precision"))
            | {"fingerprint": "fingerprint", **make_bank().extractor},
        )
    assert stored["e.png"].share_outside == 0.3
    assert stored["a.png"].share_outside is None
    assert [i.image_name for i in database.inspections.recent("tile", 1)] == ["d.png"]
    assert database.categories.get("tile").inspection_count == 5
    with database.connection() as connection:
        # What says nothing takes no space.
        rows = connection.execute(
            "select image_name from inspection where num_nulls("
            "actor, likeness, similar_defects, probable_defect, remarks) = 0"
        ).fetchall()
    assert rows == [("e.png",)]


def test_many_inspections_are_estimated_not_counted(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = _saved(database, "tile"), _saved(database, "leather")
    database.inspections.record_many([_inspection(key, f"{number}.png") for number in range(300)])
    database.inspections.record_many([_inspection(other, "a.png")])
    counted = database.categories.get("tile")
    assert (counted.inspection_count, counted.inspections_estimated) == (300, False)
    monkeypatch.setattr(categories, "MOST_COUNTED", 40)
    with psycopg.connect(database_url) as connection:
        connection.execute("analyze patchbank.inspection")
    leather, tile = database.categories.list()
    assert tile.inspections_estimated
    assert tile.inspection_count == pytest.approx(300, rel=0.1)
    assert (leather.inspection_count, leather.inspections_estimated) == (1, False)


def test_inspections_of_several_categories_go_in_together(database: Database) -> None:
    tile, leather = (_saved(database, name) for name in ("tile", "leather"))
    database.inspections.record_many([_inspection(tile, "a"), _inspection(leather, "b")])
    assert [i.image_name for i in database.inspections.recent("leather")] == ["b"]


@pytest.mark.parametrize("missing", [(1000, 0), (0, 8)])
def test_all_are_recorded_or_none(database: Database, missing: tuple[int, int]) -> None:
    key = _saved(database, "tile")
    other = BankKey(key.category_id + missing[0], key.generation, key.version + missing[1])
    with pytest.raises(BankGoneError, match="try again"):
        database.inspections.record_many([_inspection(key, "a"), _inspection(other, "b")])
    assert database.inspections.recent("tile") == []


# Learned anew to the same version, and to a lower one.
@pytest.mark.parametrize("versions", [1, 2])
def test_a_bank_learned_anew_does_not_answer_for_the_one_that_judged(
    database: Database, versions: int
) -> None:
    key = [_saved(database, "tile") for _ in range(versions)][-1]
    database.categories.remove("tile")
    database.banks.save("tile", make_bank())
    with pytest.raises(BankGoneError, match="try again"):
        database.inspections.record_many([_inspection(key, "a")])
    assert database.inspections.recent("tile") == []


def test_a_category_is_removed_after_what_is_being_recorded(database: Database) -> None:
    key = _saved(database, "tile")
    with ThreadPoolExecutor(2) as threads, database.connection() as connection:
        _halt_recording(connection)
        recording = threads.submit(database.inspections.record_many, [_inspection(key, "a")])
        _wait_for_waiting(database, 1)
        removing = threads.submit(database.categories.remove, "tile")
        _wait_for_waiting(database, 2)
        connection.commit()
        recording.result()
        assert removing.result().inspections == 1


def test_what_comes_while_its_category_is_being_removed_is_not_recorded(
    database: Database,
) -> None:
    key = _saved(database, "tile")
    with ThreadPoolExecutor(2) as threads, database.connection() as connection:
        # Removing has removed the inspections there were, and waits for this one to go on.
        connection.execute("lock table event in share mode")
        removing = threads.submit(database.categories.remove, "tile")
        _wait_for_waiting(database, 1)
        recording = threads.submit(database.inspections.record_many, [_inspection(key, "a")])
        _wait_for_waiting(database, 2)
        connection.commit()
        assert removing.result().inspections == 0
        with pytest.raises(BankGoneError, match="try again"):
            recording.result()


def test_a_fit_does_not_wait_for_what_is_being_recorded(database: Database) -> None:
    key = _saved(database, "tile")
    with ThreadPoolExecutor(1) as threads, database.connection() as connection:
        _halt_recording(connection)
        recording = threads.submit(database.inspections.record_many, [_inspection(key, "a")])
        _wait_for_waiting(database, 1)
        assert _saved(database, "tile") == (key[0], 2, 2)
        connection.commit()
        recording.result()
    assert [i.bank_version for i in database.inspections.recent("tile")] == [1]


def _saved(database: Database, name: str) -> BankKey:
    """Save a bank and return its key."""
    database.banks.save(name, make_bank())
    return database.banks.active_key(name)


def _halt_recording(connection: psycopg.Connection[Any]) -> None:
    """Let inspections wait, in the midst of being recorded, for this connection's next commit."""
    connection.execute("""
        create function wait() returns trigger language plpgsql as $$
        begin perform pg_advisory_xact_lock(1); return new; end $$;
        create trigger wait after insert on inspection for each row execute function wait();
    """)
    connection.commit()
    connection.execute("begin; select pg_advisory_xact_lock(1)")


def _wait_for_waiting(database: Database, count: int) -> None:
    """Return once that many sessions of this database wait for a lock."""
    deadline = time.monotonic() + 30
    while True:
        with database.connection() as connection:
            row = connection.execute(
                "select count(*) from pg_stat_activity "
                "where datname = current_database() and wait_event_type = 'Lock'"
            ).fetchone()
        if row == (count,):
            return
        assert time.monotonic() < deadline, f"{row} sessions wait, expected {count}"
        time.sleep(0.01)


@pytest.mark.parametrize("changes", [{"verdict": "ok"}, {"sha256": "00"}, {"sha256": "x" * 64}])
def test_an_inspection_checks_itself(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|hexadecimal"):
        _inspection(BankKey(1, 1, 1), "a", **changes)


def test_removing_leaves_nothing_and_touches_no_other(database: Database) -> None:
    tile, leather = (_saved(database, name) for name in ("tile", "leather"))
    database.banks.save("tile", make_bank(patches=40))
    database.inspections.record_many([_inspection(tile, "a"), _inspection(leather, "b")])
    assert [c.name for c in database.categories.list()] == ["leather", "tile"]
    removed = database.categories.remove("tile")
    assert removed == RemovedRows(banks=2, images=12, patches=100, inspections=1, defects=0)
    assert [c.name for c in database.categories.list()] == ["leather"]
    with database.connection() as connection:
        for table, left in (
            ("bank", 1), ("image", 12), ("reference", 12), ("patch", 60), ("inspection", 1),
            # The log stays: three changes of the removed one, and one of the other.
            ("event", 4),
        ):  # fmt: skip
            row = connection.execute(f"select count(*) from {table}".encode()).fetchone()
            assert row == (left,), table
    for attempt in (database.categories.remove, database.categories.get):
        with pytest.raises(UnknownCategoryError, match="patchbank categories"):
            attempt("tile")
    # The name is free again.
    assert database.banks.save("tile", make_bank()) == 1


def test_a_category_shows_its_active_bank(database: Database) -> None:
    with database.connection() as connection:
        connection.execute("insert into category (name) values ('tile')")
    empty = database.categories.get("tile")
    assert (empty.name, empty.bank_version, empty.fitted_at) == ("tile", None, None)
    database.banks.save("tile", make_bank())
    database.banks.save("tile", make_bank(patches=44, image_count=3))
    category = database.categories.get("tile")
    assert (category.bank_version, category.patch_count, category.image_count) == (2, 44, 3)
