"""What the routes of reviews take and answer."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from patchbank.server.models import Model, Number, Verdict
from patchbank.server.models.inspecting import InspectionAnswer, InspectionUrls, Region, Similar
from patchbank.server.models.living import Addition
from patchbank.server.models.records import AnswerName, Recorded
from patchbank.store.reviews import Answer


class Waiting(Model):
    """An inspection that waits for an answer."""

    inspection_id: int
    inspected_at: datetime
    image: str = Field(description="Name of the image.")
    category: str
    sha256: str
    verdict: Verdict
    score: float = Field(description="The anomaly score, in units of feature distance.")
    pass_below: float = Field(description="Up to this score, an image passed.")
    fail_above: float = Field(description="Above this score, an image failed.")
    p_value: float | None
    regions: list[Region]
    similar: list[Similar]
    bank_version: int = Field(description="The version of the bank that judged.")
    part: str | None
    station: str | None
    image_kept: bool
    urls: InspectionUrls


class Queue(Model):
    """Inspections that wait for an answer, oldest first."""

    items: list[Waiting]
    waiting: int = Field(description="How many wait in all.")


class Labels(Model):
    """Labels of defects, the most frequent first."""

    items: list[str]


class GivenAnswer(Model):
    """The last answer to an inspection."""

    inspection_id: int
    answer: AnswerName
    label: str | None
    actor: str = Field(description="Who answered.")
    reviewed_at: datetime
    pending: bool = Field(description="Whether the bank is still to be changed.")
    added: str | None = Field(description="Name of the reference or the defect that it became.")
    bank_version: int | None = Field(description="The version that has the reference from then on.")
    in_use: bool = Field(
        description="Whether what it became is still in the bank or the defect book."
    )


class AnswerList(Model):
    """Answers that were not undone, the last first."""

    items: list[GivenAnswer]


class Look(Model):
    """An inspection to answer to, as the present bank sees it."""

    inspection: Recorded
    now: InspectionAnswer | None = Field(
        description="What the present bank says, not recorded; null if the image was not kept."
    )
    doubt: str | None = Field(
        description="Why the image may not be good. Then `good` must be `confirmed`."
    )


class AnswerEffect(Model):
    """What the answer `good` would do."""

    in_words: list[str] = Field(description="A line each; empty if it would change nothing.")
    addition: Addition | None


class NewAnswer(Model):
    """An answer to an inspection."""

    answer: AnswerName = Field(
        description="`good` adds the image to the bank, `defect` to the defect book, `skip` does "
        "neither."
    )
    label: str | None = Field(
        None, max_length=1000, description="Of a defect, which needs one.", examples=["crack"]
    )
    boxes: list[str] = Field(
        default_factory=list,
        max_length=100,
        description="Where the defect is, each as `x,y,width,height` in pixels or in per cent; by "
        "default where the bank finds it.",
        examples=[["40,60,200,80"]],
    )
    confirmed: bool = Field(
        False, description="Whether it is `good` although there is a doubt: see the `review`."
    )
    replace: bool = Field(
        False, description="Whether an earlier answer is undone; else it is a conflict."
    )


class AnswerDone(Model):
    """What an answer did, or the undoing of one."""

    category: str
    inspection_id: int
    image: str
    answer: Answer
    label: str | None
    added: str | None = Field(
        description="Name of the reference or the defect that the image became."
    )
    bank_version: int | None
    pending: bool = Field(
        description="Whether the bank is still to be changed, which happens in the background."
    )
    remarks: list[str]
    waiting: int = Field(description="How many inspections wait for an answer now.")


class UndoneWanted(Model):
    """Which answer to undo."""

    inspection_id: Number | None = Field(
        None,
        description="That to this inspection, whoever gave it; by default the last that you gave.",
    )
