from __future__ import annotations

import hashlib
from typing import Any

import pytest

from patchbank.errors import DatabaseError, UnknownCategoryError
from patchbank.store.categories import Forgotten
from patchbank.store.connection import Database
from patchbank.store.inspections import NewInspection
from tests.fixtures.banks import make_bank


def _inspection(name: str, **changes: Any) -> NewInspection:
    fields: dict[str, Any] = {
        "category": "tile",
        "bank_version": 1,
        "image_name": name,
        "sha256": hashlib.sha256(name.encode()).hexdigest(),
        "verdict": "pass",
        "score": 1.5,
        "threshold": 2.5,
        "p_value": 0.25,
        "regions": [{"bounding_box": [1, 2, 3, 4], "peak": 1.0}],
        "similar": [{"image": "good/001.png", "similarity": 0.5}],
        "timings_ms": {"network": 2.5},
    }
    return NewInspection(**(fields | changes))


def test_inspections_are_kept_as_they_were(database: Database) -> None:
    database.banks.save("tile", make_bank())
    new = [
        _inspection("a.png"),
        _inspection("b 'ä'.png", verdict="fail", p_value=None, regions=(), similar=()),
        _inspection("c.png", verdict="review", timings_ms={}),
    ]
    database.inspections.record_many(new)
    database.inspections.record_many([_inspection("d.png")])
    database.inspections.record_many([])
    recent = database.inspections.recent("tile")
    assert recent[0].image_name == "d.png"
    stored = {inspection.image_name: inspection for inspection in recent}
    assert len(stored) == len(recent) == 4
    for inspection in new:
        found = stored[inspection.image_name]
        for name in ("bank_version", "sha256", "verdict", "score", "threshold", "p_value"):
            assert getattr(found, name) == getattr(inspection, name)
        assert found.regions == list(inspection.regions)
        assert found.similar == list(inspection.similar)
        assert found.timings_ms == inspection.timings_ms
    assert [i.image_name for i in database.inspections.recent("tile", 1)] == ["d.png"]
    assert database.categories.get("tile").inspection_count == 4


def test_inspections_of_several_categories_go_in_together(database: Database) -> None:
    for name in ("tile", "leather"):
        database.banks.save(name, make_bank())
    database.inspections.record_many([_inspection("a"), _inspection("b", category="leather")])
    assert [i.image_name for i in database.inspections.recent("leather")] == ["b"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"category": "gone"}, UnknownCategoryError), ({"bank_version": 9}, DatabaseError)],
)
def test_all_are_recorded_or_none(
    database: Database, changes: dict[str, Any], error: type[Exception]
) -> None:
    database.banks.save("tile", make_bank())
    with pytest.raises(error):
        database.inspections.record_many([_inspection("a"), _inspection("b", **changes)])
    assert database.inspections.recent("tile") == []


@pytest.mark.parametrize("changes", [{"verdict": "ok"}, {"sha256": "00"}, {"sha256": "x" * 64}])
def test_an_inspection_checks_itself(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|hexadecimal"):
        _inspection("a", **changes)


def test_forgetting_leaves_nothing_and_touches_no_other(database: Database) -> None:
    for name in ("tile", "leather"):
        database.banks.save(name, make_bank())
    database.banks.save("tile", make_bank(patches=40))
    database.inspections.record_many([_inspection("a"), _inspection("b", category="leather")])
    assert [c.name for c in database.categories.list()] == ["leather", "tile"]
    forgotten = database.categories.forget("tile")
    assert forgotten == Forgotten(banks=2, images=12, patches=100, inspections=1)
    assert [c.name for c in database.categories.list()] == ["leather"]
    with database.connection() as connection:
        for table, left in (
            ("bank", 1), ("image", 12), ("reference", 12), ("patch", 60), ("inspection", 1),
            ("event", 1),
        ):  # fmt: skip
            row = connection.execute(f"select count(*) from {table}".encode()).fetchone()
            assert row == (left,), table
    for attempt in (database.categories.forget, database.categories.get):
        with pytest.raises(UnknownCategoryError, match="patchbank categories"):
            attempt("tile")
    # The name is free again.
    assert database.banks.save("tile", make_bank()) == 1


def test_a_category_shows_its_active_bank(database: Database) -> None:
    empty = database.categories.ensure("tile")
    assert (empty.name, empty.bank_version, empty.fitted_at) == ("tile", None, None)
    assert database.categories.ensure("tile") == empty
    database.banks.save("tile", make_bank())
    database.banks.save("tile", make_bank(patches=44, image_count=3))
    category = database.categories.get("tile")
    assert (category.bank_version, category.patch_count, category.image_count) == (2, 44, 3)
