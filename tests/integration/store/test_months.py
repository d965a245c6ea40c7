"""The inspections lie in partitions by month, which are there before they are needed."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from patchbank.store.bank_key import BankKey
from patchbank.store.database import Database, open_database, upgrade_database
from patchbank.store.inspections import InspectionRecord
from tests.fixtures.banks import make_bank
from tests.fixtures.database import as_role
from tests.fixtures.older_database import make_older

_PARTITIONS = """
select relname, pg_get_expr(relpartbound, oid) from pg_class
where oid in (
    select inhrelid from pg_inherits where inhparent = 'patchbank.inspection'::regclass
)
order by relname
"""
_WHERE = """
select image_name, relname
from patchbank.inspection join pg_class on pg_class.oid = inspection.tableoid
order by image_name
"""


def _months(count: int) -> list[str]:
    """Return the names of the partitions of this month and those after it."""
    now = datetime.now(UTC)
    numbers = [now.year * 12 + now.month - 1 + ahead for ahead in range(count)]
    return [f"inspection_{number // 12}_{number % 12 + 1:02}" for number in numbers]


def _key(database: Database) -> BankKey:
    database.banks.save("tile", make_bank())
    return database.banks.active_key("tile")


def _record(database: Database, key: BankKey, name: str) -> int:
    inspection = InspectionRecord(
        key.category_id, key.version, name, "0" * 64, "pass", 1.0, 2.0, 2.0
    )
    (receipt,) = database.inspections.record_many([inspection])
    return receipt.inspection_id


def _drop_months(url: str) -> None:
    with psycopg.connect(url) as connection:
        for parent in ("inspection", "inspection_image"):
            for month in _months(3):
                name = month.replace("inspection", parent)
                connection.execute(f"drop table patchbank.{name}".encode())


def test_a_new_database_has_this_month_and_the_next_two(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("set timezone to 'Asia/Tokyo'")
        bounds: dict[str, str] = dict(connection.execute(_PARTITIONS).fetchall())
        assert sorted(bounds) == [*_months(3), "inspection_default"]
        assert bounds["inspection_default"] == "DEFAULT"
        # In UTC, wherever the server is.
        assert "01 09:00:00+09" in bounds[_months(1)[0]]


def test_what_comes_before_its_month_is_made_is_recorded_and_then_moved(
    database: Database, database_url: str
) -> None:
    key = _key(database)
    _drop_months(database_url)
    _record(database, key, "a")
    _record(database, key, "b")
    with psycopg.connect(database_url) as connection:
        # The first made the partitions after it was recorded.
        assert dict(connection.execute(_WHERE).fetchall()) == dict.fromkeys("ab", _months(1)[0])
        row = connection.execute("select count(*) from only patchbank.inspection_default")
        assert row.fetchone() == (0,)
    assert [item.image_name for item in database.inspections.recent("tile")] == ["b", "a"]


def test_a_reader_in_the_way_delays_neither_a_recorder_nor_the_months_for_good(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    key = _key(database)
    _drop_months(database_url)
    with psycopg.connect(database_url) as reader:
        reader.execute("select count(*) from patchbank.inspection")
        start = time.monotonic()
        _record(database, key, "a")
        assert time.monotonic() - start < 2
    with psycopg.connect(database_url) as connection:
        assert connection.execute(_WHERE).fetchall() == [("a", "inspection_default")]
    # Another process, or this one an hour later.
    with open_database(database_url, tmp_path) as other:
        _record(other, key, "b")
    with psycopg.connect(database_url) as connection:
        found: dict[str, str] = dict(connection.execute(_WHERE).fetchall())
    assert found == dict.fromkeys("ab", _months(1)[0])


def test_many_who_begin_a_month_at_once_all_record(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    key = _key(database)
    _drop_months(database_url)

    def record(number: int) -> list[int]:
        with open_database(database_url, tmp_path) as own:
            return [_record(own, key, f"{number}-{count}") for count in range(5)]

    with ThreadPoolExecutor(6) as threads:
        numbers = [one for some in threads.map(record, range(6)) for one in some]
    assert len(set(numbers)) == 30
    assert len(database.inspections.recent("tile")) == 30
    with psycopg.connect(database_url) as connection:
        names = [name for name, _ in connection.execute(_PARTITIONS)]
    assert names == [*_months(3), "inspection_default"]


def test_a_role_that_may_only_record_makes_the_months_too(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    key = _key(database)
    _drop_months(database_url)
    role = f"recorder_{secrets.token_hex(4)}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            f"create role {role}; grant usage on schema patchbank to {role};"
            f"grant select on all tables in schema patchbank to {role};"
            f"grant insert on patchbank.inspection, patchbank.outbox to {role}".encode()
        )
        try:
            with open_database(as_role(database_url, role), tmp_path) as limited:
                _record(limited, key, "a")
            assert connection.execute(_WHERE).fetchall() == [("a", _months(1)[0])]
            connection.execute(f"set role {role}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select patchbank.make_inspection_month('2001-01-01')")
        finally:
            connection.execute(f"reset role; drop owned by {role}; drop role {role}".encode())


def test_recorded_inspections_move_to_their_months_with_numbers_and_grants(
    embedded_database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    with open_database(embedded_database_url, tmp_path) as database:
        database.banks.save("tile", make_bank())
        stored = database.banks.active("tile")
    make_older(empty_database_url, [stored])
    role = f"station_{secrets.token_hex(4)}"
    moments = [datetime(2025, 12, 31, 23, 59, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)]
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(
            f"create role {role}; grant usage on schema patchbank to {role};"
            f"grant select, insert on patchbank.inspection to {role}".encode()
        )
        try:
            for number, moment in enumerate(moments):
                connection.execute(
                    "insert into patchbank.inspection (category_id, version, image_name, sha256,"
                    " verdict, score, threshold, regions, similar_images, timings_ms, inspected_at)"
                    " values (1, 1, %s, sha256('x'), 'pass', 1.5, 2, '[]', '[]', '{}', %s)",
                    [f"{number}.png", moment],
                )
            upgrade_database(empty_database_url, tmp_path, lambda plan: True)
            assert dict(connection.execute(_WHERE).fetchall()) == {
                "0.png": "inspection_2025_12",
                "1.png": "inspection_2026_01",
                "earlier.png": _months(1)[0],
            }
            row = connection.execute(
                "select has_table_privilege(%s, 'patchbank.inspection', 'insert'),"
                " has_table_privilege(%s, 'patchbank.inspection_image', 'insert'),"
                " has_table_privilege(%s, 'patchbank.inspection', 'delete')", [role] * 3
            ).fetchone()  # fmt: skip
            assert row == (True, True, False)
        finally:
            connection.execute(f"drop owned by {role}; drop role {role}".encode())
    with open_database(empty_database_url, tmp_path) as database:
        before = database.inspections.recent("tile")
        assert [item.image_name for item in before] == ["earlier.png", "1.png", "0.png"]
        assert [item.inspection_id for item in before] == [1, 3, 2]
        assert before[1].inspected_at == moments[1]
        # Counted on, not anew.
        assert _record(database, database.banks.active_key("tile"), "new.png") == 4
        assert before[0].inspected_at is not None
        assert before[0].inspected_at > moments[1] + timedelta(days=1)
