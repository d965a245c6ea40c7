"""Inspections as they come, as server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from patchbank.inspection.keeping.inspections import count_verdicts, make_selection
from patchbank.server.access import Operator, while_allowed
from patchbank.server.models.inspecting import VerdictCounts
from patchbank.server.parameters import CategoryName
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of
from patchbank.spelling import composed

Station = Annotated[str | None, Query(description="Only of this station.")]

router = APIRouter(prefix="/v1", tags=["inspecting"], responses=PROBLEMS)


@router.get(
    "/categories/{category}/events",
    response_class=StreamingResponse,
    responses={200: {"description": "The stream.", "content": {"text/event-stream": {}}}},
)
async def events(
    request: Request,
    caller: Operator,
    category: CategoryName,
    station: Station = None,
) -> StreamingResponse:
    """Follow the inspections of a category: the last twenty, then each as it is recorded.

    Each is an event `inspection` with the record as JSON. An event `beat` comes when nothing else
    does: whoever hears nothing for five seconds is cut off. The stream ends some seconds after the
    key is revoked.
    """
    service = service_of(request)
    category = composed(category)
    # What is wrong is said before the stream begins.
    await run_in_threadpool(service.workspace.database.categories.check, category)

    async def stream() -> AsyncGenerator[str]:
        # What a browser waits before it asks again, in milliseconds.
        yield "retry: 1000\n\n"
        async for item in service.feed.follow(category, station):
            if item is None:
                yield "event: beat\ndata: {}\n\n"
            else:
                number, text = item["inspection_id"], json.dumps(item)
                yield f"event: inspection\nid: {number}\ndata: {text}\n\n"

    return StreamingResponse(while_allowed(request, stream()), media_type="text/event-stream")


@router.get("/categories/{category}/counts")
def counts(
    request: Request,
    caller: Operator,
    category: CategoryName,
    since: Annotated[
        str | None, Query(description="From this time on, such as 2026-03-01T06:00, 8h or 7d.")
    ] = None,
    station: Station = None,
) -> VerdictCounts:
    """Count the inspections of a category by verdict."""
    found = count_verdicts(
        service_of(request).workspace, category, make_selection(since=since, station=station)
    )
    return VerdictCounts.model_validate(found)
