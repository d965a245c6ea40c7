"""Recording for many clients at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from patchbank.inspection.judging.wanted import Judged
from patchbank.inspection.verdicts import Inspection

_RECORDED_AT_ONCE = 16


class RecordingLine:
    """Records what was judged: what comes while a commit waits for the disk shares the next one.

    Parameters
    ----------
    record
        Records some inspections, all or none, and returns them as they are answered.
    """

    def __init__(self, record: Callable[[Sequence[Judged]], Sequence[Inspection]]) -> None:
        self._record = record
        self._thread = ThreadPoolExecutor(1, "patchbank-recording")
        self._waiting: list[tuple[Judged, asyncio.Future[Inspection]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._begun = 0

    @property
    def pending(self) -> int:
        """How many are being recorded, or wait for it."""
        return len(self._waiting) + self._begun

    async def recorded(self, judged: Judged) -> Inspection:
        """Return an inspection when it is recorded.

        Raises
        ------
        BankGoneError
            If the bank that judged it, or another of the same commit, is no more.
        """
        answer: asyncio.Future[Inspection] = asyncio.get_running_loop().create_future()
        self._waiting.append((judged, answer))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await answer

    async def _write(self) -> None:
        while self._waiting:
            some, self._waiting = (
                self._waiting[:_RECORDED_AT_ONCE], self._waiting[_RECORDED_AT_ONCE:]
            )  # fmt: skip
            self._begun = len(some)
            commit = asyncio.wrap_future(
                self._thread.submit(self._record, [judged for judged, _ in some])
            )
            await asyncio.wait([commit])
            self._begun = 0
            error = commit.exception()
            inspections = [None] * len(some) if error is not None else commit.result()
            for inspection, (_, answer) in zip(inspections, some, strict=True):
                # Whoever asked may have gone.
                if answer.done():
                    continue
                if inspection is not None:
                    answer.set_result(inspection)
                else:
                    assert error is not None
                    answer.set_exception(error)

    def close(self) -> None:
        """Wait for what was begun."""
        self._thread.shutdown()
