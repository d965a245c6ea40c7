"""Judging images."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile

from patchbank.errors import ImageError
from patchbank.inspection.judging.inspect import DEFAULT_TOP
from patchbank.server.access import Operator
from patchbank.server.answers import answer_of
from patchbank.server.inspecting import Asked
from patchbank.server.models.inspecting import InspectionAnswer
from patchbank.server.parameters import CategoryName
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of

router = APIRouter(prefix="/v1", tags=["inspecting"], responses=PROBLEMS)

_FILE = "image"
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The image: its file as the body, or as the field `image` of a form.",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [_FILE],
                    "properties": {_FILE: {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}

Station = Annotated[
    str | None, Query(description="Where it was taken; by default the service's own.")
]
Top = Annotated[int, Query(ge=0, le=1000, description="How many similar references.")]


@router.post(
    "/categories/{category}/inspect",
    response_model=InspectionAnswer,
    openapi_extra=_BODY,
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
) -> JSONResponse:
    """Judge an image and record the inspection.

    The verdict is `pass`, `review` (a person decides) or `fail`.
    """
    arrived = time.monotonic()
    content, file_name = await image_of(request)
    asked = Asked(content, name or file_name or "image", part, station, top, arrived)
    inspection = await service_of(request).inspecting.inspect(category, asked)
    # It is as the model says, which a test proves: checking each again would cost milliseconds.
    return JSONResponse(answer_of(inspection))


async def image_of(request: Request) -> tuple[bytes, str | None]:
    """Return the content of the image in a request's body, and what its file was called.

    Raises
    ------
    ImageError
        If the body has no image.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return _not_empty(await request.body()), None
    async with request.form(max_files=1, max_fields=10) as form:
        file = form.get(_FILE)
        if not isinstance(file, UploadFile):
            raise ImageError(f"the form has no file in the field `{_FILE}`; send the image there")
        return _not_empty(await file.read()), file.filename


def _not_empty(content: bytes) -> bytes:
    if not content:
        raise ImageError("the image is empty; send the file of an image as the body")
    return content
