"""Inspections as the parameters of the statement that records them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from patchbank.store.inspections import InspectionRecord


def parameters_of(inspections: Sequence[InspectionRecord]) -> dict[str, Any]:
    """Return a list of each column's values."""
    return {
        "category_ids": [i.category_id for i in inspections],
        "versions": [i.bank_version for i in inspections],
        "image_names": [i.image_name for i in inspections],
        "sha256s": [bytes.fromhex(i.sha256) for i in inspections],
        "verdicts": [i.verdict for i in inspections],
        "scores": [float(i.score) for i in inspections],
        "pass_below": [float(i.pass_below) for i in inspections],
        "fail_above": [float(i.fail_above) for i in inspections],
        "p_values": [None if i.p_value is None else float(i.p_value) for i in inspections],
        "regions": [Jsonb(list(i.regions)) for i in inspections],
        "similar": [Jsonb(list(i.similar)) for i in inspections],
        "timings": [Jsonb(i.timings_ms) for i in inspections],
        "parts": [i.part for i in inspections],
        "stations": [i.station for i in inspections],
        "brightnesses": [i.brightness for i in inspections],
        "sharpnesses": [i.sharpness for i in inspections],
        "grid_rows": [i.grid_rows for i in inspections],
        "grid_columns": [i.grid_columns for i in inspections],
        "outsides": [i.outside for i in inspections],
        "widths": [i.width for i in inspections],
        "heights": [i.height for i in inspections],
        "calibration_images": [i.calibration_images for i in inspections],
        "independent_references": [i.independent_references for i in inspections],
        "actors": [i.actor for i in inspections],
        "likenesses": [_jsonb(i.likeness) for i in inspections],
        "similar_defects": [_jsonb(list(i.similar_defects)) for i in inspections],
        "probable_defects": [_jsonb(i.probable_defect) for i in inspections],
        "remarks": [_jsonb(list(i.remarks)) for i in inspections],
    }


def _jsonb(value: Any) -> Jsonb | None:
    """Return a value to store; null, which takes no space, for nothing."""
    return Jsonb(value) if value else None
