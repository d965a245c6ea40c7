"""What the routes of administration answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from patchbank.server.models import Model


class Finding(Model):
    """A line of the diagnosis."""

    name: str
    healthy: bool
    text: str = Field(description="What was found, and what to do if it is not healthy.")


class Diagnosis(Model):
    """What `patchbank doctor` finds on the machine of the service."""

    healthy: bool
    items: list[Finding]


class Storage(Model):
    """What the database takes, and how long it keeps what."""

    embedded: bool
    postgresql: str = Field(description="The version of the server.")
    pgvector: str = Field(description="The version of the extension.")
    size_bytes: int = Field(description="The whole database, in bytes.")
    inspections_bytes: int = Field(description="Inspections and their images, in bytes.")
    keep_images: Literal["all", "not-pass", "none"] = Field(
        description="Which images of inspections are kept."
    )
    keep_inspections_days: float | None = Field(description="Null for ever.")
    keep_inspections_bytes: int | None = Field(description="Null for no limit.")
    keep_versions: int = Field(description="Versions of a bank that are kept at least.")
    keep_days: float = Field(description="Days for which versions are kept at least.")
    due: int = Field(description="Inspections that will be removed within the hour.")
