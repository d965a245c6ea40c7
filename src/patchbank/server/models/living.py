"""What changes of banks answer."""

from __future__ import annotations

from pydantic import Field

from patchbank.server.models import Model, Verdict


class Limits(Model):
    """The limits of scores."""

    pass_below: float = Field(description="Up to this score, an image passes.")
    fail_above: float = Field(description="Above this score, an image fails.")


class AddedImage(Model):
    """An image that became a reference."""

    name: str
    score: float = Field(description="By the bank before it was added.")
    verdict: Verdict = Field(description="By the bank before it was added.")
    patches: int = Field(description="How many of its patches the bank did not represent before.")
    confirmed: str | None = Field(
        description="Why it would have been held in quarantine, had it not been confirmed."
    )


class HeldImage(Model):
    """An image that was not added but put into quarantine."""

    name: str
    score: float
    reason: str = Field(description="Why the bank takes it for a defect.")


class RefusedImage(Model):
    """An image that cannot be used."""

    image: str
    error: str


class ChangedVerdict(Model):
    """A recorded inspection that would get another verdict."""

    image: str
    inspection_id: int | None
    before: Verdict
    after: Verdict
    score: float
    score_after: float | None = Field(description="Null where it could not be judged again.")
    picture: None = Field(description="Of the command line.")


class Effect(Model):
    """The effect of a change on the last recorded inspections."""

    judged_again: int = Field(description="How many were judged by both banks.")
    by_score: int = Field(description="Of how many only the recorded score was compared.")
    changes: list[ChangedVerdict]


class Addition(Model):
    """What adding images did to a bank, or would do."""

    category: str
    version_before: int
    bank_version: int | None = Field(description="The version with the images; null if unchanged.")
    added: list[AddedImage]
    held: list[HeldImage]
    refused: list[RefusedImage]
    images: int = Field(description="How many references the bank then has.")
    bank_size: int = Field(description="How many patches the bank then has.")
    thresholds_before: Limits
    thresholds: Limits
    renewed_scores: int = Field(description="How many references got other calibration scores.")
    unchecked_scores: int = Field(description="How many references could not be checked.")
    seconds: float
    effect: Effect | None
    pictures: list[str] = Field(description="Of the command line; empty.")
    chosen_anew: int | None = Field(
        description="How many patches are chosen anew, as the bank exceeds its budget."
    )
    dry_run: bool = Field(description="Whether nothing was changed.")
    remarks: list[str]
