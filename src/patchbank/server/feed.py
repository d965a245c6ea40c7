"""New inspections as they come, of this process and of others."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool

from patchbank.errors import DatabaseError
from patchbank.inspection.keeping.inspections import make_selection, newest
from patchbank.inspection.keeping.recorded import RecordedInspection
from patchbank.inspection.workspace import Workspace

# Between two looks at the database: others' inspections are seen after that.
_LOOK_SECONDS = 0.15
# A page that hears nothing for longer is cut off.
BEAT_SECONDS = 2.0
# Then a listener asks again.
LONGEST_SECONDS = 300.0
SHOWN = 20


class Feed:
    """Tells listeners of new inspections. Lives in one event loop.

    Listeners of one category and station share the questions to the database: there are none
    without listeners.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._looks: dict[tuple[str, str | None], asyncio.Task[list[RecordedInspection]]] = {}
        self._new = asyncio.Event()
        self._closed = False

    def tell(self) -> None:
        """Have everybody look now, as something was recorded here."""
        self._new.set()
        self._new = asyncio.Event()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self.tell()

    async def closed_within(self, seconds: float) -> bool:
        """Wait so long, or until all streams are to end; return whether they are."""
        end = asyncio.get_running_loop().time() + seconds
        while not self._closed:
            try:
                async with asyncio.timeout_at(end):
                    await self._new.wait()
            except TimeoutError:
                break
        return self._closed

    async def follow(
        self, category: str, station: str | None
    ) -> AsyncIterator[dict[str, Any] | None]:
        """Yield inspections, oldest first: the last ones, then new ones; None as a sign of life.

        A database that is away ends it.
        """
        seen: set[int] = set()
        loop = asyncio.get_running_loop()
        # That there are none yet is said at once.
        beat = -math.inf
        end = loop.time() + LONGEST_SECONDS
        while not self._closed and loop.time() < end:
            new = self._new
            try:
                found = await self._look(category, station)
            except DatabaseError:
                return
            unseen = [item for item in found if item.inspection_id not in seen]
            for item in reversed(unseen):
                yield item.to_json()
            seen = {item.inspection_id for item in found}
            if unseen:
                beat = loop.time()
            elif loop.time() - beat >= BEAT_SECONDS:
                beat = loop.time()
                yield None
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await new.wait()
            except TimeoutError:
                pass

    async def _look(self, category: str, station: str | None) -> list[RecordedInspection]:
        key = category, station
        look = self._looks.get(key)
        if look is None:
            selection = make_selection(station=station, limit=SHOWN)
            look = asyncio.create_task(
                run_in_threadpool(newest, self._workspace, category, selection)
            )
            self._looks[key] = look
            look.add_done_callback(lambda _: self._looks.pop(key, None))
        return await asyncio.shield(look)
