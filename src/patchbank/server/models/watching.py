"""What the routes of drift, the event log and keys take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from patchbank.server.models import Model
from patchbank.store.access import Role

Series = Literal["score", "brightness", "sharpness", "outside"]


class DriftEffect(Model):
    """How a number of the inspections changed."""

    series: Series
    before: float | None = Field(
        description="The median before; of scores, as a share of the limit."
    )
    after: float | None
    text: str
    within: bool | None = Field(description="Whether it is still in the range of the references.")


class DriftChange(Model):
    """A change of what is inspected."""

    begun_at: datetime
    found_at: datetime
    ended_at: datetime | None
    lasts: bool
    begun_with: str = Field(description="The image about where it began.")
    images: int
    images_until_found: int
    effects: list[DriftEffect]
    text: str


class Trend(Model):
    """A number of the inspections: the references' range, and the last median."""

    series: Series
    references: list[float] | None = Field(description="5 % and 95 % of the references.")
    last: float | None


class SuggestedImage(Model):
    """An image that would cover what the bank does not."""

    inspection_id: int
    image: str
    verdict: str
    covers: float
    has_file: bool


class Suggested(Model):
    """Images that would best be added, if they are good."""

    images: list[SuggestedImage]
    looked_at: int
    command: str


class Drift(Model):
    """Whether what is inspected has changed."""

    category: str
    station: str | None
    changed: bool
    verdict: str = Field(description="What was found, in a line.")
    changes: list[DriftChange]
    inspections: int
    since: datetime | None
    until: datetime | None
    compared_with: str
    images_per_false_alarm: float
    guarantee: str
    evidence: float
    bank_versions: list[int]
    trends: list[Trend]
    suggested: Suggested | None = Field(
        description="Null if it was not asked for. Images that were not kept are not among them."
    )
    remarks: list[str]
    page: None = Field(description="Of the command line.")
    seconds: float


class LoggedEvent(Model):
    """A change of a category."""

    category: str
    category_id: int
    position: int = Field(description="Its number in the category, from 1 without a gap.")
    happened_at: datetime
    actor: str = Field(description="Who did it.")
    kind: str = Field(description="What was done.")
    detail: dict[str, Any]
    previous_hash: str
    hash: str = Field(description="SHA-256 of this event and the hash before it.")


class EventPage(Model):
    """Events of a category, the newest first."""

    items: list[LoggedEvent]
    next: int | None = Field(description="The `before` of the next page; null if this is the last.")


class EventLog(Model):
    """The event log of a category, which stays when the category is removed."""

    category: str
    category_id: int
    removed: bool


class EventLogList(Model):
    """The event logs, by name; those of removed categories last."""

    items: list[EventLog]


class VerifiedLog(Model):
    """What a verification found in the log of a category."""

    category: str
    category_id: int
    removed: bool
    events: int
    head: str = Field(description="The hash of the last event: keep it elsewhere, to expect later.")
    problem: str | None = Field(description="The first event that was changed or is missing.")


class Verification(Model):
    """What a verification of the event log found."""

    passed: bool
    missing: str | None = Field(description="The expected hash, if no log has it.")
    logs: list[VerifiedLog]


class Key(Model):
    """A key of the service, without its secret."""

    key_id: int
    name: str
    role: Role
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    revoked_by: str | None
    last_used_at: datetime | None


class KeyList(Model):
    """All keys, valid ones first, by name."""

    items: list[Key]


class KeyWanted(Model):
    """A key to make."""

    name: str = Field(min_length=1, max_length=200, examples=["camera-3"])
    role: Role


class KeyMade(Model):
    """A key that was made. Its secret is shown once and not stored."""

    name: str
    role: Role
    secret: str


class KeyUse(Model):
    """How a key was used in an hour; without a name, requests without a valid key."""

    hour: datetime
    name: str
    address: str = Field(description="Where the requests came from.")
    action: str
    outcome: str = Field(description="`allowed`, or why it was refused.")
    times: int
    last_at: datetime


class KeyUses(Model):
    """How keys were used, hour by hour, newest first."""

    items: list[KeyUse]
