"""What the routes of categories and banks take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from patchbank.server.models import Model, Version


class CategoryBrief(Model):
    """A category; what its bank has is null as long as it has none."""

    category: str
    bank_version: int | None = Field(description="The version that judges.")
    images: int | None = Field(description="How many references the bank has.")
    bank_size: int | None = Field(description="How many patches the bank has.")
    inspections: int
    inspections_estimated: bool = Field(
        description="Whether there are too many inspections to be counted."
    )
    learned_at: datetime | None


class CategoryList(Model):
    """All categories, by name."""

    items: list[CategoryBrief]


class Limits(Model):
    """Where an image passes and where it fails."""

    pass_below: float = Field(description="Up to this score, an image passes.")
    fail_above: float = Field(description="Above this score, an image fails.")


class LikenessSwitch(Model):
    """How likeness to recorded defects was switched."""

    on: bool = Field(description="Whether it changes scores from then on.")
    defects: int = Field(description="To how many recorded defects it was fitted.")


class LikenessInUse(Model):
    """What likeness to recorded defects was fitted to."""

    defects: int
    labels: list[str | None] = Field(description="Of these defects; null for those without one.")
    order: float = Field(
        description="Share of pairs of a defect and a reference that it puts in the right order."
    )


class HistoryEntry(Model):
    """A version of a bank."""

    bank_version: int
    state: Literal["active", "retired", "pruned"] = Field(
        description="What is pruned cannot be activated any more."
    )
    cause: str | None = Field(description="The change that made it, such as `fit` or `add`.")
    same_as: int | None = Field(description="The earlier version that was activated as this one.")
    actor: str | None = Field(description="Who made it.")
    images: int
    bank_size: int
    added: list[str] = Field(description="Names of the references that came.")
    withdrawn: list[str] = Field(description="Names of the references that went.")
    screened: list[dict[str, Any]] = Field(description="Images that a fit left out by itself.")
    thresholds: Limits | None = Field(description="The limits that the version set, if any.")
    likeness: LikenessSwitch | None = Field(
        description="How the version switched likeness to recorded defects, if it did."
    )
    created_at: datetime


class History(Model):
    """The versions of a bank, newest first."""

    items: list[HistoryEntry]


class Index(Model):
    """An HNSW index for searches."""

    name: str
    on: str
    metric: str
    ef_search: int
    recall_at_10: float | None
    size_megabytes: float


class CategoryDetails(CategoryBrief):
    """All there is to know of a category; without a bank, only its history besides."""

    extractor: dict[str, Any] | None = Field(
        None, description="Network, layers and preprocessing that turn an image into features."
    )
    settings: dict[str, Any] | None = Field(None, description="How the bank was fitted.")
    covering_radius: float | None = None
    provenance_known: bool | None = None
    pass_below: float | None = Field(None, description="Up to this score, an image passes.")
    fail_above: float | None = Field(None, description="Above this score, an image fails.")
    independent_references: int | None = None
    stated_false_alarm_rate: float | None = None
    calibration: str | None = Field(None, description="What the limit promises, in words.")
    review: str | None = Field(None, description="Which images go to review, in words.")
    likeness: LikenessInUse | None = Field(
        None, description="Likeness to recorded defects that changes scores, if it is on."
    )
    indexes: list[Index] = Field(default_factory=list)
    history: list[HistoryEntry]


class Share(Model):
    """A share of some, with its 95 % interval."""

    count: int
    total: int
    value: float | None
    interval: list[float]


class VerdictChange(Model):
    """How many recorded inspections would get another verdict."""

    from_: str = Field(alias="from")
    to: str
    inspections: int


class EstimatedLimit(Model):
    """A limit where there are too few good images for a promise."""

    fail_above: float
    false_alarm_rate_interval: list[float] = Field(description="90 % interval.")


class CurvePoint(Model):
    """The limits of a false-alarm rate, what they promise, and what they would change."""

    false_alarm_rate: float
    pass_below: float
    fail_above: float
    guaranteed_false_alarm_rate: float
    realised_interval: list[float] = Field(
        description="Where the rate that is seen will lie, 90 %."
    )
    sufficient: bool = Field(description="Whether there are enough good images for the promise.")
    missing_images: int
    estimate: EstimatedLimit | None
    in_use: bool
    changes: list[VerdictChange]
    recall: Share | None
    miss_rate: Share | None


class Finding(Model):
    """How many of the recorded defects score above a limit, and how many do not."""

    recall: Share
    miss_rate: Share


class KnownDefects(Model):
    """The recorded defects, judged by the bank."""

    scores: list[float] = Field(description="Of each, ascending.")
    fail_above: Finding = Field(description="At the limit above which an image fails.")
    pass_below: Finding = Field(description="At the limit up to which it passes.")
    intervals: list[list[float]] = Field(
        description="For each number of them, from none to all: the 95 % interval of their share."
    )


class Proposal(Model):
    """The limit at which mistakes cost least, by the recorded defects."""

    cost_miss: float
    cost_false_alarm: float
    defect_rate: float
    false_alarm_rate: float = Field(description="To be set to have that limit.")
    fail_above: float
    missed: int = Field(description="How many of the defects it misses.")
    defects: int = Field(description="Of how many.")
    miss_rate_interval: list[float] = Field(description="95 % interval.")
    cost_per_1000_parts: float
    cost_per_1000_parts_in_use: float = Field(description="At the limit in use.")
    text: str


class ReviewLimits(Model):
    """Which images go to review."""

    requested_review_rate: float
    collapsed: bool = Field(description="Whether too few good images tell both limits apart.")
    text: str


class Thresholds(Model):
    """The limits in use, what they promise, and what others would change."""

    category: str
    bank_version: int
    version_before: int | None = Field(
        description="The version whose limits were replaced; null where they were only shown."
    )
    set_by: Literal["rate", "score", "estimate"]
    false_alarm_rate: float | None = Field(description="Null where the limits are scores.")
    pass_below: float
    fail_above: float
    images: int = Field(description="How many good images the limits were computed from.")
    good_above: Share
    calibration: str
    review: ReviewLimits
    inspections: int
    inspections_by_earlier_versions: int
    curve: list[CurvePoint]
    defects: int | None = Field(description="How many recorded defects were judged, if asked for.")
    known_defects: KnownDefects | None
    proposal: Proposal | None
    page: None = Field(description="Of the command line.")
    remarks: list[str]


class NewThresholds(Model):
    """Limits to set: by rates or by scores, not by both; what is left out stays as it is."""

    false_alarm_rate: float | None = Field(
        None, description="Fraction of good images that may fail, such as 0.01."
    )
    review_rate: float | None = Field(
        None, description="Fraction of good images that may go to review besides."
    )
    estimate: bool = Field(
        False,
        description="Whether to estimate the limit where there are too few good images to promise "
        "the rate.",
    )
    fail_above: float | None = Field(
        None, description="Score above which an image fails; alone, no image goes to review."
    )
    pass_below: float | None = Field(None, description="Score up to which an image passes.")


class ActivationWanted(Model):
    """Which version is to judge."""

    version: Version


class Activation(Model):
    """The version that judges now."""

    category: str
    bank_version: int
    same_as: int
    version_before: int
    remarks: list[str]


class UndoWanted(Model):
    """How far to go back."""

    version: Version | None = Field(
        None, description="The version to go back to; by default that before the last change."
    )


class Undone(Activation):
    """What was undone."""

    undone: str | None = Field(
        description="The cause of the change that was undone; null where a version was named."
    )


class RemovedRows(Model):
    """How much was removed."""

    banks: int
    images: int
    patches: int
    inspections: int
    defects: int


class Removal(Model):
    """A category that was removed for good."""

    category: str
    removed: RemovedRows


class Reference(Model):
    """A reference of the active bank."""

    reference_id: int
    name: str
    sha256: str
    width: int
    height: int
    added_at: datetime
    score: float | None = Field(description="Its score by the bank without it.")
    held_out: bool | None = Field(
        description="Whether it served to compute the limits and is not in the bank."
    )
    p_value: float | None = Field(
        description="Share of the references that score as high, itself included."
    )
    outlier: bool | None = Field(description="Whether it would not pass by the bank without it.")
    thumbnail: str = Field(description="Address of a small picture.")


class VerdictHistogram(Model):
    """How many inspections of each verdict are in each bin."""

    passed: list[int] = Field(alias="pass")
    review: list[int]
    fail: list[int]


class Histogram(Model):
    """How the scores of references and of the last inspections are distributed."""

    category: str
    bank_version: int
    pass_below: float | None
    fail_above: float | None
    edges: list[float] = Field(description="Of the bins, one more than there are bins.")
    references: list[int] = Field(description="How many references are in each bin.")
    inspections: VerdictHistogram
    defects: list[int] = Field(description="Those inspections that a person called a defect.")


class ReferencePage(Model):
    """References of the active bank, those added last or those that score highest first."""

    items: list[Reference]
    next: int | None = Field(description="The `before` of the next page; null if this is the last.")
