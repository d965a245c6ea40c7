"""A person answers to inspections that did not pass, and the answer teaches the bank."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from patchbank.actors import acting_as
from patchbank.errors import DoubtError, ImageError, NoImagesError, ParameterError
from patchbank.inspection.judging.defect_regions import pixels_in
from patchbank.inspection.judging.defects import new_defect, remove_defects
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.known_defects import (
    are_references,
    checked_label,
    known_label,
    recorded_defects,
)
from patchbank.inspection.judging.live_bank import LiveBank
from patchbank.inspection.living.add import AddReport, add
from patchbank.inspection.living.doubt import doubt
from patchbank.inspection.living.inspected_image import inspected_image
from patchbank.inspection.living.review_report import ReviewReport, changes_of
from patchbank.inspection.living.undo import undo_addition
from patchbank.inspection.living.withdraw import withdraw
from patchbank.inspection.settings import DEFAULT_EFFECT, THUMBNAIL_SIDE
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent
from patchbank.store.reviews import OpenInspection, StoredReview
from patchbank.vision.images import decode
from patchbank.vision.regions import Box

Answer = Literal["good", "defect", "skip"]

_SIMILAR = 3


def review_queue(
    workspace: Workspace, category: str, *, since: datetime | None = None, limit: int | None = None
) -> list[OpenInspection]:
    """Return the inspections that did not pass and have no answer yet, oldest first.

    Raises
    ------
    UnknownCategoryError
        If there is no such category.
    ParameterError
        If a value is out of range.
    """
    if limit is not None and limit < 1:
        raise ParameterError(f"limit {limit}: must be at least 1")
    return workspace.database.reviews.queue(category, since=since, limit=limit)


def queue_length(workspace: Workspace, category: str, *, since: datetime | None = None) -> int:
    """Return how many inspections `review_queue` has without a limit; it raises the same."""
    return workspace.database.reviews.count(category, since=since)


class Reviewer:
    """Takes answers to the inspections of a category.

    Parameters
    ----------
    workspace, category
        Whose inspections.
    pictures
        Folder for heatmaps of the images that are looked at.
    live
        The bank, where it is in memory already.

    Raises
    ------
    UnknownCategoryError, NotFittedError, ExtractorMismatchError
        If there is no bank, or this installation cannot use it.
    """

    def __init__(
        self,
        workspace: Workspace,
        category: str,
        *,
        pictures: Path | None = None,
        live: LiveBank | None = None,
    ) -> None:
        self.workspace, self.category = workspace, category
        self._pictures = pictures
        self._live = live or LiveBank(workspace, category)
        self._inspector = Inspector(workspace, category, record=False, live=self._live)

    def look(self, waiting: OpenInspection) -> Inspection | None:
        """Judge an inspected image by the present bank, unrecorded; None if it is gone."""
        source = inspected_image(self.workspace, waiting.category_id, waiting)
        if source is None:
            return None
        try:
            return self._inspector.inspect(
                source, name=waiting.image_name, top=_SIMILAR, heatmaps=self._pictures
            )
        except ImageError:
            return None

    def last_answer(self, waiting: OpenInspection) -> StoredReview | None:
        """Return the last answer to an inspection, whoever gave it; None if it has none."""
        reviews = self.workspace.database.reviews
        return next(iter(reviews.last(self.category, waiting.inspection_id)), None)

    def doubt(self, judged: Inspection) -> str | None:
        """Return why an image should be confirmed before it is added as good; None if no reason."""
        return doubt(
            judged.verdict,
            judged.times_the_limit or f"score {judged.score:.4g}",
            recorded_defects(self.workspace, self.category).get(judged.sha256),
            judged.probable_defect,
        )

    def foresee(
        self,
        waiting: OpenInspection,
        latest: int = DEFAULT_EFFECT,
        progress: Progress = silent,
    ) -> AddReport | None:
        """Return what `good` would do, with its effect on the last recorded inspections.

        None if that is nothing.
        """
        source = inspected_image(self.workspace, waiting.category_id, waiting)
        if source is None:
            return None
        try:
            return add(
                self.workspace,
                self.category,
                [source],
                names=[waiting.image_name],
                force=True,
                dry_run=True,
                effect=latest,
                progress=progress,
            )
        except NoImagesError:
            return None

    def answer(
        self,
        waiting: OpenInspection,
        answer: str,
        *,
        label: str | None = None,
        boxes: Sequence[str] = (),
        confirmed: bool = False,
        judged: Inspection | None = None,
    ) -> ReviewReport:
        """Record an answer, and do what follows from it.

        `good` adds the image to the bank, `defect` to the defect book, `skip` does nothing more. An
        earlier answer is undone first.

        Parameters
        ----------
        label
            Of a defect, which needs one.
        boxes
            Where the defect is, ``x,y,width,height`` in pixels or in per cent; by default where the
            bank finds it.
        confirmed
            Whether an image is added as good although there is a reason against it; see `doubt`.
        judged
            What `look` returned, if that was called.

        Raises
        ------
        ParameterError
            If the answer is unknown, its label is missing, or a box is invalid.
        DoubtError
            If it needs to be confirmed.
        ImageError
            If the image to add as good is gone.
        """
        self.check(waiting, answer, label=label, boxes=boxes, confirmed=confirmed, judged=judged)
        if self.last_answer(waiting) is not None:
            self.undo(waiting.inspection_id)
        if answer == "good":
            return self.promise(waiting) or self.keep_promise(waiting)
        if answer == "defect":
            assert label is not None
            return self._defect(waiting, *known_label(self.workspace, self.category, label), boxes)
        self._record(waiting, "skip")
        return self._report(waiting, "skip")

    def check(
        self,
        waiting: OpenInspection,
        answer: str,
        *,
        label: str | None = None,
        boxes: Sequence[str] = (),
        confirmed: bool = False,
        judged: Inspection | None = None,
    ) -> None:
        """Raise what `answer` raises before it does anything."""
        where = f"inspection {waiting.inspection_id}"
        if answer not in get_args(Answer):
            raise ParameterError(f"answer {answer!r}: must be good, defect or skip")
        if label is not None:
            checked_label(label)
        if answer == "defect" and label is None:
            raise ParameterError(f"{where}: a defect needs a label, for example crack")
        if answer != "defect" and label is not None:
            raise ParameterError(f"{where}: only a defect has a label; leave the label out")
        if answer != "defect" and boxes:
            raise ParameterError(f"{where}: only a defect has boxes; leave the boxes out")
        if boxes:
            self._marked(waiting, boxes)
        if answer != "good":
            return
        judged = judged or self.look(waiting)
        if judged is None:
            raise ImageError(
                f"{where}: the image {waiting.image_name} was not kept, and its file was moved, "
                "changed or deleted, so that it cannot be added to the bank; answer defect or skip "
                "(PATCHBANK_KEEP_IMAGES=not-pass keeps images)"
            )
        doubt = self.doubt(judged)
        if doubt is not None and not confirmed:
            raise DoubtError(
                f"{where}: {doubt}; look at the image again, and confirm with --yes "
                "(confirmed=True in Python) that it shows a good part"
            )

    def promise(self, waiting: OpenInspection) -> ReviewReport | None:
        """Record that an image is good; `keep_promise` then adds it to the bank.

        Where it is a reference already, nothing more is to be done, and the report is returned.
        """
        if self._reference(waiting) is None:
            self._record(waiting, "good", pending=True)
            return None
        self._record(waiting, "good")
        remark = f"{waiting.image_name} is a reference of the bank already"
        return self._report(waiting, "good", remarks=(remark,))

    def keep_promise(self, waiting: OpenInspection) -> ReviewReport:
        """Add an image that was said to be good to the bank.

        Another process may be doing the same, as one that takes over what this one has still to do.

        Raises
        ------
        PatchbankError
            If the bank cannot be changed; the answer stays pending.
        """
        last = self.last_answer(waiting)
        if last is None or not last.pending:
            remark = "the answer was undone" if last is None else "another process saw to it"
            added = None if last is None else last.added
            return self._report(waiting, "good", added=added, remarks=(remark,))
        source = inspected_image(self.workspace, waiting.category_id, waiting)
        added, remarks, report = None, [], None
        if source is None:
            remarks.append(f"{waiting.image_name} is gone and was not added to the bank")
        else:
            try:
                report = add(
                    self.workspace, self.category, [source], names=[waiting.image_name], force=True
                )
            except NoImagesError as error:
                # It was none when that was promised, so that it is one by the promise.
                added = self._reference(waiting)
                remarks += [] if added else [str(error)]
        if report is not None:
            added = report.added[0].name
            remarks += [changes_of(report), *report.remarks]
        version = None if report is None else report.bank_version
        self._record(waiting, "good", added=added, version=version)
        return self._report(
            waiting, "good", added=added, bank_version=version, remarks=tuple(remarks)
        )

    def keep_promises(self) -> list[ReviewReport]:
        """Do what an interrupted review had still to do; return what that did."""
        reviews = self.workspace.database.reviews
        reports = []
        for review in reversed(reviews.last(self.category, pending=True, limit=None)):
            with acting_as(review.actor):
                waiting = reviews.inspection(self.category, review.inspection_id)
                reports.append(self.keep_promise(waiting))
        return reports

    def undo(self, inspection_id: int | None = None, *, actor: str | None = None) -> StoredReview:
        """Undo the last answer, to an inspection or to any, by a person or by anybody.

        What followed is undone too: a reference that it added is withdrawn from the bank, a defect
        leaves the book. The inspection is in the queue again.

        Raises
        ------
        ParameterError
            If there is no answer to undo.
        """
        database = self.workspace.database
        last = next(iter(database.reviews.last(self.category, inspection_id, actor=actor)), None)
        if last is None:
            which = "" if actor is None else f" by {actor}"
            which += "" if inspection_id is None else f" to inspection {inspection_id}"
            raise ParameterError(f"category {self.category!r} has no answer{which} to undo")
        if last.added is not None and last.answer == "good":
            self._take_back(last.added, last.version)
        elif last.added is not None and any(
            defect.name == last.added for defect in database.defects.of_category(self.category)
        ):
            remove_defects(self.workspace, self.category, [last.added])
        database.reviews.add(self.category, last.inspection_id, "undone")
        return last

    def undone(self, inspection_id: int | None = None, *, actor: str | None = None) -> ReviewReport:
        """Undo an answer, and return that as a report; see `undo`."""
        number = self.undo(inspection_id, actor=actor).inspection_id
        waiting = self.workspace.database.reviews.inspection(self.category, number)
        return ReviewReport(self.category, number, waiting.image_name, "undone")

    def _take_back(self, name: str, version: int | None) -> None:
        """Take a reference out of the bank again, unless somebody did."""
        bank = self._live.refresh().stored
        if not any(image.name == name for image in bank.content.images):
            return
        if version is None or not undo_addition(self.workspace, self.category, version, name):
            withdraw(self.workspace, self.category, [name], force=True)

    def _reference(self, waiting: OpenInspection) -> str | None:
        """Return the name of the reference that is an inspected image; None if none is."""
        images = self._live.refresh().stored.content.images
        return next((image.name for image in images if image.sha256 == waiting.sha256), None)

    def _defect(
        self,
        waiting: OpenInspection,
        label: str,
        remarks: Sequence[str],
        boxes: Sequence[str],
    ) -> ReviewReport:
        """Record a defect, in the book if its image is there and not there already."""
        bank, source = (
            self._live.refresh(),
            inspected_image(self.workspace, waiting.category_id, waiting),
        )
        added: str | None = None
        try:
            extraction = (
                None
                if source is None
                else bank.extractor.extract_one(
                    source,
                    name=waiting.image_name,
                    limits=self.workspace.limits,
                    thumbnail_side=THUMBNAIL_SIDE,
                )
            )
        except ImageError:
            extraction = None
        known = self.workspace.database.defects.of_category(self.category)
        if extraction is None:
            remarks = [
                f"{waiting.image_name} was not kept, and its file was moved, changed or deleted: "
                "the answer is recorded, but the defect book has nothing to compare with"
            ]
        elif same := [
            item.name
            for item in known
            if (item.sha256, item.label) == (extraction.image.sha256, label)
        ]:
            remarks = [*remarks, f"the defect book has this image already, as {same[0]}"]
        else:
            added = waiting.image_name
            if any(item.name == added for item in known):
                added = f"{added} (inspection {waiting.inspection_id})"
            origin = None if isinstance(source, bytes) else str(Path(str(source)).absolute())
            marked = self._marked(waiting, boxes) if boxes else None
            defect = new_defect(bank, added, label, extraction, origin=origin, marked=marked)
            self.workspace.database.defects.add(self.category, bank.extractor.fingerprint, [defect])
            remarks = [*remarks, *are_references(bank, [defect])]
        self._record(waiting, "defect", label=label, added=added)
        return self._report(waiting, "defect", label=label, added=added, remarks=tuple(remarks))

    def _marked(self, waiting: OpenInspection, boxes: Sequence[str]) -> NDArray[np.bool_] | None:
        """Return which pixels of an image are in boxes; None if the image is gone."""
        parsed = [Box.parse(box) for box in boxes]
        source = inspected_image(self.workspace, waiting.category_id, waiting)
        if source is None:
            return None
        image = decode(source, limits=self.workspace.limits)
        return pixels_in(parsed, waiting.image_name, image.width, image.height)

    def _report(self, waiting: OpenInspection, answer: Answer, **details: Any) -> ReviewReport:
        return ReviewReport(
            self.category, waiting.inspection_id, waiting.image_name, answer, **details
        )

    def _record(self, waiting: OpenInspection, answer: Answer, **details: Any) -> None:
        self.workspace.database.reviews.add(self.category, waiting.inspection_id, answer, **details)
