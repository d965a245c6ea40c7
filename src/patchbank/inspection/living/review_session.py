"""A review at a terminal: nobody waits for the bank, and nothing is lost by it."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from patchbank.errors import ParameterError, PatchbankError
from patchbank.inspection.living.add import AddReport
from patchbank.inspection.living.review import Reviewer
from patchbank.inspection.living.review_report import ReviewReport
from patchbank.inspection.verdicts import Inspection
from patchbank.store.reviews import OpenInspection, StoredReview


class _NotWantedError(Exception):
    """Ends the computation of an effect that nobody asks for any more."""


class ReviewSession:
    """Takes answers one after another while the bank is changed in the background.

    An answer is in the database before anything else happens. What an interrupted session did not
    do, `Reviewer.keep_promises` does later. Use it as a context manager, in one thread.
    """

    def __init__(self, reviewer: Reviewer) -> None:
        self._reviewer = reviewer
        self._looking = ThreadPoolExecutor(1, "patchbank-look")
        # One change at a time: each is a version of the bank.
        self._changing = ThreadPoolExecutor(1, "patchbank-change")
        self._looks: dict[int, tuple[int, Future[Inspection | None]]] = {}
        self._changes: dict[int, Future[ReviewReport]] = {}
        self._done = 0
        # What an answer would do is found out after the changes that come before it.
        self._effects: dict[int, Future[AddReport | None]] = {}
        self._effect_wanted = 0

    @property
    def waiting(self) -> int:
        """How many changes of the bank are still to be made."""
        return len(self._changes)

    def prepare(self, inspection: OpenInspection) -> None:
        """Judge an image that will be looked at next."""
        if inspection.inspection_id not in self._looks:
            future = self._looking.submit(self._reviewer.look, inspection)
            self._looks[inspection.inspection_id] = self._done, future

    def look(self, inspection: OpenInspection) -> Inspection | None:
        """Return what the present bank says of an image; see `Reviewer.look`."""
        self.prepare(inspection)
        made_after, future = self._looks.pop(inspection.inspection_id)
        found = future.result()
        if made_after != self._done:
            # The bank may have changed since.
            found = self._reviewer.look(inspection)
        self._effect_wanted = inspection.inspection_id
        if found is not None and self.doubt(found) is not None:
            self._effects[inspection.inspection_id] = self._changing.submit(
                self._foresee, inspection
            )
        return found

    def knows_effect(self, inspection: OpenInspection) -> bool:
        """Whether `effect` answers at once."""
        future = self._effects.get(inspection.inspection_id)
        return future is None or future.done()

    def effect(self, inspection: OpenInspection) -> AddReport | None:
        """Return what `good` would do to the bank; None if that is not known. See `look`."""
        future = self._effects.get(inspection.inspection_id)
        if future is None:
            return None
        try:
            return future.result()
        except PatchbankError:
            # Whoever answers is told by the change itself.
            return None

    def answered(self, inspection: OpenInspection) -> StoredReview | None:
        """Return the answer that somebody gave to an inspection meanwhile, if anybody did."""
        return self._reviewer.last_answer(inspection)

    def doubt(self, judged: Inspection) -> str | None:
        """Return why an image should be confirmed before it is added; see `Reviewer.doubt`."""
        return self._reviewer.doubt(judged)

    def answer(
        self,
        inspection: OpenInspection,
        answer: str,
        *,
        label: str | None = None,
        confirmed: bool = False,
        judged: Inspection | None = None,
    ) -> ReviewReport:
        """Record an answer; the bank is changed later. See `Reviewer.answer`.

        Raises
        ------
        ParameterError
            If somebody answered meanwhile, too.
        """
        reviewer, number = self._reviewer, inspection.inspection_id
        meanwhile = self.answered(inspection)
        if meanwhile is not None:
            raise ParameterError(
                f"inspection {number}: {meanwhile.actor} answered {meanwhile.describe()} meanwhile"
            )
        self._forget_effect(number)
        if answer != "good":
            return reviewer.answer(inspection, answer, label=label)
        reviewer.check(inspection, answer, confirmed=confirmed, judged=judged)
        done = reviewer.promise(inspection)
        if done is not None:
            return done
        self._changes[number] = self._changing.submit(reviewer.keep_promise, inspection)
        return ReviewReport(reviewer.category, number, inspection.image_name, answer, pending=True)

    def undo(self) -> StoredReview:
        """Undo the last answer; see `Reviewer.undo`."""
        reviews = self._reviewer.workspace.database.reviews
        last = next(iter(reviews.last(self._reviewer.category)), None)
        if last is not None:
            future = self._changes.pop(last.inspection_id, None)
            if future is not None and not future.cancel():
                future.result()
        undone = self._reviewer.undo(None if last is None else last.inspection_id)
        self._done += 1
        return undone

    def _foresee(self, inspection: OpenInspection) -> AddReport | None:
        number = inspection.inspection_id

        def go_on(stage: str, done: int, total: int) -> None:
            if self._effect_wanted != number:
                raise _NotWantedError

        try:
            return self._reviewer.foresee(inspection, progress=go_on)
        except _NotWantedError:
            return None

    def _forget_effect(self, number: int) -> None:
        """Let an effect that nobody asks for any more keep no change waiting."""
        self._effect_wanted = 0
        future = self._effects.pop(number, None)
        if future is not None:
            future.cancel()

    def news(self, *, wait: bool = False) -> list[ReviewReport]:
        """Return what was done in the background since the last call; `wait` for all of it.

        Raises
        ------
        PatchbankError
            If a change could not be made; its answer stays pending.
        """
        finished = [number for number, future in self._changes.items() if wait or future.done()]
        self._done += len(finished)
        return [self._changes.pop(number).result() for number in finished]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._effect_wanted = 0
        # What did not begin stays pending in the database.
        self._looking.shutdown(cancel_futures=True)
        self._changing.shutdown(cancel_futures=True)
