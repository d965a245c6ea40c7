"""What judging an image answers."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from patchbank.server.models import Model, Verdict


class Region(Model):
    """A part of the image that is unlike the references."""

    box_xyxy: list[int] = Field(
        min_length=4, max_length=4, description="x0, y0, x1, y1 in pixels; x1 and y1 excluded."
    )
    area_pixels: int = Field(description="How many pixels it has.")
    area_percent: float = Field(description="Its share of the image, in percent.")
    peak_score: float = Field(description="The largest value of the anomaly map in it.")
    peak_xy: list[int] = Field(min_length=2, max_length=2, description="Where that is, in pixels.")


class Similar(Model):
    """A reference that looks like the image."""

    image: str
    similarity: float = Field(description="1 - cosine distance of the embeddings, -1 to 1.")
    itself: bool = Field(description="Whether it is the same image.")


class SimilarDefect(Model):
    """A recorded defect that looks like the strongest region."""

    name: str
    label: str | None
    similarity: float = Field(description="1 - cosine distance of the embeddings, -1 to 1.")
    synthetic: bool
    itself: bool


class ProbableDefect(Model):
    """What the strongest region probably is, by the most similar recorded defects."""

    label: str
    agreeing: int
    nearest: int


class Likeness(Model):
    """What likeness to recorded defects did to the score."""

    added: float
    score_without: float
    label: str | None


class InWords(Model):
    """What the figures mean, for people."""

    rarity: str = Field(description="How many good parts scored as high.")
    against_the_limits: str = Field(description="The score as a multiple of the limit.")


class InspectionUrls(Model):
    """Where there is more."""

    inspection: str | None = Field(description="Its record; null if it was not recorded.")
    picture: str | None = Field(
        description="Its image as JPEG, to be shown; null if it was not recorded."
    )
    map: str | None = Field(
        description="Its anomaly map, as a layer above the picture, while the service remembers it."
    )
    image: str | None = Field(description="Its image; null if that was not kept.")
    heatmap: str | None = Field(
        description="Its image beside the anomaly map; null if the image was not kept."
    )
    similar: list[str] = Field(description="A small picture of each similar reference.")


class InspectionAnswer(Model):
    """One image judged once."""

    inspection_id: int | None
    inspected_at: datetime
    image: str
    category: str
    verdict: Verdict
    score: float = Field(description="The anomaly score, in units of feature distance.")
    likeness: Likeness | None
    pass_below: float = Field(description="Up to this score, an image passes.")
    fail_above: float = Field(description="Above this score, an image fails.")
    p_value: float = Field(description="Share of good images expected to score at least as high.")
    calibration_images: int
    independent_references: int
    regions: list[Region]
    similar: list[Similar]
    similar_defects: list[SimilarDefect]
    probable_defect: ProbableDefect | None
    bank_version: int
    extractor_fingerprint: str
    sha256: str
    width: int
    height: int
    brightness: float | None
    sharpness: float | None
    share_outside: float | None
    heatmap: str | None
    timings_ms: dict[str, float] = Field(description="Milliseconds of each stage, and their sum.")
    recorded: bool
    part: str | None
    station: str | None
    actor: str | None = Field(description="On whose behalf: the name of the key, if there are any.")
    image_kept: bool
    remarks: list[str]
    in_words: InWords
    urls: InspectionUrls


class RefusedImage(Model):
    """An image that could not be used."""

    image: str
    refused: str = Field(description="Why, and what to do.")


class BatchAnswer(Model):
    """Several images judged once, in their order."""

    items: list[InspectionAnswer | RefusedImage]


class VerdictCounts(Model):
    """How many inspections have each verdict."""

    passed: int = Field(alias="pass", description="How many passed.")
    review: int = Field(description="How many a person decides.")
    fail: int = Field(description="How many failed.")
