"""Amazon Lookout for Vision's `DetectAnomalies`: its clients change only the address."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from PIL import Image
from starlette.exceptions import HTTPException

from patchbank.errors import PatchbankError
from patchbank.inspection.judging.inspect import DEFAULT_TOP
from patchbank.inspection.verdicts import Inspection
from patchbank.server.access import Operator
from patchbank.server.bodies import BINARY, request_body
from patchbank.server.inspecting import Asked
from patchbank.server.models.lookout import DetectAnomaliesAnswer, LookoutError
from patchbank.server.problems import passes, status_of
from patchbank.server.remedies import detail_of
from patchbank.server.request_ids import request_id
from patchbank.server.service import service_of

# Status and kind in Lookout for Vision's terms, by ours; the nearest lower one counts.
_ERRORS: dict[int, tuple[int, str]] = {
    400: (400, "ValidationException"),
    401: (403, "AccessDeniedException"),
    404: (404, "ResourceNotFoundException"),
    408: (400, "ValidationException"),
    409: (409, "ConflictException"),
    411: (400, "ValidationException"),
    500: (500, "InternalServerException"),
    503: (429, "ThrottlingException"),
    504: (500, "InternalServerException"),
}
_NORMAL, _ANOMALY = (0xFF, 0xFF, 0xFF), (0x23, 0xA4, 0x36)


class _Route(APIRoute):
    """Answers errors in the shape that AWS's clients read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except PatchbankError as error:
                # Throttling would have clients try again.
                return _error(status_of(error) if passes(error) else 500, detail_of(error))
            except RequestValidationError as error:
                return _error(422, error.errors()[0]["msg"])
            except HTTPException as error:
                return _error(error.status_code, str(error.detail))

        return handled


router = APIRouter(
    tags=["Lookout for Vision"],
    route_class=_Route,
    responses={
        status: {"model": LookoutError, "description": description}
        for status, description in (
            ("4XX", "The request cannot be fulfilled as it is; 429: try again in a moment."),
            ("5XX", "The service failed."),
        )
    },
)


@router.post(
    "/2020-11-20/projects/{project}/models/{version}/detect",
    response_model=DetectAnomaliesAnswer,
    openapi_extra=request_body({kind: {"schema": BINARY} for kind in ("image/jpeg", "image/png")}),
)
async def detect_anomalies(
    request: Request,
    caller: Operator,
    project: Annotated[str, Path(description="The category.")],
    version: Annotated[
        str, Path(description="Any: the active version of the bank judges, whatever is here.")
    ],
) -> JSONResponse:
    """Judge an image as Lookout for Vision's `DetectAnomalies`, and record the inspection.

    What does not pass is anomalous, an image for review too. `Confidence` says how far the score is
    from the one up to which an image passes: 0.5 there, towards 1 far below or above it.
    """
    asked = Asked(await request.body(), "image", None, None, DEFAULT_TOP, time.monotonic())
    service = service_of(request)
    inspection = await service.inspecting.inspect(project, asked)
    # The mask of a large image takes seconds, in which the service goes on answering others.
    return JSONResponse(await service.pool.run(lambda _: _answer(inspection), let_in=True))


def _answer(inspection: Inspection) -> dict[str, Any]:
    result: dict[str, Any] = {
        "Source": {"Type": "direct"},
        "IsAnomalous": not inspection.passed,
        "Confidence": _confidence(inspection.score, inspection.pass_below),
    }
    if not inspection.passed:
        anomalous = np.nan_to_num(inspection.full_map()) > inspection.map_threshold
        share = float(anomalous.mean())
        probable = inspection.probable_defect
        result["Anomalies"] = [
            _anomaly("background", 1 - share, _NORMAL),
            _anomaly("anomaly" if probable is None else probable.label, share, _ANOMALY),
        ]
        result["AnomalyMask"] = base64.b64encode(_mask(anomalous)).decode("ascii")
    return {"DetectAnomalyResult": result}


def _confidence(score: float, limit: float) -> float:
    nearer, farther = sorted((max(0.0, score), max(0.0, limit)))
    return 1.0 if farther == 0 else 1 - nearer / (2 * farther)


def _anomaly(name: str, share: float, colour: tuple[int, int, int]) -> dict[str, Any]:
    return {
        "Name": name,
        "PixelAnomaly": {
            "TotalPercentageArea": share,
            "Color": "#" + "".join(f"{value:02X}" for value in colour),
        },
    }


def _mask(anomalous: np.ndarray[Any, np.dtype[np.bool_]]) -> bytes:
    picture = Image.fromarray(anomalous.astype(np.uint8), "P")
    picture.putpalette((*_NORMAL, *_ANOMALY))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _error(status: int, message: str) -> JSONResponse:
    status, kind = _ERRORS[max(known for known in _ERRORS if known <= status)]
    return JSONResponse(
        {"Message": message},
        status,
        {"x-amzn-ErrorType": kind, "x-amzn-RequestId": request_id()},
    )
