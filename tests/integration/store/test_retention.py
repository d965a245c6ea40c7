"""Old inspections go with their images: whole months, and days of the month that is not over."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import psycopg
import pytest

from patchbank.errors import DatabaseError
from patchbank.inspection.keeping.audit import verify_log
from patchbank.inspection.workspace import Workspace
from patchbank.store import retention
from patchbank.store.database import Database, open_database
from patchbank.store.inspections import InspectionRecord
from patchbank.store.retention import InspectionRetention, RetainedInspections
from tests.fixtures.banks import make_bank
from tests.fixtures.commands import in_this_process
from tests.fixtures.database import as_role

NOW = datetime.now(UTC)
# A moment of each of the last months, the current one first.
MONTHS = [
    (NOW.replace(day=1, hour=12) - timedelta(days=30.5 * back)).replace(day=15) for back in range(5)
]

_COUNTS = """
select to_char(inspected_at at time zone 'utc', 'YYYY-MM'), count(*) from patchbank.inspection
group by 1
"""
_IMAGES = _COUNTS.replace("inspection\ngroup", "inspection_image\ngroup")
_INSERT = """
insert into patchbank.inspection (
    category_id, version, image_name, sha256, verdict, score, fail_above, regions, similar_images,
    timings_ms, inspected_at
)
select category_id, 1, number || '.png', sha256('x'), 'pass', 1, 2, '[]', '[]', '{}', %s
from patchbank.category, generate_series(1, %s) as number
"""
_WITH_IMAGES = """
insert into patchbank.inspection_image
select category_id, inspection_id, inspected_at, 'file',
    decode(repeat(md5(random()::text), 500), 'hex')
