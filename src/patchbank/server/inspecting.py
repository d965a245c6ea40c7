"""Judging and recording what clients send."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from patchbank.errors import BankGoneError, BusyError, ImageError
from patchbank.inspection.judging.recording import first_answer, record_once
from patchbank.inspection.judging.wanted import Judged
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from patchbank.line.delivering import Deliverer
from patchbank.printable import printable
from patchbank.server.answers import answer_of
from patchbank.server.feed import Feed
from patchbank.server.judging import Inspectors, JudgingPool
from patchbank.server.metrics import Metrics
from patchbank.server.recent import RecentInspections
from patchbank.server.recording import RecordingLine
from patchbank.store.answered_requests import RequestKey

_PATIENCE_SECONDS = 0.05


class Asked(NamedTuple):
    """An image to judge, as a client sent it; `arrived` is a time of `time.monotonic`."""

    content: bytes
    name: str
    part: str | None
    station: str | None
    top: int
    arrived: float


class Inspecting:
    """Judges images in the pool, records the inspections, and shows them to pages and sinks."""

    def __init__(
        self,
        workspace: Workspace,
        inspectors: Inspectors,
        pool: JudgingPool,
        recording: RecordingLine,
        recent: RecentInspections,
        feed: Feed,
        deliverer: Deliverer,
        metrics: Metrics,
    ) -> None:
        self._workspace = workspace
        self._inspectors, self._pool = inspectors, pool
        self._recording = recording
        self._recent, self._feed, self._deliverer = recent, feed, deliverer
        self._metrics = metrics

    async def inspect(self, category: str, asked: Asked) -> Inspection:
        """Judge an image by the bank of a category, and record the inspection.

        Raises
        ------
        BusyError
            If too many images are waiting.
        ImageError, PatchbankError
            See `Inspector.inspect`.
        """
        judged = await self._pool.run(partial(self._judge, category, asked))
        inspection = await self._recorded(category, asked, judged)
        self._show(inspection)
        return inspection

    async def inspect_once(
        self, category: str, asked: Asked, key: tuple[int, str]
    ) -> dict[str, Any]:
        """Return what `inspect` answers, or what was answered under the caller's key before.

        Raises
        ------
        ParameterError
            If another image or other parameters came under the key.
        """
        once = _request_key(asked, key)
        inspection, answer = await self._pool.run(partial(self._answer_once, category, asked, once))
        if inspection is not None:
            self._show(inspection)
        return answer

    async def inspect_batch(
        self, category: str, asked: Sequence[Asked], key: tuple[int, str] | None
    ) -> list[dict[str, Any]]:
        """Return what `inspect` or `inspect_once` answers for each image, or why it is refused.

        As many at once as the pool works on; they wait while others fill the pool.

        Raises
        ------
        BusyError
            If too many images are waiting when it begins.
        """
        self._pool.check_room()
        answers: list[dict[str, Any]] = [{}] * len(asked)
        numbers = iter(range(len(asked)))

        async def work() -> None:
            for number in numbers:
                image = asked[number]
                of_image = None if key is None else (key[0], f"{key[1]}\n{number}")
                answers[number] = await self._patiently(category, image, of_image)

        tasks = [asyncio.create_task(work()) for _ in range(min(self._pool.at_once, len(asked)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return answers

    async def _patiently(
        self, category: str, image: Asked, key: tuple[int, str] | None
    ) -> dict[str, Any]:
        while True:
            while self._pool.full:
                await asyncio.sleep(_PATIENCE_SECONDS)
            # A batch may take longer than a new bank does to come.
            image = image._replace(arrived=time.monotonic())
            try:
                if key is not None:
                    return await self.inspect_once(category, image, key)
                return answer_of(await self.inspect(category, image))
            except ImageError as error:
                return {"image": image.name, "refused": printable(str(error))}
            except BusyError:
                # Another was quicker.
                continue

    def _judge(self, category: str, asked: Asked, alone: bool) -> Judged:
        content, name, part, station, top, arrived = asked
        return self._inspectors.judge(
            category,
            lambda inspector: inspector.judge(
                content, name=name, part=part, station=station, top=top, alone=alone, since=arrived
            ),
        )

    async def _recorded(self, category: str, asked: Asked, judged: Judged) -> Inspection:
        try:
            return await self._recording.recorded(judged)
        except BankGoneError:
            # Rare: a bank was replaced or removed meanwhile. What is there now judges.
            return await self._pool.run(partial(self._inspect_alone, category, asked))

    def _inspect_alone(self, category: str, asked: Asked, alone: bool) -> Inspection:
        content, name, part, station, top, _ = asked
        return self._inspectors.judge(
            category,
            lambda inspector: inspector.inspect(
                content, name=name, part=part, station=station, top=top, alone=alone
            ),
        )

    def _answer_once(
        self, category: str, asked: Asked, once: RequestKey, alone: bool
    ) -> tuple[Inspection | None, dict[str, Any]]:
        """Return an inspection and its answer; without it the answer that was given before."""
        found = first_answer(self._workspace, category, once)
        if found is not None:
            return None, found
        given: list[dict[str, Any]] = []

        def answer(recorded: Inspection) -> dict[str, Any]:
            given.append(answer_of(recorded))
            return given[-1]

        try:
            judged = self._judge(category, asked, alone)
            inspection = record_once(self._workspace, judged, once, answer)
        except BankGoneError:
            judged = self._judge(category, asked._replace(arrived=time.monotonic()), alone)
            inspection = record_once(self._workspace, judged, once, answer)
        if inspection is not None:
            return inspection, given[-1]
        found = first_answer(self._workspace, category, once)
        if found is None:
            # Its category was removed, or a day went by, within this moment.
            raise BankGoneError
        return None, found

    def _show(self, inspection: Inspection) -> None:
        """Let the pages, the sinks and the metrics have what was recorded here."""
        self._metrics.inspected(inspection)
        self._recent.keep(inspection)
        self._feed.tell()
        self._deliverer.wake()


def _request_key(asked: Asked, key: tuple[int, str]) -> RequestKey:
    """Return the key of a request, which is its caller's own, and what tells it from others."""
    rest = json.dumps([asked.name, asked.part, asked.station, asked.top])
    return RequestKey(
        hashlib.sha256(f"{key[0]} {key[1]}".encode()).digest(),
        hashlib.sha256(hashlib.sha256(asked.content).digest() + rest.encode()).digest(),
    )
