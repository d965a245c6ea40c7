"""What is asked of the service, and how its answers are read: without a connection."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import ValidationError

from patchbank.errors import ImageError, ParameterError, ServiceAwayError, ServiceError
from patchbank.retry_after import seconds_to_wait
from patchbank.server.models import Model

Answer = TypeVar("Answer", bound=Model)
Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)

#: An image: its path, or the content of its file.
ImageFile = str | Path | bytes
Parameters = Mapping[str, object]
# Busy, or away behind a proxy: nothing was done, or it can be asked again.
_PASSING = frozenset((429, 502, 503, 504))
# Before the request was sent.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
#: Items of a page.
PAGE = 100
_IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE")
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0


@dataclass(frozen=True)
class Call:
    """A request.

    Attributes
    ----------
    repeatable
        Whether it may be sent again where nobody knows whether it arrived.
    """

    method: str
    path: str
    parameters: Parameters = field(default_factory=dict)
    json: object = None
    content: bytes | None = None
    # A content is bytes, or has `read`.
    files: Sequence[tuple[str, tuple[str, Any]]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False

    def to_httpx(self) -> dict[str, Any]:
        """Return the arguments of `httpx.Client.request`."""
        given = {key: value for key, value in self.parameters.items() if value is not None}
        return {
            "method": self.method,
            "url": self.path,
            "params": given,
            "json": self.json,
            "content": self.content,
            "files": self.files,
            "headers": self.headers,
        }


Attempts = Generator[Call | float, httpx.Response | httpx.TransportError | None, httpx.Response]


def attempts(call: Call, seconds: float) -> Attempts:
    """Yield the call, or how long to wait before the next; return the last answer.

    It is sent what came of the call: the answer, or the error of the connection.

    Raises
    ------
    ServiceAwayError
        If there was no answer within some seconds, or the call must not be sent again.
    """
    deadline = time.monotonic() + seconds
    wait = _FIRST_WAIT
    while True:
        outcome = yield call
        assert outcome is not None
        pause = wait * random.uniform(0.5, 1.5)
        if isinstance(outcome, httpx.Response):
            pause = max(pause, seconds_to_wait(outcome.headers.get("retry-after", "")))
            late = time.monotonic() + pause > deadline
            if not _passes(outcome) or not call.repeatable or late:
                return outcome
        elif (
            not (call.repeatable or isinstance(outcome, _NOT_SENT))
            or time.monotonic() + pause > deadline
        ):
            reason = str(outcome) or type(outcome).__name__
            raise ServiceAwayError(
                f"{call.method} {call.path}: the service cannot be reached: {reason}; check its "
                "URL, and whether it runs"
            ) from outcome
        yield pause
        wait = min(2 * wait, _LONGEST_WAIT)


def _passes(answer: httpx.Response) -> bool:
    """Whether the reason of an answer passes by itself; the service says then when to try again."""
    if answer.status_code not in _PASSING:
        return False
    of_the_service = answer.headers.get("content-type") == "application/problem+json"
    return not of_the_service or "retry-after" in answer.headers


def checked(answer: httpx.Response) -> httpx.Response:
    """Return an answer that is a success.

    Raises
    ------
    ServiceError
        If it is a problem.
    """
    if answer.is_success:
        return answer
    try:
        problem = answer.json()
        detail, kind = str(problem["detail"]), str(problem["type"])
    except (ValueError, KeyError, TypeError):
        # Of a proxy, or another service.
        detail, kind = f"{answer.request.url}: answered {answer.status_code}", ""
    raise ServiceError(detail, status=answer.status_code, problem=kind)


def read(answer: httpx.Response, model: type[Answer]) -> Answer:
    """Return an answer as its model; what a newer service says besides is left out.

    Raises
    ------
    ServiceError
        If it is a problem, or not what this service answers.
    """
    try:
        return model.model_validate_json(checked(answer).content, extra="ignore")
    except ValidationError as error:
        raise ServiceError(
            f"{answer.request.url}: the answer is not one of patchbank {_first(error)}; check the "
            "URL, and the version of the service",
            status=answer.status_code,
        ) from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"({'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']})"


def address(*names: object) -> str:
    """Return the path of what is below ``/v1/categories``."""
    return "/".join(("/v1/categories", *(quote(str(name), safe=":") for name in names)))


def inspecting(category: str, image: ImageFile, key: str | None, options: Parameters) -> Call:
    """Return the call that judges an image; it is recorded once however often it is sent."""
    content, name = content_of(image)
    return Call(
        "POST",
        address(category, "inspect"),
        {**options, "name": options.get("name") or name},
        content=content,
        headers={"idempotency-key": key or str(uuid.uuid4())},
        repeatable=True,
    )


def inspecting_batch(
    category: str, images: Sequence[ImageFile], key: str | None, options: Parameters
) -> Call:
    """Return the call that judges several images."""
    files = []
    for image in images:
        content, name = content_of(image)
        files.append(("image", (name or "image", content)))
    return Call(
        "POST",
        address(category, "inspect:batch"),
        options,
        files=files,
        headers={"idempotency-key": key or str(uuid.uuid4())},
        repeatable=True,
    )


def content_of(image: ImageFile) -> tuple[bytes, str | None]:
    """Return the content of an image's file, and its path.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    if isinstance(image, bytes):
        return image, None
    path = Path(image)
    with reading(path):
        return path.read_bytes(), path.as_posix()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say as an `ImageError` that an image's file cannot be read."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageError(f"{path}: {reason}; give the path of an image") from error


