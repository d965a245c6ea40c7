"""Sending what is in the outbox, in a thread of the service or of a watcher."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from patchbank.errors import DatabaseError, DiskFullError, PatchbankError
from patchbank.inspection.keeping.recorded import RecordedInspection, recorded
from patchbank.inspection.workspace import Workspace
from patchbank.line.sinks.base import Outcome, Sink
from patchbank.line.sinks.configured import open_sink
from patchbank.line.sinks.csv_file import CsvSink
from patchbank.printable import counted, printable
from patchbank.store.inspections import Receipt
from patchbank.store.outbox import DueInspection, Outbox, Refusal, StoredSink

_log = logging.getLogger(__name__)

# Sent together.
_MOST = 100
# Between two looks, where nobody says that there is something.
_LOOK_SECONDS = 1.0
_GATHER_SECONDS = 0.02
# One process sends to a sink at a time; another takes over when it said nothing for so long.
_HOLD_SECONDS = 10.0
# Connections that nothing was sent by for so long are closed.
_IDLE_SECONDS = 60.0
# After failures it is tried again after 1 s, then later and later.
_LONGEST_WAIT = 60.0
# A single inspection that a receiver does not take, while it takes others.
_FIRST_RETRY, _LONGEST_RETRY = 5.0, 3600.0
_LONGEST_ERROR = 300
_LOSSES = (DatabaseError, DiskFullError)


class Deliverer:
    """Sends inspections to the sinks until it is closed; what is left then, the next one sends.

    Of several processes, one sends to a sink at a time. What was sent while the database could not
    be told is sent again.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._id = uuid.uuid4()
        self._loop = asyncio.new_event_loop()
        self._woken = asyncio.Event()
        self._closing = False
        self._sending: dict[int, asyncio.Task[None]] = {}
        # With the time of their last use.
        self._open: dict[int, tuple[Sink, float]] = {}
        self._thread = threading.Thread(target=self._run, name="patchbank-delivering", daemon=True)

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def begin(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something to send; may be called from any thread."""
        # Once it is closed, the next one sends.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._woken.set)

    def close(self) -> None:
        """Send what can be sent at once, and end."""
        if self._thread.is_alive():
            self._closing = True
            self.wake()
            self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._deliver())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    async def _deliver(self) -> None:
        while True:
            last = self._closing
            self._woken.clear()
            await self._tidy()
            try:
                held = await asyncio.to_thread(
                    self._outbox.hold, self._id, list(self._sending), _HOLD_SECONDS
                )
            except _LOSSES as error:
                _log.info("nothing is sent to sinks while the database is away: %s", error)
            else:
                self._begin_sending(held)
            if last:
                break
            await self._pause()
        await self._end()

    async def _pause(self) -> None:
        waiting = asyncio.create_task(self._woken.wait())
        await asyncio.wait(
            [waiting, *self._sending.values()],
            timeout=_LOOK_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )
        waiting.cancel()
        # Of a line that inspects all the time, several are sent together.
        await asyncio.sleep(_GATHER_SECONDS)

    async def _tidy(self) -> None:
        ended = {key: task for key, task in self._sending.items() if task.done()}
        for sink_id, task in ended.items():
            del self._sending[sink_id]
            if not task.cancelled() and (error := task.exception()) is not None:
                await self._fail_internally(sink_id, error)
        for sink_id, (sink, used) in list(self._open.items()):
            # A file has no connection, and knows on which drive it was.
            idle = sink_id not in self._sending and time.monotonic() - used > _IDLE_SECONDS
            if idle and not isinstance(sink, CsvSink):
                del self._open[sink_id]
                await sink.close()

    def _begin_sending(self, held: Sequence[StoredSink]) -> None:
        there = {stored.sink_id for stored in held}
        for sink_id, task in self._sending.items():
            if sink_id not in there:
                # It was removed, or another has taken over.
                task.cancel()
        for stored in held:
            if stored.sink_id not in self._sending:
                self._sending[stored.sink_id] = asyncio.create_task(self._send_all(stored))

    async def _end(self) -> None:
        # Each sends what is due, as long as that works.
        if self._sending:
            _, late = await asyncio.wait(self._sending.values(), timeout=_HOLD_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._sending.values(), return_exceptions=True)
        for sink, _ in self._open.values():
            await sink.close()
        try:
            await asyncio.to_thread(self._outbox.let_go, self._id)
        except _LOSSES as error:
            _log.info("others send to the sinks after %g s: %s", _HOLD_SECONDS, error)

    async def _send_all(self, stored: StoredSink) -> None:
        """Send what is due to a sink, until nothing is or nothing can be sent."""
        try:
            while await self._send_some(stored):
                pass
        except _LOSSES as error:
            # What was sent just now is sent again.
            _log.info("sink %r waits for the database: %s", stored.name, error)

    async def _send_some(self, stored: StoredSink) -> bool:
        due = await asyncio.to_thread(self._outbox.due, stored.sink_id, _MOST)
        if not due:
            return False
        found = await asyncio.to_thread(self._inspections, due)
        gone = [each for each in due if each.inspection_id not in found]
        there = [each for each in due if each.inspection_id in found]
        if gone:
            _log.warning(
                "sink %r: %s removed before they could be sent",
                stored.name, counted(len(gone), "inspection was", "inspections were"),
            )  # fmt: skip
        outcomes: list[Outcome] = []
        failure, wait = "", 0.0
        try:
            opened = self._open.get(stored.sink_id)
            sink = open_sink(stored) if opened is None else opened[0]
            self._open[stored.sink_id] = sink, time.monotonic()
            if there:
                outcomes = await sink.send([found[each.inspection_id] for each in there])
        except PatchbankError as error:
            # It may also be that what sends is not installed here.
            failure = str(error)
        delivered = [
            each for each, outcome in zip(there, outcomes, strict=False) if not outcome.error
        ]
        refused = [
            _refusal(each, outcome)
            for each, outcome in zip(there, outcomes, strict=False)
            if outcome.error
        ]
        await asyncio.to_thread(self._outbox.settle, stored.sink_id, [*gone, *delivered], refused)
        if refused and not delivered:
            # It takes nothing at all at the moment.
            failure, wait = refused[0].error, max(outcome.seconds for outcome in outcomes)
        if failure:
            await self._fail(stored, _short(failure), wait)
        return not failure

    async def _fail_internally(self, sink_id: int, error: BaseException) -> None:
        """Say in the list of sinks, too, that a fault of this program keeps one waiting."""
        _log.error("sink %d: internal error", sink_id, exc_info=error)
        reason = _short(f"internal error, see the log: {error!r}")
        with contextlib.suppress(*_LOSSES):
            await asyncio.to_thread(
                self._outbox.fail, sink_id, reason, seconds=0.0, most=_LONGEST_WAIT
            )

    async def _fail(self, stored: StoredSink, reason: str, wait: float) -> None:
        _log.warning("sink %r: nothing can be sent, it is tried again: %s", stored.name, reason)
        await asyncio.to_thread(
            self._outbox.fail, stored.sink_id, reason, seconds=wait, most=_LONGEST_WAIT
        )

    def _inspections(self, due: Sequence[DueInspection]) -> dict[int, RecordedInspection]:
        by_category: dict[tuple[int, str], list[Receipt]] = defaultdict(list)
        for each in due:
            receipt = Receipt(each.inspection_id, each.inspected_at)
            by_category[each.category_id, each.category].append(receipt)
        return {
            number: recorded(category, record)
            for (category_id, category), receipts in by_category.items()
            for number, record in self._workspace.database.inspections.several(
                category_id, receipts
            ).items()
        }

    @property
    def _outbox(self) -> Outbox:
        return self._workspace.database.outbox


def _refusal(due: DueInspection, outcome: Outcome) -> Refusal:
    wait = min(_FIRST_RETRY * 2.0 ** min(due.attempts, 20), _LONGEST_RETRY)
    # Not all again at the same moment.
    wait *= random.uniform(0.8, 1.2)
    return Refusal(due, _short(outcome.error or ""), max(wait, outcome.seconds))


def _short(text: str) -> str:
    return printable(text)[:_LONGEST_ERROR]
