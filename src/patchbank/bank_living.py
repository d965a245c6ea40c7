"""What changes a bank, or tells how its world changes, in Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchbank.inspection.keeping.moments import Moment, moment
from patchbank.inspection.living.add import AddReport, add, add_paths
from patchbank.inspection.living.drift import DriftReport, find_drift
from patchbank.inspection.living.history import history
from patchbank.inspection.living.quarantine import dismiss, quarantined
from patchbank.inspection.living.review import Reviewer, review_queue
from patchbank.inspection.living.review_report import ReviewReport
from patchbank.inspection.living.undo import UndoReport, undo
from patchbank.inspection.living.withdraw import WithdrawReport, withdraw
from patchbank.inspection.settings import DEFAULT_EFFECT, DriftBase
from patchbank.inspection.sources import found_sources
from patchbank.inspection.workspace import Workspace
from patchbank.memory.drift import DEFAULT_IMAGES_PER_FALSE_ALARM
from patchbank.progress import Progress, silent
from patchbank.store.reviews import OpenInspection
from patchbank.vision.decoded_image import ImageSource

if TYPE_CHECKING:
    from patchbank.inspection.living.likeness import LikenessReport
    from patchbank.inspection.measuring.costs import Costs
    from patchbank.inspection.measuring.threshold_report import ThresholdReport


class BankLiving:
    """The part of `Bank` that changes it image by image."""

    category: str
    _workspace: Workspace

    def add(
        self,
        images: str | Path | Iterable[ImageSource],
        *,
        names: Sequence[str] | None = None,
        force: bool = False,
        dry_run: bool = False,
        effect: int = DEFAULT_EFFECT,
        budget: int | None = None,
        group_by: str | None = None,
        report: str | Path | None = None,
        progress: Progress = silent,
    ) -> AddReport:
        """Add images of good parts to the bank, without fitting it again.

        Only patches are added that the bank does not represent yet. Running inspectors, of other
        processes too, use the new version from their next image on.

        Parameters
        ----------
        images
            A folder, a glob, or a list of paths, bytes, PIL images or arrays.
        names
            Their names, one for each.
        force
            Whether images are added too that fail by the bank; otherwise they are held in
            quarantine.
        dry_run
            Whether nothing is changed: the report says what would be.
        effect
            Of how many of the last recorded inspections the verdicts before and after are compared.
        budget
            How many patches the bank may have before they are chosen anew; by default that of the
            settings.
        group_by
            Which images depend on one another, as for `fit`: added images join the groups of
            references. By default the rule of the fit, if that was a pattern or a folder.
        report
            Folder for heatmaps of the images held and of inspections whose verdict changes.

        Raises
        ------
        PatchbankError
            If there is no bank, or none of the images can be used.
        """
        sources, found = found_sources(images, good_only=not force)
        return add(
            self._workspace,
            self.category,
            sources,
            names=names,
            found=found,
            force=force,
            dry_run=dry_run,
            effect=effect,
            budget=budget,
            group_by=group_by,
            report=None if report is None else Path(report),
            progress=progress,
        )

    def add_held(
        self,
        *,
        effect: int = DEFAULT_EFFECT,
        progress: Progress = silent,
    ) -> AddReport:
        """Add all images in quarantine: you confirm that they show good parts.

        Parameters
        ----------
        effect
            As in `add`.

        Raises
        ------
        PatchbankError
            If no image is held, or one has another content than when it was held.
        """
        return add_paths(
            self._workspace,
            self.category,
            (),
            held=True,
            force=True,
            effect=effect,
            progress=progress,
        )

    def quarantine(self) -> list[dict[str, Any]]:
        """Return the images that `add` held because they fail, the oldest first.

        Raises
        ------
        UnknownCategoryError
            If the category does not exist.
        """
        return quarantined(self._workspace, self.category)

    def dismiss(self, images: str | Sequence[str]) -> list[str]:
        """Take images out of the quarantine without adding them; return their names.

        Raises
        ------
        PatchbankError
            If an image is not held.
        """
        names = [images] if isinstance(images, str) else list(images)
        return dismiss(self._workspace, self.category, names)

    def withdraw(
        self,
        images: str | Path | Sequence[str | Path],
        *,
        force: bool = False,
        progress: Progress = silent,
    ) -> WithdrawReport:
        """Withdraw references from the bank, and restore what others lose with them.

        Parameters
        ----------
        images
            References, each by its name, its path or its file's name.
        force
            Whether fewer than five references may remain; two are needed in any case.

        Raises
        ------
        PatchbankError
            If there is no bank, an image is not a reference, or too few would remain.
        """
        given = [images] if isinstance(images, str | Path) else images
        names = [str(image) for image in given]
        return withdraw(self._workspace, self.category, names, force=force, progress=progress)

    def undo(self, version: int | None = None) -> UndoReport:
        """Undo the last change of the bank, or go back to a version; undoing again goes further.

        Raises
        ------
        PatchbankError
            If there is nothing to undo, or the version is no longer kept.
        """
        return undo(self._workspace, self.category, version)

    def history(self) -> list[dict[str, Any]]:
        """Return the versions of the bank, newest first: cause, actor, what came and went.

        Raises
        ------
        UnknownCategoryError
            If the category does not exist.
        """
        return history(self._workspace, self.category)

    def drift(
        self,
        *,
        days: float | None = None,
        station: str | None = None,
        base: DriftBase = "references",
        images_per_false_alarm: float = DEFAULT_IMAGES_PER_FALSE_ALARM,
        report: str | Path | None = None,
        progress: Progress = silent,
    ) -> DriftReport:
        """Tell whether the inspected images have changed, and which would best be added.

        Parameters
        ----------
        days
            Report changes of the last days only; None for all since the fit.
        station
            Only inspections of this station.
        base
            ``"inspections"`` to compare with the first inspections of the period alone, instead of
            with the references and all inspections before: after a change that is meant to stay.
        images_per_false_alarm
            While nothing changes, at most one false alarm in so many inspections, on average.
        report
            Folder for a page with pictures.

        Raises
        ------
        PatchbankError
            If there is no bank, a value is out of range, or the page cannot be written.
        """
        return find_drift(
            self._workspace,
            self.category,
            days=days,
            station=station,
            base=base,
            images_per_false_alarm=images_per_false_alarm,
            report=None if report is None else Path(report),
            progress=progress,
        )

    def thresholds(
        self,
        *,
        defects: Sequence[str | Path] = (),
        recorded_defects: bool = False,
        costs: Costs | None = None,
        report: str | Path | None = None,
        progress: Progress = silent,
    ) -> ThresholdReport:
        """Return what the thresholds in use promise, and what others would change.

        Parameters
        ----------
        defects
            Folders, images or globs of parts with a defect, to say how many fail.
        recorded_defects
            Whether to judge the recorded defects too.
        costs
            What mistakes cost, for a proposal; needs defects.
        report
            Folder for a page with the histogram of scores.

        Raises
        ------
        PatchbankError
            If there is no bank, no defect can be judged, or the page cannot be written.
        """
        from patchbank.inspection.measuring.threshold_curve import threshold_report

        return threshold_report(
            self._workspace,
            self.category,
            defects=defects,
            recorded_defects=recorded_defects,
            costs=costs,
            report=None if report is None else Path(report),
            progress=progress,
        )

    def use_likeness(self, on: bool = True, *, progress: Progress = silent) -> LikenessReport:
        """Let likeness to the recorded defects change scores, or switch that off.

        What distinguishes the defects from the references is fitted to those recorded now, as a new
        version of the bank; `undo` takes it back. Running inspectors use it from their next image
        on.

        Raises
        ------
        PatchbankError
            If there are too few defects or references, or it is off already; nothing is changed.
        """
        from patchbank.inspection.living.likeness import use_likeness

        return use_likeness(self._workspace, self.category, on=on, progress=progress)

    def set_thresholds(
        self,
        *,
        false_alarm_rate: float | None = None,
        review_rate: float | None = None,
        estimate: bool = False,
        fail_above: float | None = None,
        pass_below: float | None = None,
    ) -> ThresholdReport:
        """Set the thresholds by rates or as scores, without a fit; return what they promise.

        Running inspectors, of other processes too, use them from their next image on.

        Parameters
        ----------
        false_alarm_rate, review_rate
            Shares of good images that may fail, and go to review besides; what is None stays.
        estimate
            Whether to estimate the threshold where there are too few images to promise the rate.
        fail_above, pass_below
            The thresholds as scores. `fail_above` alone is one threshold, without a review.

        Raises
        ------
        PatchbankError
            If nothing is given, or a value is out of range; nothing is changed then.
        """
        from patchbank.inspection.measuring.new_limits import NewLimits
        from patchbank.inspection.measuring.threshold_curve import threshold_report

        new = NewLimits(false_alarm_rate, review_rate, estimate, fail_above, pass_below)
        return threshold_report(self._workspace, self.category, new=new.required())

    def queue(
        self, *, since: Moment | None = None, limit: int | None = None
    ) -> list[OpenInspection]:
        """Return recorded inspections that did not pass and have no answer yet, oldest first.

        Parameters
        ----------
        since
            From this time on, as in `inspections`.
        limit
            How many at most.

        Raises
        ------
        ParameterError
            If a value is out of range.
        UnknownCategoryError
            If the category does not exist.
        """
        begin = None if since is None else moment(since, "since", now=datetime.now().astimezone())
        return review_queue(self._workspace, self.category, since=begin, limit=limit)

    def review(
        self,
        inspection_id: int,
        answer: str,
        *,
        label: str | None = None,
        boxes: Sequence[str] = (),
        confirmed: bool = False,
    ) -> ReviewReport:
        """Answer to an inspection, in place of an earlier answer.

        Parameters
        ----------
        answer
            ``"good"`` adds its image to the bank, ``"defect"`` to the defect book, ``"skip"`` does
            neither.
        label
            Of a defect, for example ``"crack"``.
        boxes
            Where the defect is, each ``"x,y,width,height"`` in pixels or in per cent; by default
            where the bank finds it.
        confirmed
            Whether the image is added as good although it fails or is like a recorded defect.

        Raises
        ------
        PatchbankError
            If there is no such inspection, the image is needed and gone, or the answer needs a
            label or to be confirmed.
        """
        waiting = self._workspace.database.reviews.inspection(self.category, inspection_id)
        return Reviewer(self._workspace, self.category).answer(
            waiting, answer, label=label, boxes=boxes, confirmed=confirmed
        )

    def undo_review(self, inspection_id: int | None = None) -> int:
        """Undo the last answer, to an inspection or to any; return the number of the inspection.

        Raises
        ------
        PatchbankError
            If there is no answer to undo, or the bank cannot be changed.
        """
        return Reviewer(self._workspace, self.category).undo(inspection_id).inspection_id
