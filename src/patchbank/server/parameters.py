"""Parameters that several routes have."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query as QueryParameter

from patchbank.errors import ParameterError
from patchbank.inspection.settings import DEFAULT_EFFECT
from patchbank.printable import printable
from patchbank.server.models import MOST_NUMBER
from patchbank.spelling import nearest
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
ExpectedVersion = Annotated[
    int | None,
    Query(
        ge=1,
        le=MOST_NUMBER,
        description="The version of the bank that you saw: if another is in use now, the status is "
        "409 and nothing is changed. Without it, whatever is in use is changed.",
    ),
]
_WHEN = "`yesterday`, `3h`, `2026-11-01` or `2026-11-01T14:30+01:00`; without a zone, local time"

Since = Annotated[str | None, Query(max_length=100, description=f"From this time on: {_WHEN}.")]
Until = Annotated[
    str | None, Query(max_length=100, description="Before this time; a day is included.")
]
Effect = Annotated[
    int,
    Query(
        ge=0,
        le=10_000,
        description="Of how many recorded inspections, the last ones, the verdicts before and "
        f"after are compared; {DEFAULT_EFFECT} take a second or more.",
    ),
]


async def refuse_unknown(request: Request) -> None:
    """Refuse query parameters that a route does not have: a misspelled one would say nothing.

    Raises
    ------
    ParameterError
        If there is one.
    """
    # Asynchronous because FastAPI would call it in a thread otherwise, at every request.
    if not request.query_params:
        return
    own = request.scope["route"].dependant  # codespell:ignore dependant
    # An idempotency key or a category, sent as a query parameter, would say nothing either.
    fields = get_flat_params(own)
    known = {field.alias for field in fields if isinstance(field.field_info, QueryParameter)}
    for name in request.query_params:
        if name not in known:
            match = nearest(name, known)
            meant = "" if match is None else f"; did you mean {match!r}?"
            raise ParameterError(f"there is no parameter {printable(repr(name))} here{meant}")
