"""Changes of banks: one at a time, and those that follow from answers in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from patchbank.actors import acting_as
from patchbank.errors import AnsweredError, PatchbankError
from patchbank.inspection.living.review import Reviewer
from patchbank.inspection.living.review_report import ReviewReport
from patchbank.inspection.workspace import Workspace
from patchbank.memory.threads import on_cores
from patchbank.server.judging import Inspectors, JudgingPool
from patchbank.spelling import composed
from patchbank.store.reviews import OpenInspection

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

# Besides the change that is being made, so many requests for one wait.
_MOST_WAITING = 8


class Teaching:
    """Takes answers to inspections, and changes banks.

    An answer is in the database before anything else happens. That an image is good changes the
    bank later, in a thread of its own: nobody waits for it, and what a stop leaves undone is done
    after the next start.

    Parameters
    ----------
    pool
        Where images are judged.
    """

    def __init__(self, workspace: Workspace, inspectors: Inspectors, pool: JudgingPool) -> None:
        self._workspace, self._inspectors, self._pool = workspace, inspectors, pool
        self._changes = JudgingPool(1, _MOST_WAITING)
        self._one, self._answering = threading.Lock(), threading.Lock()
        self._thread = ThreadPoolExecutor(1, "patchbank-teaching")
        # Categories whose promises will be kept: what is to be done is in the database.
        self._queued: set[str] = set()
        self._closing = False

    def reviewer(self, category: str) -> Reviewer:
        """Return what takes answers to the inspections of a category.

        Raises
        ------
        UnknownCategoryError, NotFittedError, ExtractorMismatchError
            If it has no bank, or that cannot be used.
        """
        return self._inspectors.judge(
            category,
            lambda inspector: Reviewer(self._workspace, category, live=inspector.live),
        )

    async def change(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns, which changes a bank while nothing else does.

        Raises
        ------
        BusyError
            If too many others wait.
        """

        def alone(_: bool) -> Result:
            with self._one:
                return work()

        return await self._changes.run(alone)

    async def answer(
        self,
        category: str,
        inspection_id: int,
        answer: str,
        *,
        label: str | None = None,
        boxes: Sequence[str] = (),
        confirmed: bool = False,
        replace: bool = False,
    ) -> ReviewReport:
        """Record an answer; where it changes the bank, that is still pending then.

        Raises
        ------
        AnsweredError
            If there is an answer already, and it is not to be replaced.
        BusyError
            If too many images or changes are waiting.
        PatchbankError
            As `Reviewer.answer`.
        """

        def work(alone: bool = True) -> ReviewReport:
            with on_cores(alone):
                reviewer = self.reviewer(category)
                waiting = self._workspace.database.reviews.inspection(category, inspection_id)
                reviewer.check(waiting, answer, label=label, boxes=boxes, confirmed=confirmed)
                if replace and reviewer.last_answer(waiting) is not None:
                    reviewer.undo(inspection_id)
                with self._answering:
                    return self._answer(reviewer, waiting, answer, label, boxes)

        # What undoes an answer changes the bank, perhaps.
        return await (self.change(work) if replace else self._pool.run(work))

    def _answer(
        self,
        reviewer: Reviewer,
        waiting: OpenInspection,
        answer: str,
        label: str | None,
        boxes: Sequence[str],
    ) -> ReviewReport:
        number = waiting.inspection_id
        last = reviewer.last_answer(waiting)
        if last is not None:
            raise AnsweredError(
                f"inspection {number}: {last.actor} answered {last.describe()} already; undo that "
                "first, or replace it"
            )
        if answer != "good":
            return reviewer.answer(waiting, answer, label=label, boxes=boxes)
        done = reviewer.promise(waiting)
        if done is not None:
            return done
        self.keep_promises(reviewer.category)
        return ReviewReport(reviewer.category, number, waiting.image_name, answer, pending=True)

    def keep_promises(self, category: str) -> None:
        """Do in the background what is pending of a category."""
        category = composed(category)
        if category not in self._queued and not self._closing:
            self._queued.add(category)
            self._thread.submit(self._keep_promises, category)

    def close(self) -> None:
        """Wait for the change that is being made."""
        self._closing = True
        self._changes.close()
        self._thread.shutdown(cancel_futures=True)

    def _keep_promises(self, category: str) -> None:
        self._queued.discard(category)
        try:
            reviews = self._workspace.database.reviews
            pending = reviews.last(category, pending=True, limit=None)
            if not pending:
                return
            reviewer = self.reviewer(category)
        except PatchbankError as error:
            _log.warning("answers to inspections of %r are still to be taken: %s", category, error)
            return
        for review in reversed(pending):
            if self._closing:
                return
            try:
                with self._one, acting_as(review.actor):
                    waiting = reviews.inspection(category, review.inspection_id)
                    done = reviewer.keep_promise(waiting)
            except PatchbankError as error:
                _log.warning(
                    "what was answered to inspection %d of %r is still to be done: %s",
                    review.inspection_id, category, error,
                )  # fmt: skip
            else:
                _log.info("inspection %d of %r: %s", review.inspection_id, category, done.remarks)
