"""Judging and recording what clients send."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from patchbank.errors import BankGoneError
from patchbank.inspection.judging.wanted import Judged
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from patchbank.server.feed import Feed
from patchbank.server.judging import Inspectors, JudgingPool
from patchbank.server.recent import RecentInspections
from patchbank.server.recording import RecordingLine


class Asked(NamedTuple):
    """An image to judge, as a client sent it; `arrived` is a time of `time.monotonic`."""

    content: bytes
    name: str
    part: str | None
    station: str | None
    top: int
    arrived: float


class Inspecting:
    """Judges images in the pool, records the inspections, and shows them to the pages."""

    def __init__(
        self,
        workspace: Workspace,
        inspectors: Inspectors,
        pool: JudgingPool,
        recording: RecordingLine,
        recent: RecentInspections,
        feed: Feed,
    ) -> None:
        self._workspace = workspace
        self._inspectors, self._pool = inspectors, pool
        self._recording = recording
        self._recent, self._feed = recent, feed

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

    def _show(self, inspection: Inspection) -> None:
        """Let the pages see what was recorded here."""
        self._recent.keep(inspection)
        self._feed.tell()
