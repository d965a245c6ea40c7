"""Parameters that several routes have."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from patchbank.server.models import MOST_NUMBER
from patchbank.store.categories import MAX_NAME_LENGTH

#: What a list gives at once, unless asked for another number.
DEFAULT_LIMIT = 50

CategoryName = Annotated[
    str,
    Path(
        alias="category",
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        description="Name of the category.",
        examples=["leather"],
    ),
]
InspectionNumber = Annotated[
    int,
    Path(alias="inspection_id", ge=1, le=MOST_NUMBER, description="Number of the inspection."),
]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
Before = Annotated[
    int | None,
    Query(
        ge=1,
        le=MOST_NUMBER,
        description="The `next` of the page before; leave it out for the first page.",
    ),
]
_WHEN = "`yesterday`, `3h`, `2026-11-01` or `2026-11-01T14:30+01:00`; without a zone, local time"

Since = Annotated[str | None, Query(max_length=100, description=f"From this time on: {_WHEN}.")]
Until = Annotated[
    str | None, Query(max_length=100, description="Before this time; a day is included.")
]
