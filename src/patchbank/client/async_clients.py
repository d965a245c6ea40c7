"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self, Unpack

import httpx

from patchbank.client.calls import (
    Answer,
    Call,
    ImageFile,
    Parameters,
    attempts,
    checked,
    checked_url,
    document,
    headers_of,
    inspecting,
    inspecting_batch,
    inspection_page,
    listing,
    one_inspection,
    other,
    paged_async,
    read,
)
from patchbank.client.clients import DEFAULT_RETRY_SECONDS, DEFAULT_TIMEOUT
from patchbank.client.jobs import (
    POLL_SECONDS,
    CalibrateOptions,
    EvaluateOptions,
    FitOptions,
    ImportOptions,
    JobProgress,
    beginning,
    cancelling,
    ended,
    evaluating,
    importing,
    job_page,
    one_job,
)
from patchbank.server.models.categories import CategoryBrief, CategoryList
from patchbank.server.models.inspecting import BatchAnswer, InspectionAnswer, RefusedImage
from patchbank.server.models.jobs import Job, JobPage
from patchbank.server.models.records import InspectionPage, Recorded


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
        return await self._ask(call, InspectionAnswer)

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
        return (await self._ask(call, BatchAnswer)).items

    async def categories(self) -> list[CategoryBrief]:
        """See `Client.categories`."""
        return (await self._ask(listing(), CategoryList)).items

    def inspections(self, category: str, **filters: object) -> AsyncIterator[Recorded]:
        """See `Client.inspections`."""
        return paged_async(
            lambda before: self._ask(inspection_page(category, filters, before), InspectionPage)
        )

    async def inspection(self, category: str, inspection_id: int) -> Recorded:
        """See `Client.inspection`."""
        return await self._ask(one_inspection(category, inspection_id), Recorded)

    async def fit(
        self,
        category: str,
        images: Sequence[ImageFile] | None = None,
        *,
        folder: str | None = None,
        **options: Unpack[FitOptions],
    ) -> Job:
        """See `Client.fit`."""
        call = await asyncio.to_thread(beginning, "fit", category, images, folder, options)
        return await self._ask(call, Job)

    async def calibrate(
        self,
        category: str,
        images: Sequence[ImageFile] | None = None,
        *,
        folder: str | None = None,
        **options: Unpack[CalibrateOptions],
    ) -> Job:
        """See `Client.calibrate`."""
        call = await asyncio.to_thread(beginning, "calibrate", category, images, folder, options)
        return await self._ask(call, Job)

    async def check(
        self,
        category: str,
        images: Mapping[str, ImageFile] | None = None,
        *,
        folder: str | None = None,
        part_from: str | None = None,
    ) -> Job:
        """See `Client.check`."""
        options = {"part_from": part_from}
        call = await asyncio.to_thread(beginning, "check", category, images, folder, options)
        return await self._ask(call, Job)

    async def evaluate(
        self,
        category: str,
        folder: str,
        *,
        dataset: str = "mvtec",
        **options: Unpack[EvaluateOptions],
    ) -> Job:
        """See `Client.evaluate`."""
        return await self._ask(evaluating(category, folder, dataset, options), Job)

    async def import_anomalib(
        self, category: str, file: str, **options: Unpack[ImportOptions]
    ) -> Job:
        """See `Client.import_anomalib`."""
        return await self._ask(importing(category, file, options), Job)

    async def job(self, job: Job | int) -> Job:
        """See `Client.job`."""
        return await self._ask(one_job(job), Job)

    def jobs(self, category: str | None = None) -> AsyncIterator[Job]:
        """See `Client.jobs`."""
        return paged_async(lambda before: self._ask(job_page(category, before), JobPage))

    async def wait(
        self,
        job: Job | int,
        *,
        progress: JobProgress | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> Job:
        """See `Client.wait`."""
        while True:
            found = await self.job(job)
            if progress is not None:
                progress(found)
            if ended(found):
                return found
            await asyncio.sleep(poll_seconds)

    async def cancel(self, job: Job | int) -> Job:
        """See `Client.cancel`."""
        return await self._ask(cancelling(job), Job)

    async def download(self, url: str) -> bytes:
        """See `Client.download`."""
        return checked(await self.send(Call("GET", url, repeatable=True))).content

    async def request(
        self, method: str, path: str, *, json: object = None, parameters: Parameters | None = None
    ) -> Any:
        """See `Client.request`."""
        return document(await self.send(other(method, path, json, parameters)))

    async def _ask(self, call: Call, model: type[Answer]) -> Answer:
        return read(await self.send(call), model)

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
