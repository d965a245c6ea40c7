"""Judging for many clients at once, in a bounded pool of threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from patchbank.errors import (
    BusyError,
    DamagedBankError,
    DownloadError,
    ExtractorMismatchError,
    MissingExtraError,
    MissingWeightsError,
    NotCalibratedError,
    NotFittedError,
    PatchbankError,
    QuantisationError,
    UnknownBackboneError,
    UnknownCategoryError,
    WeightsError,
)
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.live_bank import LiveBank, ReadyBank
from patchbank.inspection.workspace import Workspace
from patchbank.spelling import composed
from patchbank.store.inspections import InspectionRecord

Result = TypeVar("Result")

# Nothing that a client sends is the reason of these: the bank, or what is installed here.
_UNUSABLE = (
    DamagedBankError,
    DownloadError,
    ExtractorMismatchError,
    MissingExtraError,
    MissingWeightsError,
    NotCalibratedError,
    QuantisationError,
    UnknownBackboneError,
    WeightsError,
)


class JudgingPool:
    """Runs work on images: a few at once, some more wait, others are refused.

    Parameters
    ----------
    at_once
        How many images are worked on at once.
    most_waiting
        How many more may wait.
    beside
        Gives how many places are taken by images whose work here is done.
    """

    def __init__(
        self, at_once: int, most_waiting: int, beside: Callable[[], int] = lambda: 0
    ) -> None:
        self._at_once, self._most, self._beside = at_once, at_once + most_waiting, beside
        self._threads = ThreadPoolExecutor(at_once, "patchbank-judging")
        self._lock = threading.Lock()
        self._taken = self._refused = 0

    @property
    def full(self) -> bool:
        """Whether one more would be refused."""
        return self.taken >= self._most

    @property
    def refused(self) -> int:
        """How many images were refused so far."""
        return self._refused

    @property
    def taken(self) -> int:
        """How many images are worked on or waiting."""
        return self._taken + self._beside()

    @property
    def room(self) -> int:
        """How many images there may be at most."""
        return self._most

    @property
    def at_once(self) -> int:
        """How many images are worked on at once."""
        return self._at_once

    def check_room(self) -> None:
        """Raise `BusyError` if too many images are waiting."""
        if self.full:
            self._refused += 1
            raise BusyError(f"the service is busy with {self.taken} images; try again in a second")

    async def run(self, work: Callable[[bool], Result], *, let_in: bool = False) -> Result:
        """Run `work` in a thread; it is told whether no other image is there at the moment.

        Parameters
        ----------
        let_in
            Whether it is a part of a request that was let in before, and is not refused any more.

        Raises
        ------
        BusyError
            If too many images are waiting.
        """
        with self._lock:
            if not let_in:
                self.check_room()
            self._taken += 1
        context = contextvars.copy_context()
        try:
            future = self._threads.submit(context.run, lambda: work(self._taken == 1))
        except RuntimeError:
            self._leave()
            raise
        # Whoever asked may have gone: what was begun is finished, and what waits never begins.
        # Either way the place is free then, and before the answer is there.
        future.add_done_callback(lambda _: self._leave())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Wait for what was begun."""
        self._threads.shutdown()

    def _leave(self) -> None:
        with self._lock:
            self._taken -= 1


class Inspectors:
    """An inspector for each category that was asked for, each made once. Thread-safe.

    Parameters
    ----------
    most
        How many banks stay in memory; the one that nobody asked for the longest goes.
    """

    def __init__(self, workspace: Workspace, most: int) -> None:
        self._workspace, self._most = workspace, most
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        self._ready: dict[str, Inspector] = {}
        self._unusable: dict[str, PatchbankError] = {}
        # Of the versions that do not judge any more, the one that was asked for last.
        self._earlier: ReadyBank | None = None

    @property
    def ready(self) -> dict[str, Inspector]:
        """Those in memory, by category."""
        with self._lock:
            return dict(self._ready)

    @property
    def unusable(self) -> dict[str, PatchbankError]:
        """Why banks could not judge when they were asked last, by category."""
        with self._lock:
            return dict(self._unusable)

    def of(self, category: str) -> Inspector:
        """Return the inspector of a category.

        Raises
        ------
        UnknownCategoryError, NotFittedError, ExtractorMismatchError
            If it cannot be judged by.
        """
        category = composed(category)
        found = self._take(category)
        if found is not None:
            return found
        with self._lock:
            making = self._making.setdefault(category, threading.Lock())
        try:
            with making:
                found = self._take(category)
                if found is None:
                    found = Inspector(self._workspace, category, deliver=True)
                    self._keep(category, found)
                return found
        finally:
            with self._lock:
                self._making.pop(category, None)

    def judge(self, category: str, work: Callable[[Inspector], Result]) -> Result:
        """Return what `work` makes of a category's inspector; one that has no bank is forgotten."""
        name = composed(category)
        try:
            result = work(self.of(category))
        except (UnknownCategoryError, NotFittedError):
            with self._lock:
                self._ready.pop(name, None)
                self._unusable.pop(name, None)
            raise
        except _UNUSABLE as error:
            with self._lock:
                self._unusable[name] = error
            raise
        if self._unusable:
            with self._lock:
                self._unusable.pop(name, None)
        return result

    def that_judged(self, category: str, inspection: InspectionRecord) -> ReadyBank:
        """Return the version of a bank that judged an inspection, from memory where it is there.

        Raises
        ------
        BankGoneError, ExtractorMismatchError
            If it is not kept any more, or cannot be judged by.
        """
        key = inspection.category_id, inspection.bank_version
        with self._lock:
            earlier = self._earlier
            inspector = self._ready.get(composed(category))
        for bank in (earlier, None if inspector is None else inspector.ready):
            if bank is not None and (bank.stored.key.category_id, bank.stored.version) == key:
                return bank
        found = LiveBank(self._workspace, category, version=inspection.bank_version).ready
        with self._lock:
            self._earlier = found
        return found

    def _take(self, category: str) -> Inspector | None:
        with self._lock:
            found = self._ready.pop(category, None)
            if found is not None:
                self._ready[category] = found
            return found

    def _keep(self, category: str, inspector: Inspector) -> None:
        with self._lock:
            self._ready[category] = inspector
            if len(self._ready) > self._most:
                del self._ready[next(iter(self._ready))]
