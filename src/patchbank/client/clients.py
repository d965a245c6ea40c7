"""The clients: one that waits, and one for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Self

import httpx

from patchbank.client.calls import (
    Call,
    ImageFile,
    Parameters,
    address,
    attempts,
    checked,
    checked_url,
    headers_of,
    inspecting,
    inspecting_batch,
    read,
)
from patchbank.server.models.categories import CategoryBrief, CategoryList
from patchbank.server.models.inspecting import BatchAnswer, InspectionAnswer, RefusedImage
from patchbank.server.models.records import InspectionPage, Recorded

DEFAULT_TIMEOUT = 60.0
DEFAULT_RETRY_SECONDS = 30.0
_PAGE = 100
_IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE")


class Client:
    """A client of `patchbank serve`; may be used by several threads.

    While the service is busy, restarts, or its database is away, requests are sent again. An image
    is recorded once, however often it is sent.

    Parameters
    ----------
    url
        Such as ``http://127.0.0.1:8420``.
    key
        Of `patchbank keys create`; None for a service without keys.
    timeout
        Seconds that one attempt may take.
    retry_seconds
        Until when a request is sent again; 0 to send each once.

    Raises
    ------
    ParameterError
        If the URL or the key cannot be one.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        retry_seconds: float = DEFAULT_RETRY_SECONDS,
    ) -> None:
        self._retry_seconds = retry_seconds
        self._client = httpx.Client(
            base_url=checked_url(url), headers=headers_of(key), timeout=timeout
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def inspect(
        self,
        category: str,
        image: ImageFile,
        *,
        name: str | None = None,
        part: str | None = None,
        station: str | None = None,
        top: int | None = None,
        key: str | None = None,
    ) -> InspectionAnswer:
        """Judge an image by the bank of a category, and record the inspection.

        Parameters
        ----------
        image
            The path of an image, or the content of its file.
        name
            What it is called in the record; its path by default.
        part, station
            The part it shows, and where it was taken.
        top
            How many similar references to return.
        key
            The idempotency key: give your own if your program may send the same image again after
            it ended.

        Raises
        ------
        ServiceError, ServiceAwayError, ImageError
            If it is not judged; all methods raise the first two.
        """
        options = {"name": name, "part": part, "station": station, "top": top}
        return read(self.send(inspecting(category, image, key, options)), InspectionAnswer)

    def inspect_batch(
        self,
        category: str,
        images: Sequence[ImageFile],
        *,
        parts: Sequence[str] | None = None,
        station: str | None = None,
        top: int | None = None,
        key: str | None = None,
    ) -> list[InspectionAnswer | RefusedImage]:
        """Judge several images; return an answer for each, in their order.

        Parameters
        ----------
        parts
            One that all show, or one for each image.
        """
        options = {"part": parts, "station": station, "top": top}
        return read(self.send(inspecting_batch(category, images, key, options)), BatchAnswer).items

    def categories(self) -> list[CategoryBrief]:
        """Return all categories, by name."""
        return read(self.send(_listing()), CategoryList).items

    def inspections(self, category: str, **filters: object) -> Iterator[Recorded]:
        """Yield recorded inspections, newest first, page after page as they are asked for.

        Parameters
        ----------
        filters
            ``verdict`` (one or several), ``since``, ``until``, ``part``, ``station``, ``reviewed``.
        """
        before = None
        while True:
            page = read(self.send(_page(category, filters, before)), InspectionPage)
            yield from page.items
            before = page.next
            if before is None:
                return

    def inspection(self, category: str, inspection_id: int) -> Recorded:
        """Return all that was recorded of an inspection."""
        return read(self.send(_one(category, inspection_id)), Recorded)

    def download(self, url: str) -> bytes:
        """Return a picture, by its address in an answer's `urls`."""
        return checked(self.send(Call("GET", url, repeatable=True))).content

    def request(
        self, method: str, path: str, *, json: object = None, parameters: Parameters | None = None
    ) -> Any:
        """Return the JSON that another route answers; None if its answer is empty."""
        return _document(self.send(_other(method, path, json, parameters)))

    def send(self, call: Call) -> httpx.Response:
        """Send a call, again where that helps; return the answer, whatever it is."""
        steps = attempts(call, self._retry_seconds)
        step = next(steps)
        while True:
            outcome: httpx.Response | httpx.TransportError | None = None
            if isinstance(step, Call):
                try:
                    outcome = self._client.request(**step.to_httpx())
                except httpx.TransportError as error:
                    outcome = error
            else:
                time.sleep(step)
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                answer: httpx.Response = end.value
                return answer


class AsyncClient:
    """As `Client`, for asyncio."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        retry_seconds: float = DEFAULT_RETRY_SECONDS,
    ) -> None:
        self._retry_seconds = retry_seconds
        self._client = httpx.AsyncClient(
            base_url=checked_url(url), headers=headers_of(key), timeout=timeout
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def inspect(
        self,
        category: str,
        image: ImageFile,
        *,
        name: str | None = None,
        part: str | None = None,
        station: str | None = None,
        top: int | None = None,
        key: str | None = None,
    ) -> InspectionAnswer:
        """See `Client.inspect`."""
        options = {"name": name, "part": part, "station": station, "top": top}
        call = await asyncio.to_thread(inspecting, category, image, key, options)
        return read(await self.send(call), InspectionAnswer)

    async def inspect_batch(
        self,
        category: str,
        images: Sequence[ImageFile],
        *,
        parts: Sequence[str] | None = None,
        station: str | None = None,
        top: int | None = None,
        key: str | None = None,
    ) -> list[InspectionAnswer | RefusedImage]:
        """See `Client.inspect_batch`."""
        options = {"part": parts, "station": station, "top": top}
        call = await asyncio.to_thread(inspecting_batch, category, images, key, options)
        return read(await self.send(call), BatchAnswer).items

    async def categories(self) -> list[CategoryBrief]:
        """See `Client.categories`."""
        return read(await self.send(_listing()), CategoryList).items

    async def inspections(self, category: str, **filters: object) -> AsyncIterator[Recorded]:
        """See `Client.inspections`."""
        before = None
        while True:
            page = read(await self.send(_page(category, filters, before)), InspectionPage)
            for inspection in page.items:
                yield inspection
            before = page.next
            if before is None:
                return

    async def inspection(self, category: str, inspection_id: int) -> Recorded:
        """See `Client.inspection`."""
        return read(await self.send(_one(category, inspection_id)), Recorded)

    async def download(self, url: str) -> bytes:
        """See `Client.download`."""
        return checked(await self.send(Call("GET", url, repeatable=True))).content

    async def request(
        self, method: str, path: str, *, json: object = None, parameters: Parameters | None = None
    ) -> Any:
        """See `Client.request`."""
        return _document(await self.send(_other(method, path, json, parameters)))

    async def send(self, call: Call) -> httpx.Response:
        """See `Client.send`."""
        steps = attempts(call, self._retry_seconds)
        step = next(steps)
        while True:
            outcome: httpx.Response | httpx.TransportError | None = None
            if isinstance(step, Call):
                try:
                    outcome = await self._client.request(**step.to_httpx())
                except httpx.TransportError as error:
                    outcome = error
            else:
                await asyncio.sleep(step)
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                answer: httpx.Response = end.value
                return answer


def _listing() -> Call:
    return Call("GET", address(), repeatable=True)


def _page(category: str, filters: Parameters, before: int | None) -> Call:
    parameters = {"limit": _PAGE, **filters, "before": before}
    return Call("GET", address(category, "inspections"), parameters, repeatable=True)


def _one(category: str, inspection_id: int) -> Call:
    return Call("GET", address(category, "inspections", inspection_id), repeatable=True)


def _other(method: str, path: str, json: object, parameters: Parameters | None) -> Call:
    method = method.upper()
    return Call(method, path, parameters or {}, json=json, repeatable=method in _IDEMPOTENT)


def _document(answer: httpx.Response) -> Any:
    return checked(answer).json() if answer.content else None
