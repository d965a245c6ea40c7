"""What an answer to an inspection did, and what waits for one, as programs read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from patchbank.inspection.living.add import AddReport
from patchbank.memory.calibration import Thresholds
from patchbank.printable import counted
from patchbank.store.reviews import OpenInspection, StoredReview


@dataclass(frozen=True)
class ReviewReport:
    """What an answer did.

    Attributes
    ----------
    added
        The name of the reference or the defect that the image became; None if it became none.
    bank_version
        The version of the bank that the reference is in from then on.
    pending
        Whether the bank is still to be changed.
    remarks
        What one should know, a line each.
    """

    category: str
    inspection_id: int
    image: str
    answer: str
    label: str | None = None
    added: str | None = None
    bank_version: int | None = None
    pending: bool = False
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {**vars(self), "remarks": list(self.remarks)}


def queue_to_json(category: str, waiting: OpenInspection) -> dict[str, Any]:
    """Return an inspection to review as the JSON object that the command prints."""
    document = vars(waiting).copy()
    del document["category_id"]
    return {
        "inspection_id": document.pop("inspection_id"),
        "inspected_at": document.pop("inspected_at").isoformat(),
        "image": document.pop("image_name"),
        "category": category,
        **document,
    }


def answer_to_json(review: StoredReview) -> dict[str, Any]:
    """Return an answer as a JSON object."""
    document = vars(review).copy()
    version = document.pop("version")
    return {
        **document,
        "reviewed_at": review.reviewed_at.isoformat(),
        "bank_version": version,
    }


def changes_of(report: AddReport) -> str:
    """Return in a line how an addition changed the bank."""

    def limit(thresholds: Thresholds) -> str:
        return f"{thresholds.fail_above:.4g}"

    patches = counted(report.patches, "patch", "patches")
    return (
        f"version {report.bank_version}: {patches} added, limit "
        f"{limit(report.thresholds_before)} before, {limit(report.thresholds)} now"
    )
