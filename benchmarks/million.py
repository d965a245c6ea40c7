"""A million recorded inspections: what an insert, a page of the list and the retention take.

They are of four categories and six months, a twentieth of them failed, one in 50,000 to review,
each with a part and one of three stations; one station was used for a single day, long ago. A
person answered all that did not pass, but for those of the last two weeks.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.inspections import small_bank
from benchmarks.timing import load, spread
from patchbank.store.database import Database, open_database
from patchbank.store.inspection_images import ImageContent
from patchbank.store.inspections import InspectionRecord, Receipt, Selection
from patchbank.store.retention import InspectionRetention, RetainedInspections

INSPECTIONS, CATEGORIES, MONTHS = 1_000_000, 4, 6
ROUNDS, PAGE, BATCH = 100, 50, 16
IMAGES, IMAGE_BYTES = 500, 100_000

_FILL = """
insert into inspection (
    category_id, version, image_name, sha256, verdict, score, pass_below, fail_above, p_value,
    regions, similar_images, timings_ms, inspected_at, part, station, brightness, sharpness,
    grid_rows, grid_columns, outside, width, height, calibration_images, independent_references,
    actor
)
select
    1 + number %% %(categories)s, 1, 'line-1/' || number || '.png', sha256(number::text::bytea),
    case
        when number / %(categories)s %% 50000 = 11 then 'review'
        when number / %(categories)s %% 20 = 7 then 'fail'
        else 'pass'
    end,
    1 + number %% 1000 / 1000.0, 2, 2, 0.5,
    case when number / %(categories)s %% 20 = 7
        then '[{"box_xyxy": [10, 20, 30, 40], "area_pixels": 400, "area_percent": 0.8,
            "peak_score": 3.5, "peak_xy": [14, 22]}]'
        else '[]'
    end::jsonb,
    nearest.images,
    '{"decode": 1.2, "network": 12.5, "search": 3.1, "similar": 0.4, "map": 0.9, "total": 18.1}',
    now() - (number * %(step)s) * interval '1 second', 'SN-' || number / 3,
    case
        when number between 700000 and 705000 then 'line-3' else 'line-' || 1 + number / 8 %% 2
    end,
    118.5, 0.12, 28, 28, decode(repeat('00', 98), 'hex'), 300, 300, 200, 200,
    'camera 1'
from generate_series(1, %(count)s) as number, (
    select jsonb_agg(jsonb_build_object(
        'image', 'good/' || rank || '.png', 'similarity', 1 - rank / 100.0, 'itself', false
    )) as images
    from generate_series(1, 10) as rank
) as nearest
"""
_REVIEW = """
with answered as (
    update inspection set reviewed = true
    where verdict <> 'pass' and inspected_at < now() - interval '14 days'
    returning category_id, inspection_id
)
insert into review (category_id, inspection_id, answer, actor, pending)
select category_id, inspection_id, 'skip', 'inspector', false from answered
"""
_SIZES = """
select
    (select sum(pg_total_relation_size(inhrelid)) from pg_inherits
     where inhparent = 'inspection'::regclass),
    (select sum(pg_indexes_size(inhrelid)) from pg_inherits
     where inhparent = 'inspection'::regclass),
    (select sum(pg_total_relation_size(inhrelid)) from pg_inherits
     where inhparent = 'inspection_image'::regclass)
