"""Recorded inspections: listed, shown, written as CSV."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Generator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import iterate_in_threadpool

from patchbank.inspection.keeping.inspected_images import inspected_image
from patchbank.inspection.keeping.inspections import make_selection, open_inspections
from patchbank.inspection.keeping.records import (
    list_inspections,
    recorded_heatmap,
    show_inspection,
)
from patchbank.inspection.workspace import Workspace
from patchbank.server.access import Operator
from patchbank.server.addresses import with_urls
from patchbank.server.models import Verdict
from patchbank.server.models.records import InspectionPage, Recorded
from patchbank.server.parameters import (
    DEFAULT_LIMIT,
    Before,
    CategoryName,
    InspectionNumber,
    Limit,
    Since,
    Until,
)
from patchbank.server.pictures import PICTURE, picture
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of
from patchbank.store.inspections import Selection

router = APIRouter(prefix="/v1", tags=["inspections"], responses=PROBLEMS)


async def _wanted(
    verdict: Annotated[
        list[Verdict] | None, Query(description="Repeat it for several; else all.")
    ] = None,
    since: Since = None,
    until: Until = None,
    part: Annotated[str | None, Query(description="Only inspections of this part.")] = None,
    station: Annotated[str | None, Query(description="Only inspections at this station.")] = None,
    reviewed: Annotated[
        bool | None,
        Query(
            description="Only those that a person reviewed; with false, those that wait for review."
        ),
    ] = None,
) -> dict[str, Any]:
    """Return which inspections a request asks for, as `make_selection` takes it."""
    return {
        "verdicts": verdict or (),
        "since": since,
        "until": until,
        "part": part,
        "station": station,
        "reviewed": reviewed,
    }


Wanted = Annotated[dict[str, Any], Depends(_wanted)]


@router.get("/categories/{category}/inspections", response_model=InspectionPage)
def inspections(
    request: Request,
    caller: Operator,
    category: CategoryName,
    wanted: Wanted,
    limit: Limit = DEFAULT_LIMIT,
    before: Before = None,
) -> dict[str, Any]:
    """List recorded inspections, newest first."""
    page = list_inspections(
        service_of(request).workspace,
        category,
        limit=limit,
        before=before,
        **wanted,
    )
    return {"items": [with_urls(category, item) for item in page.items], "next": page.next}


@router.get(
    "/categories/{category}/inspections.csv",
    response_class=Response,
    responses={
        200: {
            "description": "A heading, and a line for each, oldest first.",
            "content": {"text/csv": {"schema": {"type": "string"}}},
        }
    },
)
def inspections_as_csv(
    request: Request,
    caller: Operator,
    category: CategoryName,
    wanted: Wanted,
) -> StreamingResponse:
    """Write recorded inspections as CSV, oldest first, all of one moment."""
    selection = make_selection(**wanted)
    lines = _lines(service_of(request).workspace, category, selection)
    # Until here, an error is answered as one.
    first = next(lines)
    return StreamingResponse(
        _streamed(first, lines),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": 'attachment; filename="inspections.csv"'},
    )


@router.get("/categories/{category}/inspections/{inspection_id}", response_model=Recorded)
def inspection(
    request: Request, caller: Operator, category: CategoryName, number: InspectionNumber
) -> dict[str, Any]:
    """Show all that was recorded of an inspection."""
    workspace = service_of(request).workspace
    return with_urls(category, show_inspection(workspace, category, number))


@router.get(
    "/categories/{category}/inspections/{inspection_id}/image",
    response_class=Response,
    responses=PICTURE,
)
def image(
    request: Request, caller: Operator, category: CategoryName, number: InspectionNumber
) -> Response:
    """Give the image that was kept with an inspection, as it was sent.

    `PATCHBANK_KEEP_IMAGES` says which are kept.
    """
    workspace = service_of(request).workspace
    name = show_inspection(workspace, category, number)["image"]
    return picture(inspected_image(workspace, category, number), name)


@router.get(
    "/categories/{category}/inspections/{inspection_id}/heatmap",
    response_class=Response,
    responses=PICTURE,
)
async def heatmap(
    request: Request, caller: Operator, category: CategoryName, number: InspectionNumber
) -> Response:
    """Draw the image of an inspection beside its anomaly map, as PNG.

    It is computed from the image that was kept, by the version of the bank that judged.
    """
    service = service_of(request)
    drawn = await service.judge_again(category, number, recorded_heatmap)
    return picture(drawn, f"inspection-{number}-heatmap.png")


def _lines(workspace: Workspace, category: str, selection: Selection) -> Generator[str]:
    with open_inspections(workspace, category, selection) as found:
        yield from found.csv()


async def _streamed(first: str, lines: Generator[str]) -> AsyncIterator[str]:
    # Whoever asked may go before the end.
    with contextlib.closing(lines):
        yield first
        async for some in iterate_in_threadpool(lines):
            yield some
