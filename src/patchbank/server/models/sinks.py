"""Sinks, as they are asked for and answered."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from patchbank.server.models import Model, Verdict
from patchbank.store.outbox import SinkKind


class Sink(Model):
    """Where inspections are sent to, and how that fares. Its secret is never shown."""

    sink_id: int
    name: str
    kind: SinkKind
    target: str = Field(description="Its URL without the query, or the path of its file.")
    user: str | None = Field(description="Who logs in to the MQTT broker.")
    topic: str | None = Field(description="What MQTT topics begin with.")
    categories: list[str] | None = Field(description="Whose inspections it gets; null for all.")
    verdicts: list[Verdict] = Field(description="With these verdicts.")
    created_at: datetime
    created_by: str
    delivered: int = Field(description="Inspections that were sent.")
    delivered_at: datetime | None = Field(description="When one was sent last.")
    waiting: int = Field(description="Inspections that are still to be sent.")
    waiting_since: datetime | None = Field(description="When the oldest of them was inspected.")
    failures: int = Field(description="How often in a row nothing could be sent.")
    last_error: str | None = Field(description="Why; null if the last try succeeded.")


class SinkList(Model):
    """All sinks, by name."""

    items: list[Sink]


class SinkWanted(Model):
    """A sink to add."""

    name: str = Field(min_length=1, max_length=200, examples=["mes"])
    target: str = Field(
        min_length=1,
        max_length=2_000,
        description="`https://` or `http://` of a webhook, `mqtts://` or `mqtt://` of a broker, or "
        "the path of a CSV file below a folder that `patchbank serve --folder` allows.",
        examples=["https://mes.example/inspections"],
    )
    categories: list[str] = Field(
        default=[], max_length=1_000, description="Whose inspections it gets; all if empty."
    )
    verdicts: list[Verdict] = Field(
        default=[], max_length=10, description="With these verdicts; all if empty."
    )
    secret: str | None = Field(
        default=None,
        min_length=1,
        max_length=10_000,
        description="What signs a webhook (`whsec_...`; one is made if it is left out), or the "
        "password of `user`.",
    )
    user: str | None = Field(default=None, description="Who logs in to the MQTT broker.")
    topic: str | None = Field(
        default=None,
        min_length=1,
        max_length=1_000,
        description="What MQTT topics begin with; `patchbank` if it is left out.",
    )


class SinkAdded(Model):
    """A sink that was added."""

    sink_id: int
    name: str
    kind: SinkKind
    secret: str | None = Field(
        description="The secret that was made for a webhook: it is never shown again."
    )


class SinkTried(Model):
    """Whether something that is not an inspection arrived."""

    arrived: bool
    error: str | None = Field(description="Why it did not.")


class SinkRemoved(Model):
    """A sink that was removed."""

    removed: str
    not_sent: int = Field(description="Inspections that waited for it.")