"""


def main() -> dict[str, Any]:
    """Measure, print, and return the figures in milliseconds."""
    print(f"load {load()}")
    with tempfile.TemporaryDirectory() as folder, open_database(None, Path(folder)) as database:
        figures: dict[str, Any] = {"inspections": INSPECTIONS, "seconds to fill": _fill(database)}
        rows, indexes, _ = _sizes(database)
        figures["bytes per inspection"] = round(rows / INSPECTIONS)
        figures["of these in indexes"] = round(indexes / INSPECTIONS)
        figures |= _pages(database)
        figures |= _inserts(database)
        figures |= _retention(database)
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    return figures


def _fill(database: Database) -> float:
    for number in range(CATEGORIES):
        database.banks.save(f"part {number}", small_bank())
    start = time.perf_counter()
    now = datetime.now(UTC)
    with database.connection(long=True) as connection:
        for back in range(MONTHS):
            month = now.replace(tzinfo=None) - timedelta(days=30.4 * back)
            connection.execute("select make_inspection_month(date_trunc('month', %s))", [month])
        step = (MONTHS - 0.5) * 30.4 * 86_400 / INSPECTIONS
        parameters = {"categories": CATEGORIES, "count": INSPECTIONS, "step": step}
        connection.execute(_FILL.encode(), parameters)
        connection.execute(_REVIEW)
    with database.statement(long=True) as connection:
        # As the server does by itself in the course of months.
        connection.execute("vacuum analyze patchbank.inspection")
        connection.execute("vacuum analyze patchbank.review")
    return round(time.perf_counter() - start, 1)


def _pages(database: Database) -> dict[str, Any]:
    category, page = "part 1", database.inspections.page
    now = datetime.now(UTC)
    selections = {
        "the newest 50": Selection(limit=PAGE),
        "the newest 50 that failed": Selection(limit=PAGE, verdicts=("fail",)),
        "the newest 50 that did not pass": Selection(limit=PAGE, verdicts=("review", "fail")),
        "all to review": Selection(limit=PAGE, verdicts=("review",)),
        "a part": Selection(limit=PAGE, part="SN-250000"),
        "a part that there is not": Selection(limit=PAGE, part="SN-x"),
        "a station": Selection(limit=PAGE, station="line-1"),
        "a station of months ago": Selection(limit=PAGE, station="line-3"),
        "of that one, those that failed": Selection(
            limit=PAGE, station="line-3", verdicts=("fail",)
        ),
        "50 of three months ago": Selection(limit=PAGE, until=now - timedelta(days=91)),
        "the newest 50 since yesterday that failed": Selection(
            limit=PAGE, since=now - timedelta(days=1), verdicts=("fail",)
        ),
        "the newest 50 that were reviewed": Selection(limit=PAGE, reviewed=True),
        "the newest 50 that wait for review": Selection(
            limit=PAGE, verdicts=("review", "fail"), reviewed=False
        ),
        "one by its number": Selection(limit=PAGE, inspection_id=INSPECTIONS // 2 + 1),
    }
    figures: dict[str, Any] = {}
    for name, selection in selections.items():
        found = page(category, selection)
        figures[f"page: {name} ({len(found)} rows)"] = _timed(partial(page, category, selection))
    figures["list: the newest 50, with their counts"] = _timed(lambda: _listed(database, category))
    before: Receipt | None = None
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        found = page(category, Selection(limit=PAGE, before=before))
        taken.append(1e3 * (time.perf_counter() - start))
        assert found[-1].inspection_id is not None
        assert found[-1].inspected_at is not None
        before = Receipt(found[-1].inspection_id, found[-1].inspected_at)
    figures[f"page: {ROUNDS} pages one after another, each"] = spread(taken)
    return figures


def _listed(database: Database, category: str) -> int:
    with database.inspections.selected(category, Selection(limit=PAGE)) as found:
        return len(list(found.brief()))


def _inserts(database: Database) -> dict[str, Any]:
    record_many = database.inspections.record_many
    image = ImageContent("file", os.urandom(IMAGE_BYTES))

    def inspections(count: int) -> list[InspectionRecord]:
        newest = database.inspections.page("part 1", Selection(limit=count))
        return [
            InspectionRecord(**{**vars(record), "inspection_id": None, "inspected_at": None})
            for record in newest
        ]

    single, many = inspections(1), inspections(BATCH)
    figures: dict[str, Any] = {
        "insert: one": _timed(lambda: record_many(single)),
        f"insert: one of {BATCH}": _timed(lambda: record_many(many), BATCH),
    }
    _, _, before = _sizes(database)
    figures["insert: one with an image of 100 kB"] = _timed(
        lambda: record_many(single, lambda: [(0, image)]), rounds=IMAGES
    )
    _, _, after = _sizes(database)
    figures["bytes per image beyond its own"] = round((after - before) / IMAGES - IMAGE_BYTES)
    return figures


def _retention(database: Database) -> dict[str, Any]:
    retained = RetainedInspections(database, InspectionRetention(days=30.4 * (MONTHS - 2)))
    start = time.perf_counter()
    plan = retained.plan()
    figures: dict[str, Any] = {
        "retention: find what goes": round(1e3 * (time.perf_counter() - start), 2)
    }
    for month in plan.months:
        only = type(plan)((month,), None, 0, 0)
        start = time.perf_counter()
        retained.remove(only)
        figures[f"retention: a month of {month.inspections:,}"] = round(
            1e3 * (time.perf_counter() - start), 1
        )
    if plan.before is not None:
        start = time.perf_counter()
        retained.remove(type(plan)((), plan.before, plan.inspections, 0))
        taken = 1e3 * (time.perf_counter() - start)
        figures[f"retention: each of {plan.inspections:,} in the month of the limit"] = round(
            taken / plan.inspections, 4
        )
    return figures


def _timed(act: Callable[[], object], count: int = 1, rounds: int = ROUNDS) -> dict[str, float]:
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        act()
        taken.append(1e3 * (time.perf_counter() - start) / count)
    return spread(taken)


def _sizes(database: Database) -> tuple[int, int, int]:
    with database.connection() as connection:
        row = connection.execute(_SIZES).fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), int(row[2])


if __name__ == "__main__":
    main()