def listing() -> Call:
    """Return the call for all categories."""
    return Call("GET", address(), repeatable=True)


def inspection_page(category: str, filters: Parameters, before: int | None) -> Call:
    """Return the call for some recorded inspections."""
    parameters = {"limit": PAGE, **filters, "before": before}
    return Call("GET", address(category, "inspections"), parameters, repeatable=True)


def one_inspection(category: str, inspection_id: int) -> Call:
    """Return the call for a recorded inspection."""
    return Call("GET", address(category, "inspections", inspection_id), repeatable=True)


class Page(Protocol[Item_co]):
    """A page of a list."""

    @property
    def items(self) -> Sequence[Item_co]:
        """What is on it."""

    @property
    def next(self) -> int | None:
        """What asks for the page after it; None on the last one."""


def paged(ask: Callable[[int | None], Page[Item]]) -> Iterator[Item]:
    """Yield the items of a list, page after page as they are asked for."""
    before = None
    while True:
        page = ask(before)
        yield from page.items
        before = page.next
        if before is None:
            return


async def paged_async(ask: Callable[[int | None], Awaitable[Page[Item]]]) -> AsyncIterator[Item]:
    """As `paged`, for asyncio."""
    before = None
    while True:
        page = await ask(before)
        for item in page.items:
            yield item
        before = page.next
        if before is None:
            return


def other(method: str, path: str, json: object, parameters: Parameters | None) -> Call:
    """Return the call of another route."""
    method = method.upper()
    return Call(method, path, parameters or {}, json=json, repeatable=method in _IDEMPOTENT)


def document(answer: httpx.Response) -> Any:
    """Return the JSON of an answer that is a success; None if it is empty."""
    return checked(answer).json() if answer.content else None


def checked_url(url: str) -> str:
    """Return the address of a service.

    Raises
    ------
    ParameterError
        If it is no URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ParameterError(f"url {url!r}: must be like http://127.0.0.1:8420")
    if parts.username is not None or parts.password is not None:
        raise ParameterError("the url has a user or a password; give the key as `key` instead")
    return url.rstrip("/")


def headers_of(key: str | None) -> dict[str, str]:
    """Return the headers that show a key.

    Raises
    ------
    ParameterError
        If it cannot be one.
    """
    if key is None:
        return {}
    if not key.isascii() or not key.isprintable() or not key.strip():
        raise ParameterError("the key has other characters than `patchbank keys create` prints")
    return {"authorization": f"Bearer {key.strip()}"}
