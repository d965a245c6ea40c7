"""Judging images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse

from patchbank.errors import ParameterError
from patchbank.inspection.judging.inspect import DEFAULT_TOP
from patchbank.printable import counted
from patchbank.server.access import Operator
from patchbank.server.answers import answer_of
from patchbank.server.bodies import (
    MOST_IMAGES,
    ONE_IMAGE,
    image_of,
    images_form,
    images_of,
    request_body,
)
from patchbank.server.inspecting import Asked
from patchbank.server.models.inspecting import BatchAnswer, InspectionAnswer
from patchbank.server.parameters import CategoryName
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of

router = APIRouter(prefix="/v1", tags=["inspecting"], responses=PROBLEMS)

Station = Annotated[
    str | None, Query(description="Where it was taken; by default the service's own.")
]
Top = Annotated[int, Query(ge=0, le=1000, description="How many similar references.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="Any text that this request alone has, as a UUID: when it comes again within "
        "a day, it gets its first answer, and nothing is recorded twice.",
    ),
]


@router.post(
    "/categories/{category}/inspect",
    response_model=InspectionAnswer,
    openapi_extra=ONE_IMAGE,
)
async def inspect(
    request: Request,
    caller: Operator,
    category: CategoryName,
    name: Annotated[
        str | None, Query(description="What the image is called in the record.")
    ] = None,
    part: Annotated[str | None, Query(description="Id of the part it shows.")] = None,
    station: Station = None,
    top: Top = DEFAULT_TOP,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Judge an image and record the inspection.

    The verdict is `pass`, `review` (a person decides) or `fail`.
    """
    arrived = time.monotonic()
    service = service_of(request)
    content, file_name = await image_of(request)
    asked = Asked(content, name or file_name or "image", part, station, top, arrived)
    if idempotency_key is None:
        answer = answer_of(await service.inspecting.inspect(category, asked))
    else:
        answer = await service.inspecting.inspect_once(
            category, asked, (caller.key_id, idempotency_key)
        )
    # It is as the model says, which a test proves: checking each again would cost milliseconds.
    return JSONResponse(answer)


@router.post(
    "/categories/{category}/inspect:batch",
    response_model=BatchAnswer,
    openapi_extra=request_body(images_form(MOST_IMAGES)),
)
async def inspect_batch(
    request: Request,
    caller: Operator,
    category: CategoryName,
    part: Annotated[
        list[str] | None,
        Query(description="Id of the part that all images show; or repeated, of each one's part."),
    ] = None,
    station: Station = None,
    top: Top = DEFAULT_TOP,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Judge several images and record the inspections.

    The answers come in the order of the images; one that cannot be used is refused with its
    reason, and the others are judged.
    """
    arrived = time.monotonic()
    images = await images_of(request)
    parts = _parts(part or [], len(images))
    asked = [
        Asked(content, name or "image", part_of_it, station, top, arrived)
        for (content, name), part_of_it in zip(images, parts, strict=True)
    ]
    key = None if idempotency_key is None else (caller.key_id, idempotency_key)
    return JSONResponse(
        {"items": await service_of(request).inspecting.inspect_batch(category, asked, key)}
    )


def _parts(parts: Sequence[str], count: int) -> Sequence[str | None]:
    if len(parts) in (0, 1):
        return [parts[0] if parts else None] * count
    if len(parts) != count:
        raise ParameterError(
            f"part: {len(parts)} given for {counted(count, 'image')}; give one, or one per image"
        )
    return parts
