"""Pictures for pages: of inspections, and of references."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from patchbank.errors import BankGoneError, NotFoundError
from patchbank.inspection.keeping.inspected_images import inspected_image
from patchbank.inspection.keeping.records import BankOf, judged_again
from patchbank.inspection.workspace import Workspace
from patchbank.server.access import Operator
from patchbank.server.models import Number
from patchbank.server.parameters import CategoryName
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of
from patchbank.server.shown import LARGEST_SIDE, display_picture, map_layer
from patchbank.spelling import composed

router = APIRouter(prefix="/v1", tags=["pictures"], responses=PROBLEMS)

# What is shown of an inspection never changes.
_KEEP = {"cache-control": "private, max-age=86400, immutable"}


def _picture(kind: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"description": "The picture.", "content": {kind: {}}},
        204: {"description": "No picture, and it was optional."},
    }


Optional = Annotated[
    bool, Query(description="Answer 204 instead of 404 if there is no picture, as pages ask.")
]


@router.get(
    "/categories/{category}/inspections/{inspection_id}/picture",
    response_class=Response,
    responses=_picture("image/jpeg"),
)
def inspection_picture(
    request: Request,
    caller: Operator,
    category: CategoryName,
    inspection_id: Number,
    side: Annotated[
        int, Query(ge=16, le=LARGEST_SIDE, description="Longer side in pixels, at most.")
    ] = LARGEST_SIDE,
    optional: Optional = False,
) -> Response:
    """Return the image of an inspection as JPEG, to be shown.

    It is there as long as this service remembers it, or if it was kept with the inspection.
    """
    service = service_of(request)
    recent = service.recent.find(composed(category), inspection_id)
    if recent is not None:
        content = recent.source
        assert isinstance(content, bytes)
    else:
        try:
            content = inspected_image(service.workspace, category, inspection_id)
        except NotFoundError:
            if optional:
                return Response(status_code=204)
            raise
    shown = display_picture(content, service.workspace.limits, side)
    headers = {**_KEEP, "x-image-size": f"{shown.width}x{shown.height}"}
    return Response(shown.content, media_type="image/jpeg", headers=headers)


@router.get(
    "/categories/{category}/inspections/{inspection_id}/map",
    response_class=Response,
    responses=_picture("image/png"),
)
async def inspection_map(
    request: Request,
    caller: Operator,
    category: CategoryName,
    inspection_id: Number,
    optional: Optional = False,
) -> Response:
    """Return the anomaly map of an inspection as a layer to be shown above its picture.

    What the service does not remember is computed again, if the image and the bank were kept.
    """
    service = service_of(request)
    recent = service.recent.find(composed(category), inspection_id)
    if recent is not None:
        content = await run_in_threadpool(map_layer, recent)
    else:
        try:
            content = await service.judge_again(category, inspection_id, _layer)
        except (NotFoundError, BankGoneError):
            if optional:
                return Response(status_code=204)
            raise
    return Response(content, media_type="image/png", headers=_KEEP)


def _layer(workspace: Workspace, category: str, inspection_id: int, bank_of: BankOf) -> bytes:
    *_, judgement = judged_again(workspace, category, inspection_id, bank_of)
    return map_layer(judgement)
