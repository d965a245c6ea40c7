"""What goes wrong, as problem documents (RFC 9457)."""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from patchbank import errors
from patchbank.files import is_disk_full
from patchbank.printable import printable
from patchbank.server.remedies import detail_of
from patchbank.server.request_ids import request_id

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

#: Makes a page of a title and a detail.
Page = Callable[[str, str], str]

# The nearest class counts; what is not here is the caller's mistake.
_STATUS: dict[type[errors.PatchbankError], int] = {
    errors.PatchbankError: 422,
    errors.AccessError: 401,
    errors.ForbiddenError: 403,
    errors.UnknownCategoryError: 404,
    errors.NotFoundError: 404,
    errors.DoubtError: 409,
    errors.AnsweredError: 409,
    errors.BankChangedError: 409,
    errors.NotFittedError: 409,
    errors.NotCalibratedError: 409,
    errors.CategoryExistsError: 409,
    errors.ExtractorMismatchError: 409,
    errors.BankGoneError: 409,
    errors.JobEndedError: 409,
    errors.BankInMakingError: 409,
    errors.LastAdminError: 409,
    errors.TooLargeError: 413,
    errors.TooSlowError: 408,
    errors.BusyError: 503,
    errors.DatabaseError: 503,
    errors.DiskFullError: 507,
    errors.MissingExtraError: 501,
}

_LASTING = (
    errors.DamagedBankError,
    errors.DatabaseTooNewError,
    errors.DatabaseUpgradeNeededError,
    errors.PgvectorMissingError,
)
_RETRY_SECONDS = 1
_LONGEST_VALUE = 100


class Problem(BaseModel):
    """A problem document: see RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Which kind of problem it is, for programs.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong, with which input, and what to do.")
    request_id: str = Field(description="The request's number in the service's log.")


_EXAMPLE = {
    "type": "urn:patchbank:problem:unknown-category",
    "title": "The category does not exist",
    "status": 404,
    "detail": "there is no category 'lether'; did you mean 'leather'?",
    "request_id": "5f3c1c1f0c0d4b5e",
}

#: For `responses` of routers: all that is not a success is a problem document.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": _EXAMPLE}
        },
    }
    for status, description in (
        ("4XX", "The request cannot be fulfilled as it is."),
        (422, "A value is not valid, or an image cannot be used."),
        (
            "5XX",
            "The service cannot answer now. With `Retry-After`, because it is busy or its database "
            "is away; without, somebody has to act first.",
        ),
    )
}


def install(app: FastAPI, page: Page) -> None:
    """Have an application answer every error with a problem document.

    Parameters
    ----------
    page
        Makes a page of its title and its detail, for browsers that open an address.
    """
    for kind, answer in (
        (errors.PatchbankError, _known),
        (HTTPException, _of_http),
        (RequestValidationError, _not_valid),
        (OSError, _of_system),
        (Exception, _unexpected),
    ):
        app.add_exception_handler(kind, partial(_answered, answer, page))


def status_of(error: errors.PatchbankError) -> int:
    """Return the HTTP status of an error."""
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def passes(error: errors.PatchbankError) -> bool:
    """Return whether the reason of a 503 passes by itself, rather than when somebody acts."""
    return not isinstance(error, _LASTING)


def problem(status: int, kind: str, title: str, detail: str, **more: Any) -> JSONResponse:
    """Return a problem document as a response."""
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    document = {
        "type": f"urn:patchbank:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id(),
        **more,
    }
    return JSONResponse(document, status, headers, MEDIA_TYPE)


def problem_of(error: errors.PatchbankError) -> JSONResponse:
    """Return an error of ours as a problem document."""
    kind = type(error)
    words = re.findall("[A-Z][a-z]+", kind.__name__.removesuffix("Error")) or ["patchbank"]
    status = status_of(error)
    answer = problem(status, "-".join(words).lower(), title_of(error), detail_of(error))
    if status == HTTPStatus.SERVICE_UNAVAILABLE and passes(error):
        answer.headers["Retry-After"] = str(_RETRY_SECONDS)
    return answer


def title_of(error: errors.PatchbankError) -> str:
    """Return what kind of error it is, in words."""
    return (inspect.getdoc(type(error)) or "").split(";")[0].removesuffix(".")


def _answered(
    answer: Callable[[Request, Exception], JSONResponse],
    page: Page,
    request: Request,
    error: Exception,
) -> Response:
    """Answer an error with a problem document; with a page where a browser opens an address."""
    found = answer(request, error)
    if "text/html" not in request.headers.get("accept", ""):
        return found
    document = json.loads(bytes(found.body))
    shown = HTMLResponse(page(document["title"], document["detail"]), found.status_code)
    shown.headers.update(
        {name: value for name, value in found.headers.items() if not name.startswith("content-")}
    )
    return shown


def _known(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.PatchbankError)
    if status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("%s", error)
    return problem_of(error)


def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    detail, headers = str(error.detail), dict(error.headers or {})
    path = request.scope["path"]
    address = f"{request.method} {printable(path)}"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Starlette names those of the first route of this address alone.
        headers["Allow"] = ", ".join(_methods(request, headers.get("Allow", "")))
        detail = f"{address}: the address takes {headers['Allow']}"
    elif error.status_code == HTTPStatus.NOT_FOUND and detail == title:
        detail = f"{address}: there is no such address; `GET /openapi.json` lists all"
    answer = problem(error.status_code, title.lower().replace(" ", "-"), title, detail)
    answer.headers.update(headers)
    return answer


def _methods(request: Request, given: str) -> list[str]:
    """Return the methods that the address of a request takes; of a page, those that are given."""
    pattern = getattr(request.scope.get("route"), "path", None)
    documented = request.app.openapi()["paths"].get(pattern, {})
    methods = {method.upper() for method in documented} or set(filter(None, given.split(", ")))
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _not_valid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [
        {
            "in": ".".join(str(part) for part in item["loc"]),
            "problem": item["msg"].removeprefix("Value error, "),
            "value": printable(repr(item.get("input"))[:_LONGEST_VALUE]),
        }
        for item in error.errors()
    ]
    first = found[0]
    return problem(
        422,
        "not-valid",
        "A value is not valid",
        f"{first['in']}: {first['problem'][:1].lower()}{first['problem'][1:]}",
        errors=found,
    )


def _of_system(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, OSError) and is_disk_full(error):
        return problem_of(errors.DiskFullError())
    return _unexpected(request, error)


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    _log.error("internal error: %s", type(error).__name__, exc_info=error)
    return problem(
        500,
        "internal-error",
        "Internal error",
        f"internal error; the service's log has the trace under request {request_id()}: report it",
    )
