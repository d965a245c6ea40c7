"""What the routes of recorded inspections answer."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from patchbank.server.models import Model, Verdict
from patchbank.server.models.inspecting import InspectionUrls, Region, Similar

AnswerName = Literal["good", "defect", "skip"]


class Review(Model):
    """What a person answered to an inspection."""

    answer: AnswerName
    label: str | None = Field(description="Of a defect.")
    actor: str = Field(description="Who answered.")
    reviewed_at: datetime


class Recorded(Model):
    """An inspection as it was recorded."""

    inspection_id: int
    inspected_at: datetime
    image: str = Field(description="Name of the image.")
    category: str
    verdict: Verdict
    score: float = Field(description="The anomaly score, in units of feature distance.")
    pass_below: float = Field(description="Up to this score, an image passed.")
    fail_above: float = Field(description="Above this score, an image failed.")
    p_value: float | None = Field(
        description="Share of good images expected to score at least as high."
    )
    regions: list[Region]
    similar: list[Similar]
    bank_version: int = Field(description="The version of the bank that judged.")
    sha256: str
    part: str | None
    station: str | None
    review: Review | None
    image_kept: bool
    timings_ms: dict[str, float]
    urls: InspectionUrls


class InspectionPage(Model):
    """Recorded inspections, newest first."""

    items: list[Recorded]
    next: int | None = Field(description="The `before` of the next page; null if this is the last.")
