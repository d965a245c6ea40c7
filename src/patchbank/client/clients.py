"""The client that waits for each answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
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
    paged,
    read,
)
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

DEFAULT_TIMEOUT = 60.0
DEFAULT_RETRY_SECONDS = 30.0


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
        return self._ask(inspecting(category, image, key, options), InspectionAnswer)

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
        return self._ask(inspecting_batch(category, images, key, options), BatchAnswer).items

    def categories(self) -> list[CategoryBrief]:
        """Return all categories, by name."""
        return self._ask(listing(), CategoryList).items

    def inspections(self, category: str, **filters: object) -> Iterator[Recorded]:
        """Yield recorded inspections, newest first, page after page as they are asked for.

        Parameters
        ----------
        filters
            ``verdict`` (one or several), ``since``, ``until``, ``part``, ``station``, ``reviewed``.
        """
        return paged(
            lambda before: self._ask(inspection_page(category, filters, before), InspectionPage)
        )

    def inspection(self, category: str, inspection_id: int) -> Recorded:
        """Return all that was recorded of an inspection."""
        return self._ask(one_inspection(category, inspection_id), Recorded)

    def fit(
        self,
        category: str,
        images: Sequence[ImageFile] | None = None,
        *,
        folder: str | None = None,
        **options: Unpack[FitOptions],
    ) -> Job:
        """Begin to learn what good parts look like; return the job, for `wait`.

        Parameters
        ----------
        images
            Images of good parts, which are sent: their paths, or the contents of their files.
        folder
            Instead, a folder of the service's machine, below one of `patchbank serve --folder`.
        options
            ``false_alarm_rate``, ``review_rate``, ``image_size``, ``backbone``, ``group_by`` and
            ``screen``, as of `patchbank fit`.

        Raises
        ------
        ParameterError
            If neither images nor a folder are given, or both.
        ImageError
            If an image cannot be read.
        """
        return self._ask(beginning("fit", category, images, folder, options), Job)

    def calibrate(
        self,
        category: str,
        images: Sequence[ImageFile] | None = None,
        *,
        folder: str | None = None,
        **options: Unpack[CalibrateOptions],
    ) -> Job:
        """Begin to set a bank's limits from good images that it was not made of; return the job.

        Parameters
        ----------
        images, folder
            See `fit`, which raises the same.
        options
            ``false_alarm_rate``, ``review_rate`` and ``group_by``, as of `patchbank calibrate`.
        """
        return self._ask(beginning("calibrate", category, images, folder, options), Job)

    def check(
        self,
        category: str,
        images: Mapping[str, ImageFile] | None = None,
        *,
        folder: str | None = None,
        part_from: str | None = None,
    ) -> Job:
        """Begin to judge parts with known answers; return the job.

        Parameters
        ----------
        images
            Images by names such as ``good/PART/1.png`` and ``defect/PART/1.png``, which are sent.
        folder
            Instead, a folder of the service's machine; see `fit`, which raises the same.
        part_from
            Tells the part from a name, as of `patchbank check`.
        """
        options = {"part_from": part_from}
        return self._ask(beginning("check", category, images, folder, options), Job)

    def evaluate(
        self,
        category: str,
        folder: str,
        *,
        dataset: str = "mvtec",
        **options: Unpack[EvaluateOptions],
    ) -> Job:
        """Begin to evaluate a category of a data set; return the job. No bank is stored.

        Parameters
        ----------
        folder
            Of the service's machine; see `fit`.
        dataset
            How it is laid out, as of `patchbank evaluate`.
        options
            Those of `fit` without ``screen``.
        """
        return self._ask(evaluating(category, folder, dataset, options), Job)

    def import_anomalib(self, category: str, file: str, **options: Unpack[ImportOptions]) -> Job:
        """Begin to import a bank that Anomalib trained; return the job. Calibrate it then.

        Parameters
        ----------
        file
            Of the service's machine, below one of `patchbank serve --folder`.
        options
            ``backbone``, ``layers``, ``image_size``, ``center_crop``, ``image_score``,
            ``assume_defaults`` and ``replace``, as of `patchbank import-anomalib`.
        """
        return self._ask(importing(category, file, options), Job)

    def job(self, job: Job | int) -> Job:
        """Return how far a job is."""
        return self._ask(one_job(job), Job)

    def jobs(self, category: str | None = None) -> Iterator[Job]:
        """Yield the jobs of the last 30 days, newest first; of a category, or all."""
        return paged(lambda before: self._ask(job_page(category, before), JobPage))

    def wait(
        self,
        job: Job | int,
        *,
        progress: JobProgress | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> Job:
        """Return a job when it is done; an interrupt ends the waiting, not the job.

        Parameters
        ----------
        progress
            Called with the job after each look, of which there is one in `poll_seconds`.

        Raises
        ------
        ServiceError
            If it failed, or was cancelled or interrupted.
        """
        while True:
            found = self.job(job)
            if progress is not None:
                progress(found)
            if ended(found):
                return found
            time.sleep(poll_seconds)

    def cancel(self, job: Job | int) -> Job:
        """Cancel a job; it ends within seconds, and nothing of it is kept.

        Raises
        ------
        ServiceError
            If it has ended.
        """
        return self._ask(cancelling(job), Job)

    def download(self, url: str) -> bytes:
        """Return a picture, by its address in an answer's `urls`."""
        return checked(self.send(Call("GET", url, repeatable=True))).content

    def request(
        self, method: str, path: str, *, json: object = None, parameters: Parameters | None = None
    ) -> Any:
        """Return the JSON that another route answers; None if its answer is empty."""
        return document(self.send(other(method, path, json, parameters)))

    def _ask(self, call: Call, model: type[Answer]) -> Answer:
        return read(self.send(call), model)

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
