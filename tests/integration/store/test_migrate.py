from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import psycopg

from patchbank.store import migrate
from patchbank.store.database import Database
from patchbank.store.embedded.programs import find_programs
from patchbank.store.inspections import InspectionRecord
from tests.fixtures.banks import make_bank

SCHEMA = Path(migrate.__file__).parent / "schema.sql"


def _dump(url: str) -> str:
    """Return the catalog of our schema, as pg_dump writes it."""
    program = find_programs(None, Path()) / "pg_dump"
    done = subprocess.run(
        [program, "--schema-only", "--schema=patchbank", "--no-owner", url],
        capture_output=True,
        text=True,
        check=True,
    )
    # A new key every time.
    return re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.MULTILINE)


def test_the_migrations_sum_to_the_schema(
    embedded_database_url: str, empty_database_url: str
) -> None:
    # On one server: another major version writes the same schema in other words.
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create extension vector")
        connection.execute(SCHEMA.read_bytes())
    migrated = _dump(embedded_database_url)
    for table in ("category", "bank", "image", "reference", "patch", "inspection", "event"):
        assert f"CREATE TABLE patchbank.{table} " in migrated
    for view in ("banks", "images", "patches", "defects"):
        assert f"CREATE VIEW patchbank.{view} " in migrated
    assert migrated == _dump(empty_database_url)


def test_migrations_are_dated_and_in_order() -> None:
    names = list(migrate.migrations())
    assert names == sorted(names)
    for name in names:
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}-\d{2}-[a-z0-9-]+", name)


def test_names_stored_decomposed_become_composed(database_url: str) -> None:
    # As a patchbank of before stored them: one decomposed, one both ways, one twice decomposed.
    names = [
        "Ku\u0308rbis",
        "B\u00fcrste",
        "Bu\u0308rste",
        "a\u0323\u0307",
        "a\u0307\u0323",
        "tile",
    ]
    (migration,) = (
        text for name, text in migrate.migrations().items() if name.endswith("composed-names")
    )
    with psycopg.connect(database_url) as connection:
        connection.execute("set search_path to patchbank")
        for name in names:
            connection.execute("insert into category (name) values (%s)", [name])
        connection.execute(migration)
        rows = connection.execute("select name from category order by category_id").fetchall()
        ids = connection.execute("select category_id from category order by 1").fetchall()
    stored = [name for (name,) in rows]
    assert stored == [
        "K\u00fcrbis", "B\u00fcrste", f"B\u00fcrste ({ids[2][0]})", "\u1ea1\u0307",
        f"\u1ea1\u0307 ({ids[4][0]})", "tile",
    ]  # fmt: skip


def test_boxes_of_recorded_regions_get_their_name(database: Database, database_url: str) -> None:
    (migration,) = (
        text for name, text in migrate.migrations().items() if name.endswith("region-boxes")
    )
    database.banks.save("tile", make_bank())
    key = database.banks.active("tile").key
    now = {"area_pixels": 9, "box_xyxy": [1, 2, 3, 4]}
    before = {"area_pixels": 9, "box": [1, 2, 3, 4]}
    kept: list[list[dict[str, Any]]] = [[before, {"box": [5, 6, 7, 8]}], [], [now]]
    database.inspections.record_many(
        [
            InspectionRecord(
                key.category_id, key.version, f"{number}.png", "0" * 64, "fail", 3.0, 2.0, 2.0,
                regions=regions,
            )
            for number, regions in enumerate(kept)
        ]
    )  # fmt: skip
    with psycopg.connect(database_url) as connection:
        connection.execute("set search_path to patchbank")
        connection.execute(migration)
    found = {item.image_name: item.regions for item in database.inspections.recent("tile")}
    assert found == {"0.png": [now, {"box_xyxy": [5, 6, 7, 8]}], "1.png": [], "2.png": [now]}


def test_inspections_know_whether_they_were_reviewed(database: Database, database_url: str) -> None:
    database.banks.save("tile", make_bank())
    key = database.banks.active("tile").key
    receipts = database.inspections.record_many(
        [
            InspectionRecord(
                key.category_id, key.version, f"{number}.png", "0" * 64, "fail", 3.0, 2.0, 2.0
            )
            for number in range(3)
        ]
    )
    for receipt in receipts[:2]:
        database.reviews.add("tile", receipt.inspection_id, "skip")
    database.reviews.add("tile", receipts[1].inspection_id, "undone")
    database.reviews.add("tile", receipts[2].inspection_id + 1, "skip")
    rows = "select reviewed from inspection order by inspection_id"
    wanted = [(True,), (False,), (False,)]
    (migration,) = (
        text for name, text in migrate.migrations().items() if name.endswith("reviewed-inspections")
    )
    with psycopg.connect(database_url) as connection:
        connection.execute("set search_path to patchbank, public")
        assert connection.execute(rows).fetchall() == wanted
        connection.execute("alter table inspection drop column reviewed")
        connection.execute(migration)
        assert connection.execute(rows).fetchall() == wanted


def test_category_id_leads_every_primary_key(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("""
            select relname, attname
            from pg_constraint
            join pg_class on pg_class.oid = conrelid
            join pg_attribute on attrelid = conrelid and attnum = conkey[1]
            where contype = 'p' and connamespace = 'patchbank'::regnamespace
        """).fetchall()
        tables = connection.execute(
            "select relname from pg_class "
            "where relkind in ('r', 'p') and relnamespace = 'patchbank'::regnamespace"
        ).fetchall()
    leading: dict[str, str] = dict(rows)
    assert leading.keys() == {name for (name,) in tables}
    # Of the whole database: a distributed one has copies of them everywhere.
    for name in ("migration", "access_key", "access_session", "access_use", "sink", "job"):
        assert leading.pop(name) != "category_id"
    assert set(leading.values()) == {"category_id"}
