"""What changes of banks answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from patchbank.server.models import Model, Number, Verdict

#: Of one request.
MOST_AT_ONCE = 100
Digest = Annotated[
    str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the decoded pixels.")
]


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


class WithdrawalWanted(Model):
    """Which references to withdraw: by their numbers, or by their pixels."""

    references: list[Number] = Field(
        default_factory=list, max_length=1000, description="Numbers of references."
    )
    pixels_sha256: list[Digest] = Field(default_factory=list, max_length=1000)
    force: bool = Field(
        False, description="Whether fewer than five references may remain; two are needed."
    )


class Withdrawal(Model):
    """What a withdrawal did to a bank."""

    category: str
    version_before: int
    bank_version: int
    withdrawn: list[str] = Field(description="Names of the references.")
    removed_patches: int
    restored_patches: int = Field(
        description="How many patches of other references came in, as nothing stood for them."
    )
    same_as: int | None = Field(description="The earlier version that the bank now equals.")
    images: int
    bank_size: int
    thresholds_before: Limits
    thresholds: Limits
    renewed_scores: int
    unchecked_scores: int
    seconds: float
    remarks: list[str]


class InQuarantine(Model):
    """An image that is held back until a person decides."""

    name: str
    pixels_sha256: str
    origin: str | None = Field(description="Its file on the machine where it was added.")
    score: float
    reason: str = Field(description="Why the bank takes it for a defect.")
    held_at: datetime
    held_by: str
    picture: str = Field(description="Address of its picture.")


class Quarantine(Model):
    """The images that are held back, the oldest first."""

    items: list[InQuarantine]


class Decided(Model):
    """Images in quarantine that a person has decided about."""

    pixels_sha256: list[Digest] = Field(min_length=1, max_length=1000)


class Dismissed(Model):
    """Images that were taken out of the quarantine."""

    names: list[str]
