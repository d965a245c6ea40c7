"""Jobs, as they are answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from patchbank.server.models import Model
from patchbank.store.jobs import JobKind, State


class Job(Model):
    """Work of minutes."""

    job_id: int
    kind: JobKind = Field(
        description="The command that does the same; `check` is a study of parts with known "
        "answers."
    )
    category: str
    created_by: str = Field(description="Whose key asked for it.")
    state: State = Field(
        description="`interrupted`: the service ended before it did; there is never half a bank."
    )
    stage: str | None = Field(description="What it is at.")
    done: int = Field(description="How much of that is done.")
    total: int = Field(description="Of how much.")
    rate: float | None = Field(description="How much of it is done in a second.")
    seconds_left: float | None = Field(description="How long this stage takes on, at that rate.")
    error: str | None = Field(description="Why it failed or was interrupted, in one line.")
    result: dict[str, Any] | None = Field(
        description="What the command of the same name prints with `--json`."
    )
    created_at: datetime
    begun_at: datetime | None
    ended_at: datetime | None


class JobPage(Model):
    """Some jobs, newest first."""

    items: list[Job]
    next: int | None = Field(description="Send it as `before` for the next page; null at the end.")


class FitFolder(Model):
    """A folder of the service's machine with images."""

    folder: str = Field(
        min_length=1, description="Its path; `patchbank serve --folder` says which are allowed."
    )


class DataSetFolder(FitFolder):
    """A folder of the service's machine with good and anomalous images."""

    dataset: str = Field(
        default="mvtec",
        max_length=100,
        description="How it is laid out, as `--dataset` of `patchbank evaluate`.",
        examples=["mvtec"],
    )


class AnomalibFile(Model):
    """A file of the service's machine with a bank that Anomalib trained, and what it lacks."""

    file: str = Field(
        min_length=1,
        description="Its path; `patchbank serve --folder` says which are allowed.",
        examples=["/srv/models/leather.ckpt"],
    )
    backbone: str | None = Field(default=None, description="The network, if the file lacks it.")
    layers: str | None = Field(default=None, description="The layers, with commas in between.")
    image_size: int | None = Field(
        default=None, ge=1, le=4096, description="What images were resized to, in pixels."
    )
    center_crop: int | None = Field(
        default=None, ge=0, le=4096, description="Size of the centre crop in pixels, 0 for none."
    )
    image_score: Literal["max", "top1percent", "reweighted"] | None = Field(
        default=None, description="How distances make the score; by default as Anomalib does."
    )
    assume_defaults: bool = Field(
        default=False, description="Whether Anomalib's defaults stand for what is not known."
    )
    replace: bool = Field(
        default=False, description="Whether it becomes the next version of a bank that is there."
    )
