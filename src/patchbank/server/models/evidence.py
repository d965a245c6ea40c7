"""What the routes of defects, searches and spots answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from patchbank.inspection.judging.search_results import Among
from patchbank.server.models import Model
from patchbank.store.hnsw_index import Metric


class DefectBox(Model):
    """Where a defect is."""

    box_xyxy: list[int] = Field(
        min_length=4, max_length=4, description="x0, y0, x1, y1 in pixels; x1 and y1 excluded."
    )


class Defect(Model):
    """A recorded defect."""

    defect_id: int
    name: str
    label: str | None
    synthetic: bool = Field(description="Whether it was generated.")
    width: int
    height: int
    origin: str | None = Field(description="Its file on the machine where it was recorded.")
    added_at: datetime
    comparable: bool = Field(description="Whether the active bank can compare images with it.")
    regions: list[DefectBox]
    thumbnail: str = Field(description="Address of a small picture.")


class DefectPage(Model):
    """Recorded defects, the newest first."""

    items: list[Defect]
    next: int | None = Field(description="The `before` of the next page; null if this is the last.")


class RemovedDefects(Model):
    """Defects that were removed."""

    names: list[str]


class Match(Model):
    """A stored image, patch or defect that was found."""

    name: str
    similarity: float = Field(description="1 - cosine distance, -1 to 1.")
    distance: float = Field(description="Euclidean distance of the same vectors.")
    label: str | None = Field(description="`good`, or a defect's own.")
    synthetic: bool
    itself: bool = Field(description="Whether it is what was searched for.")


class SearchAnswer(Model):
    """What was found."""

    image: str
    category: str
    among: Among
    metric: Metric
    method: str = Field(description="How it was found: by an exact scan or an index.")
    threshold: float | None = Field(description="The similarity that a good image reaches.")
    normal: bool | None = Field(description="Whether a reference reaches it.")
    references: dict[str, Any] | None = Field(
        description="How similar the references are to one another."
    )
    raw: bool
    similar: list[Match]
    remarks: list[str]


class NearestPatch(Model):
    """A patch of the bank."""

    image: str | None = Field(description="The reference that it comes from, if that is known.")
    row: int | None
    column: int | None
    box_xyxy: list[int] | None = Field(description="Where it is in that image, in pixels.")
    distance: float = Field(description="Euclidean distance of the features.")
    similarity: float = Field(description="1 - cosine distance of the features, -1 to 1.")
    thumbnail: str | None = Field(description="Address of a small picture of that image.")


class Spot(Model):
    """A spot of an inspected image, and what in the bank is nearest to it."""

    bank_version: int
    row: int
    column: int
    box_xyxy: list[int] = Field(description="The patch at that spot, in pixels.")
    nearest: list[NearestPatch]


class MappedReference(Model):
    """A reference that patches of a map come from."""

    name: str
    width: int = Field(description="In pixels.")
    height: int
    thumbnail: str = Field(description="Address of a small picture.")


class BankMap(Model):
    """Patches of a bank in the plane; the lists from `x` on have an entry for each."""

    category: str
    bank_version: int
    patches: int = Field(description="How many the bank has; of more than 2,000, so many are here.")
    explained: list[float] = Field(
        min_length=2,
        max_length=2,
        description="Share of the differences between the patches that each axis shows.",
    )
    fail_above: float | None = Field(description="The score above which an image fails.")
    references: list[MappedReference]
    x: list[float] = Field(description="On the first principal component of the features.")
    y: list[float] = Field(description="On the second.")
    distance: list[float | None] = Field(
        description="To the nearest patch of another reference, as an anomaly score; null if "
        "the bank has no other reference."
    )
    reference: list[int | None] = Field(
        description="Where its reference is in `references`; null if it is not known."
    )
    box_xyxy: list[list[int] | None] = Field(
        description="Where it is in that image: x0, y0, x1, y1 in pixels; x1 and y1 excluded."
    )
