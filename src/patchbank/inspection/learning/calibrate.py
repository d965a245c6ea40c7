"""Give a category's bank its thresholds from good images that it was not made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.collect import collect
from patchbank.errors import IndistinctImagesError, SuspiciousImagesError
from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.judging.matching import matching_extractor, settings_of
from patchbank.inspection.judging.unlike_sizes import remark_on_images
from patchbank.inspection.learning.demands import (
    DEFAULT_MAX_REFUSED,
    Demands,
    demands_of,
    refused_remark,
)
from patchbank.inspection.learning.gather import References
from patchbank.inspection.learning.indistinct import why_useless
from patchbank.inspection.learning.reduction import reduction_remarks
from patchbank.inspection.learning.remarks import (
    lost_likeness,
    moved_threshold,
    no_review,
    replaced_limits,
    too_few_images,
)
from patchbank.inspection.learning.score_collector import ScoreCollector
from patchbank.inspection.learning.suspicious import Suspicious, find_suspicious
from patchbank.inspection.settings import THUMBNAIL_SIDE, FitSettings
from patchbank.inspection.sources import checked_groups, checked_names, without
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import ConformalThreshold, Thresholds
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.bank_content import BankContent
from patchbank.store.stored_bank import BankChange
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extraction import Refusal
from patchbank.vision.extractor import Extractor

_REMEDY = "calibrate again with --exclude NAME"


@dataclass(frozen=True, repr=False)
class CalibrationReport:
    """What a calibration did.

    Attributes
    ----------
    review
        What goes to review, as JSON: see `ThresholdRule`.
    provenance_known
        Whether the bank knows the images it was made of. Where it does not, nobody can tell whether
        the calibration's images are among them.
    suspicious
        Images of this calibration that stand apart from the others, if any do.
    """

    category: str
    bank_version: int
    images: int
    refused: tuple[Refused, ...]
    threshold: ConformalThreshold
    thresholds: Thresholds
    review: dict[str, Any]
    provenance_known: bool
    seconds: float
    suspicious: Suspicious | None
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<CalibrationReport of {self.category!r}, version {self.bank_version}: "
            f"{counted(self.images, 'image')}, {self.thresholds.describe()}>"
        )

    @property
    def warning(self) -> str | None:
        """What a person must know of this calibration, in one line."""
        if self.provenance_known:
            return None
        return (
            "the bank does not record which images it was fitted on: if these are among them, "
            "the threshold is too low and the p-values of good images are too small"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        return {
            "category": self.category,
            "bank_version": self.bank_version,
            "images": self.images,
            "refused": [refusal.to_json() for refusal in self.refused],
            **self.thresholds.to_json(),
            **self.threshold.stated(),
            "calibration": self.threshold.to_json(),
            "review": self.review,
            "provenance_known": self.provenance_known,
            "warning": self.warning,
            "suspicious": None if self.suspicious is None else self.suspicious.to_json(),
            "remarks": list(self.remarks),
            "seconds": round(self.seconds, 3),
        }


def calibrate_paths(
    workspace: Workspace,
    category: str,
    paths: Sequence[str | Path],
    *,
    false_alarm_rate: float | None = None,
    review_rate: float | None = None,
    force: bool = False,
    max_refused: int | str = DEFAULT_MAX_REFUSED,
    exclude: Sequence[str] = (),
    group_by: str | None = None,
    strict: bool = False,
    progress: Progress = silent,
) -> CalibrationReport:
    """Calibrate by the images found at paths, each a folder, an image or a glob."""
    found = collect(paths, good_only=True, exclude=exclude)
    return calibrate(
        workspace,
        category,
        found.images,
        found=found.remarks,
        false_alarm_rate=false_alarm_rate,
        review_rate=review_rate,
        force=force,
        max_refused=max_refused,
        exclude=exclude,
        group_by=group_by,
        strict=strict,
        progress=progress,
    )


def calibrate(
    workspace: Workspace,
    category: str,
    sources: Sequence[ImageSource],
    *,
    names: Sequence[str] | None = None,
    found: Sequence[str] = (),
    false_alarm_rate: float | None = None,
    review_rate: float | None = None,
    force: bool = False,
    max_refused: int | str = DEFAULT_MAX_REFUSED,
    exclude: Sequence[str] = (),
    groups: Sequence[object] | None = None,
    group_by: str | None = None,
    strict: bool = False,
    progress: Progress = silent,
) -> CalibrationReport:
    """Make a version of the active bank whose thresholds come from these good images.

    The patches stay as they are. The images become reference images too, so that they are found as
    similar; those of a calibration before are let go. An image that the bank is known to be made
    of, by its content, is left out: it would score about zero. Another picture of a name that the
    bank has is stored under a name like it.

    Parameters
    ----------
    found
        Remarks on how the images were found, for the report.
    false_alarm_rate
        Share of good images that may fail, in (0, 1); by default what the bank has.
    review_rate
        Share of good images that may go to review besides; by default what the bank has.
    force
        Whether fewer images will do than the present calibration rests on, those excluded
        counted, or than five; two are needed in any case.
    max_refused
        How many images may be refused, as in `fit`.
    exclude
        Images to leave out, each by its name or its file's name.
    groups, group_by
        Images that depend on one another, such as pictures of one part: a group for each source, or
        a rule that finds it (`groups_by`). Each group counts as one in the calibration.
    strict
        Whether images that stand apart from the others are an error.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category or it has no bank.
    NoImagesError, TooManyRefusedError
        If too few images can be used, or too many are refused.
    IndistinctImagesError
        If the threshold would be 0.
    SuspiciousImagesError
        If `strict` and some images stand apart.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    BankGoneError
        If the bank was replaced meanwhile; nothing is changed then.
    """
    watch = Stopwatch()
    names = checked_names(sources, names)
    labels, ungrouped = checked_groups(names, groups, group_by)
    workspace.database.check_can_learn()
    demands = demands_of(force=force, max_refused=max_refused)
    stored = workspace.database.banks.active(category)
    before = stored.content
    extractor = matching_extractor(workspace, stored)
    settings = settings_of(stored, extractor.settings)
    rule = settings.threshold_rule.changed(false_alarm_rate, review_rate)
    settings = FitSettings.from_json(rule.in_settings(settings.to_json()), extractor.settings)
    # Those of an earlier calibration are let go.
    scores = before.scores
    held_out = np.zeros(len(before.images), np.bool_)
    held_out[scores.image[scores.held_out & (scores.image >= 0)]] = True
    learned = [image for image, out in zip(before.images, held_out, strict=True) if not out]
    given = len(sources)
    if exclude:
        sources, names = without(sources, names, exclude)
    if not force:
        demands = _as_many_as_before(before, demands, excluded=given - len(sources))
    references = References(sources, names, known=learned)
    collector = ScoreCollector(settings, NeighbourIndex(before.features))
    embeddings = _score(
        workspace, extractor, references, sources, names, collector, demands, progress
    )
    mean = before.embedding_mean if learned else embeddings.mean(axis=0)
    # The images that stay come before the new ones.
    place = np.cumsum(~held_out) - 1
    kept = scores.rows(~scores.held_out).uncounted()
    found_scores = collector.scores(held_out=True, groups=references.groups(labels))
    changed = replace(
        before.without_rows(),
        settings=settings.to_json(),
        images=[replace(image, texture=b"") for image in references.images],
        embeddings=embeddings - mean,
        embedding_mean=mean,
        scores=replace(kept, image=place[kept.image]).with_more(
            replace(found_scores, image=found_scores.image + len(learned))
        ),
        # Of these images it is not known yet how much they are like recorded defects.
        likeness=None,
    )
    calibration = calibration_of(changed)
    assert calibration is not None
    threshold = calibration.threshold(settings.false_alarm_rate)
    reason = why_useless(before, threshold.value)
    if reason is not None:
        raise IndistinctImagesError(
            f"category {category!r}: the bank would be useless ({reason}); nothing was "
            f"changed; use good images that were not used to fit the bank"
        )
    suspicious = find_suspicious(
        [names[number] for number in references.numbers],
        found_scores.score,
        settings.false_alarm_rate,
    )
    if strict and suspicious is not None:
        raise SuspiciousImagesError(f"nothing was changed; {suspicious.describe(_REMEDY)}")
    version = workspace.database.banks.change(
        category,
        stored.key,
        BankChange(changed, removed_references=stored.positions[held_out]),
        cause="calibrate",
    )
    refused = references.refused
    report = CalibrationReport(
        category=category,
        bank_version=version,
        images=len(references),
        refused=refused,
        threshold=threshold,
        thresholds=rule.thresholds(calibration),
        review=rule.to_json(calibration),
        provenance_known=bool((before.patch_image >= 0).all()),
        seconds=watch.total(),
        suspicious=suspicious,
    )
    remarks = [*found, *ungrouped]
    remarks += [] if report.warning is None else [report.warning]
    remarks += [] if suspicious is None else [suspicious.describe(_REMEDY)]
    remarks += too_few_images(threshold)
    remarks += no_review(rule, calibration)
    remarks += moved_threshold(calibration_of(before), threshold)
    remarks += replaced_limits(before, rule)
    remarks += lost_likeness(before)
    remarks += refused_remark(len(refused), len(sources))
    remarks += references.remarks
    remarks += reduction_remarks(references.images, settings.extractor.preprocessing)
    remarks += remark_on_images(references.images, learned, settings.extractor)
    return replace(report, remarks=tuple(remarks))


def _as_many_as_before(bank: BankContent, demands: Demands, *, excluded: int) -> Demands:
    """Demand as many images as the present calibration rests on, if it does on more.

    Those excluded count: that they are not good is no reason to keep a calibration by them.
    """
    before = int(np.count_nonzero(bank.scores.counts))
    if before - excluded <= demands.fewest:
        return demands
    reason = f"the current calibration uses {before}, and fewer images give a worse threshold"
    return replace(demands, fewest=before - excluded, because=reason)


def _score(
    workspace: Workspace,
    extractor: Extractor,
    references: References,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    collector: ScoreCollector,
    demands: Demands,
    progress: Progress,
) -> NDArray[np.float32]:
    """Score the images that are admitted; return their embeddings, float32 (n, e)."""
    embeddings: list[NDArray[np.float32]] = []
    stream = extractor.extract_many(
        sources,
        names=names,
        limits=workspace.limits,
        thumbnail_side=THUMBNAIL_SIDE,
        stage="calibrate",
        progress=progress,
    )
    for number, result in enumerate(stream):
        if references.admit(number, result) and not isinstance(result, Refusal):
            patches = result.inspected_patches
            nearest = collector.index.nearest(patches)
            collector.add(
                len(embeddings),
                (result.image.width, result.image.height),
                patches,
                nearest.distances[:, 0],
                nearest.indices[:, 0],
            )
            embeddings.append(result.embedding)
    references.check(demands)
    return np.stack(embeddings)
