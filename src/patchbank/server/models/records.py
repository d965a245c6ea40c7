"""What the routes of recorded inspections answer."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from patchbank.server.models import Model, Verdict
from patchbank.server.models.inspecting import (
    InspectionUrls,
    Likeness,
    ProbableDefect,
    Region,
    Similar,
    SimilarDefect,
)

AnswerName = Literal["good", "defect", "skip"]


class Review(Model):
    """What a person answered to an inspection."""

    answer: AnswerName
    label: str | None = Field(description="Of a defect.")
    actor: str = Field(description="Who answered.")
    reviewed_at: datetime


class Extractor(Model):
    """What computed the features; the fingerprint also covers weights and regions to ignore."""

    backbone: str
    layers: list[str]
    image_size: int = Field(
        description="Side in pixels that images are resized to; of a tile, where there is a scale."
    )
    center_crop: int | None
    scale: float | None
    precision: str
    in_words: str = Field(description="All of these, for people.")


class Recorded(Model):
    """An inspection as it was recorded; what is null or empty may not have been kept then."""

    inspection_id: int
    inspected_at: datetime
    image: str = Field(description="Name of the image.")
    category: str
    verdict: Verdict
    score: float = Field(description="The anomaly score, in units of feature distance.")
    likeness: Likeness | None
    pass_below: float = Field(description="Up to this score, an image passed.")
    fail_above: float = Field(description="Above this score, an image failed.")
    p_value: float | None = Field(
        description="Share of good images expected to score at least as high."
    )
    calibration_images: int | None = Field(
        description="How many good images the p-value compares with."
    )
    independent_references: int | None = Field(description="How many of them are independent.")
    regions: list[Region]
    similar: list[Similar]
    similar_defects: list[SimilarDefect]
    probable_defect: ProbableDefect | None
    bank_version: int = Field(description="The version of the bank that judged.")
    extractor_fingerprint: str = Field(description="Of the extractor of that version.")
    extractor: Extractor
    sha256: str
    width: int | None
    height: int | None
    brightness: float | None
    sharpness: float | None
    share_outside: float | None
    part: str | None
    station: str | None
    actor: str | None = Field(description="On whose behalf it was judged.")
    remarks: list[str]
    review: Review | None
    image_kept: bool
    timings_ms: dict[str, float]
    urls: InspectionUrls


class InspectionPage(Model):
    """Recorded inspections, newest first."""

    items: list[Recorded]
    next: int | None = Field(description="The `before` of the next page; null if this is the last.")
