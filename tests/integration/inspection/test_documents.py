"""The JSON of `patchbank inspect` is as its schema says, and as the Python objects."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces

SCHEMA = Path(__file__).parents[3] / "docs" / "inspection.schema.json"
SETTINGS = make_fit_settings(image_size=64)


@cache
def validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture
def fitted(database_url: str, graphs_home: Path, surfaces: Surfaces) -> Workspace:
    workspace = Workspace(home=graphs_home, database_url=database_url)
    fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS)
    return workspace


def test_printed_documents_are_valid(
    fitted: Workspace, patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    fitted.close()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    images = (surfaces.good, surfaces.scratched, broken)
    found = [
        *patchbank("inspect", "brushed", *images, "--json", "--heatmaps", tmp_path).documents,
        *patchbank("inspect", "brushed", *images, "--json", "--no-record", "--top", "0").documents,
    ]
    for document in found:
        validator().validate(document)
    kinds = {document.get("verdict", "refused") for document in found}
    assert {"pass", "fail", "refused"} <= kinds
    assert {document.get("recorded") for document in found} == {True, False, None}
    assert any(document.get("regions") for document in found)


@pytest.mark.parametrize(
    "change",
    [
        {"inspection_id": None},
        {"inspected_at": "2026-11-26T14:30:00"},
        {"verdict": "ok"},
        {"regions": [{"box": [0, 0, 1, 1]}]},
        {"sha256": "0"},
    ],
)
def test_the_schema_tells_wrong_documents(
    fitted: Workspace, surfaces: Surfaces, change: dict[str, Any]
) -> None:
    with fitted as workspace:
        found = Inspector(workspace, "brushed").inspect(min(surfaces.good.iterdir()))
    assert validator().is_valid(found.to_json())
    assert not validator().is_valid(found.to_json() | change)


def test_keys_are_names_of_attributes(fitted: Workspace, surfaces: Surfaces) -> None:
    with fitted as workspace:
        found = Inspector(workspace, "brushed").inspect(min(surfaces.scratched.iterdir()))
    document = found.to_json()
    lists = {"regions", "similar", "similar_defects"}
    for key in document.keys() - lists - {"remarks", "timings_ms", "inspected_at"}:
        assert document[key] == getattr(found, key), key
    assert datetime.fromisoformat(document["inspected_at"]) == found.inspected_at
    for name in lists:
        for item, shown in zip(getattr(found, name), document[name], strict=True):
            for key, value in shown.items():
                held = getattr(item, key)
                assert value == pytest.approx(list(held) if isinstance(held, tuple) else held,
                                              abs=1e-4)  # fmt: skip


def test_an_inspection_has_the_number_and_the_time_of_its_record(
    fitted: Workspace, surfaces: Surfaces
) -> None:
    begin = datetime.now(UTC)
    images = sorted(surfaces.good.iterdir())
    with fitted as workspace:
        found = list(Inspector(workspace, "brushed").inspect_many(images * 3))
        unrecorded = Inspector(workspace, "brushed", record=False).inspect(images[0])
        recorded = {
            record.inspection_id: (record.image_name, record.inspected_at)
            for record in workspace.database.inspections.recent("brushed")
        }
    kept = {
        item.inspection_id: (item.image, item.inspected_at)
        for item in found
        if isinstance(item, Inspection)
    }
    assert len(kept) == len(found)
    assert kept == recorded
    assert unrecorded.inspection_id is None
    assert unrecorded.inspected_at - begin < timedelta(minutes=2)
    assert unrecorded.inspected_at.utcoffset() == timedelta(0)


def test_no_similar_images_are_looked_for_if_none_are_wanted(
    fitted: Workspace, surfaces: Surfaces
) -> None:
    with fitted as workspace:
        inspector = Inspector(workspace, "brushed")
        image = min(surfaces.good.iterdir())
        assert inspector.inspect(image, top=0).similar == ()
        assert len(inspector.inspect(image, top=1).similar) == 1