from patchbank.inspection
"""


def _fill(database: Database, url: str, moments: list[datetime], count: int = 20) -> None:
    for name in ("tile", "leather"):
        database.banks.save(name, make_bank())
    with psycopg.connect(url) as connection:
        connection.execute("set search_path to patchbank")
        for moment in moments:
            connection.execute(
                "select make_inspection_month(date_trunc('month', %s at time zone 'utc'))", [moment]
            )
            connection.execute(_INSERT, [moment, count])
        connection.execute(_WITH_IMAGES)


def _counts(url: str, statement: str = _COUNTS) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute(statement.encode()).fetchall())


def _partitions(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select relname from pg_class where relkind = 'r' and relname ~ '^inspection_.*\\d$'"
        ).fetchall()
    return {name for (name,) in rows}


def test_whole_months_are_dropped_and_days_of_the_others_deleted(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    first = NOW.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    edge = (NOW - timedelta(days=45)).replace(hour=0, minute=0, second=0, microsecond=0)
    moments = [MONTHS[4], MONTHS[3], edge - timedelta(seconds=1), edge, first]
    _fill(database, database_url, moments)
    # In the default partition too.
    with psycopg.connect(database_url) as connection:
        connection.execute(_INSERT, [datetime(2001, 1, 1, tzinfo=UTC), 1])
    before = _partitions(database_url)
    retained = RetainedInspections(database, InspectionRetention(days=45))
    plan = retained.plan()
    assert not plan.empty
    assert _counts(database_url)  # a plan removes nothing
    kept = [moment for moment in moments if moment >= edge]
    assert sum(month.inspections for month in plan.months) + plan.inspections >= 40 * 3
    retained.remove(plan)
    retained.remove(retained.plan())
    expected: dict[str, int] = {}
    for moment in kept:
        expected[f"{moment:%Y-%m}"] = expected.get(f"{moment:%Y-%m}", 0) + 40
    assert _counts(database_url) == _counts(database_url, _IMAGES) == expected
    gone = before - _partitions(database_url)
    assert {f"inspection_{MONTHS[4]:%Y_%m}", f"inspection_image_{MONTHS[4]:%Y_%m}"} <= gone
    assert retained.plan().empty
    with Workspace(home=tmp_path, database_url=database_url) as workspace:
        assert verify_log(workspace).passed
        with workspace.database.events.opened("tile") as log:
            events = list(log.events(log.categories[0].category_id))
    removed = [event.detail for event in events if event.kind == "remove inspections"]
    assert sum(detail["inspections"] for detail in removed) == 20 * 3 + 1
    assert {"month": f"{MONTHS[4]:%Y-%m}", "inspections": 20} in removed


def test_bytes_remove_the_oldest_months_first(database: Database, database_url: str) -> None:
    _fill(database, database_url, [MONTHS[3], MONTHS[2], MONTHS[1]], count=200)
    everything = RetainedInspections(database, InspectionRetention(bytes=10**12)).plan()
    assert everything.empty
    retained = RetainedInspections(
        database, InspectionRetention(bytes=everything.size_bytes - 100_000)
    )
    plan = retained.plan()
    assert [month.first.month for month in plan.months] == [MONTHS[3].month]
    assert (plan.months[0].inspections, plan.before) == (400, None)
    retained.remove(plan)
    assert set(_counts(database_url)) == {f"{moment:%Y-%m}" for moment in MONTHS[1:3]}
    assert retained.plan().size_bytes == everything.size_bytes - plan.months[0].size_bytes


def test_bytes_keep_the_newest_hours_of_this_month(database: Database, database_url: str) -> None:
    hours = [NOW - timedelta(hours=back) for back in range(3)]
    if hours[-1].month != NOW.month:
        pytest.skip("the month has just begun")
    _fill(database, database_url, hours, count=200)
    # An image is of 8,000 bytes.
    retained = RetainedInspections(database, InspectionRetention(bytes=9_500 * 400 * 2))
    plan = retained.plan()
    assert plan.months == ()
    assert plan.inspections == 400
    retained.remove(plan)
    assert sum(_counts(database_url).values()) == 800
    # Deleting does not shrink what is on the disk, and is not to remove more and more.
    assert retained.plan().empty


def test_who_records_removes_what_is_too_old(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    _fill(database, database_url, [MONTHS[3]])
    limits = InspectionRetention(days=30)
    with open_database(database_url, tmp_path, inspection_retention=limits) as recording:
        key = recording.banks.active_key("tile")
        inspection = InspectionRecord(key.category_id, 1, "a", "0" * 64, "pass", 1.0, 2.0, 2.0)
        recording.inspections.record_many([inspection])
        deadline = time.monotonic() + 30
        while f"{MONTHS[3]:%Y-%m}" in _counts(database_url):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert _counts(database_url) == {f"{NOW:%Y-%m}": 1}


def test_a_role_that_only_records_removes_nothing(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    _fill(database, database_url, [MONTHS[3]])
    role = f"recorder_{secrets.token_hex(4)}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            f"create role {role}; grant usage on schema patchbank to {role};"
            f"grant select on all tables in schema patchbank to {role};"
            f"grant insert on patchbank.inspection, patchbank.outbox to {role}".encode()
        )
        try:
            with open_database(
                as_role(database_url, role),
                tmp_path,
                inspection_retention=InspectionRetention(days=30),
            ) as limited:
                key = limited.banks.active_key("tile")
                limited.inspections.record_many(
                    [InspectionRecord(key.category_id, 1, "a", "0" * 64, "pass", 1.0, 2.0, 2.0)]
                )
                retained = limited.inspections.retained
                with pytest.raises(DatabaseError, match="use the role that owns the tables"):
                    retained.remove(retained.plan())
        finally:
            connection.execute(f"drop owned by {role}; drop role {role}".encode())
    assert sum(_counts(database_url).values()) == 41


def test_a_reader_in_the_way_delays_the_removal_and_no_recorder(
    database: Database, database_url: str
) -> None:
    _fill(database, database_url, [MONTHS[3]])
    retained = RetainedInspections(database, InspectionRetention(days=30))
    plan = retained.plan()
    key = database.banks.active_key("tile")
    inspection = InspectionRecord(key.category_id, 1, "a", "0" * 64, "pass", 1.0, 2.0, 2.0)
    with psycopg.connect(database_url) as reader:
        reader.execute("select count(*) from patchbank.inspection")
        with pytest.raises(DatabaseError, match="cannot be removed while other sessions use"):
            retained.remove(plan, attempts=1)
        start = time.monotonic()
        database.inspections.record_many([inspection])
        assert time.monotonic() - start < 2
    assert _counts(database_url)[f"{MONTHS[3]:%Y-%m}"] == 40
    retained.remove(plan)
    assert f"{MONTHS[3]:%Y-%m}" not in _counts(database_url)


def test_the_command_says_what_it_would_remove_and_removes_it(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(database, database_url, [MONTHS[3]])
    patchbank = in_this_process(database_url, tmp_path, monkeypatch)
    refused = patchbank("database", "prune")
    assert refused.code == 2
    assert "all inspections are kept; set PATCHBANK_KEEP_INSPECTIONS_DAYS" in refused.complaint
    monkeypatch.setenv("PATCHBANK_KEEP_INSPECTIONS_DAYS", "30")
    month = f"{MONTHS[3]:%Y-%m}"
    shown = patchbank("database", "prune", "--dry-run")
    assert shown.out.startswith(f"would remove 40 inspections of {month}, ")
    assert month in _counts(database_url)
    document = patchbank("database", "prune", "--json").document
    assert document["removed"]
    assert [(one["month"], one["inspections"]) for one in document["months"]] == [(month, 40)]
    assert month not in _counts(database_url)
    assert patchbank("database", "prune").out.startswith("nothing to remove; inspections take ")
    monkeypatch.setenv("PATCHBANK_KEEP_INSPECTIONS_BYTES", "much")
    assert "PATCHBANK_KEEP_INSPECTIONS_BYTES is 'much'" in patchbank("database", "prune").complaint


def test_the_clock_of_a_station_that_is_years_ahead_removes_nothing(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(database, database_url, [NOW - timedelta(days=2)])

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Ahead:
            return cls.fromtimestamp(NOW.timestamp() + 10 * 365 * 86_400, tz)

    monkeypatch.setattr(retention, "datetime", Ahead)
    assert RetainedInspections(database, InspectionRetention(days=45)).plan().empty
