"""Whether likeness to recorded defects changes scores: switched on and off, as a bank's version."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import ImageError, ParameterError
from patchbank.inspection.judging.defects import unchanged_file
from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.learning.score_collector import ScoreCollector
from patchbank.inspection.living.bank import LivingBank, read_bank, until_saved
from patchbank.inspection.living.reference_patches import features_of, inexactness
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Thresholds
from patchbank.memory.groups import Groups
from patchbank.memory.labelled import FEWEST_REFERENCES, sharpen
from patchbank.memory.leave_one_out import left_out_of
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.bank_content import BankContent, CalibrationScores
from patchbank.store.stored_bank import BankChange

CAUSE = "likeness"
#: With fewer recorded defects, chance decides what they have in common.
FEWEST_DEFECTS = 5


@dataclass(frozen=True)
class LikenessReport:
    """What switching likeness to recorded defects on or off did.

    Attributes
    ----------
    on
        Whether likeness changes scores now.
    bank_version, version_before
        The version that is active now, and the one before.
    labels
        How many defects of each label it was fitted to; None for those without one.
    order
        Share of pairs of a defect and a reference, each left out in turn, that likeness puts in the
        right order; None where it is off.
    refused
        Recorded defects that could not be used.
    """

    category: str
    on: bool
    bank_version: int
    version_before: int
    labels: dict[str | None, int]
    order: float | None
    thresholds_before: Thresholds
    thresholds: Thresholds
    refused: tuple[Refused, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def defects(self) -> int:
        """To how many defects it was fitted."""
        return sum(self.labels.values())

    def describe(self) -> str:
        """Return it in a line."""
        limits = f"{self.thresholds_before.describe()} before, {self.thresholds.describe()} now"
        if not self.on:
            return f"version {self.bank_version}: scores are by the bank alone; {limits}"
        kinds = ", ".join(f"{count} {label or 'no label'}" for label, count in self.labels.items())
        return (
            f"version {self.bank_version}: likeness to {counted(self.defects, 'recorded defect')} "
            f"({kinds}) changes scores; {limits}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {
            "category": self.category,
            "on": self.on,
            "bank_version": self.bank_version,
            "version_before": self.version_before,
            "defects": self.defects,
            "labels": [{"label": label, "defects": n} for label, n in self.labels.items()],
            "order": self.order,
            "thresholds_before": self.thresholds_before.to_json(),
            "thresholds": self.thresholds.to_json(),
            "refused": [refused.to_json() for refused in self.refused],
            "remarks": list(self.remarks),
        }


def use_likeness(
    workspace: Workspace, category: str, *, on: bool = True, progress: Progress = silent
) -> LikenessReport:
    """Let likeness to the recorded defects change scores, or let it not; a version of the bank.

    What distinguishes the defects from the references is fitted now and stays until this is called
    again. References are scored by what was fitted without them, so that the thresholds keep their
    promise. The defects are read from their files.

    Raises
    ------
    UnknownCategoryError, NotFittedError, NotCalibratedError, ExtractorMismatchError
        If there is no bank, or it cannot judge.
    ParameterError
        If it is off already, or there are too few defects or independent references, or nothing
        distinguishes the two. Nothing is changed then.
    """
    workspace.database.check_can_learn()
    return until_saved(lambda: _use(workspace, category, on=on, progress=progress))


def _use(workspace: Workspace, category: str, *, on: bool, progress: Progress) -> LikenessReport:
    bank = read_bank(workspace, category)
    content = bank.content
    labels: list[str | None] = []
    refused: list[Refused] = []
    order: float | None = None
    if on:
        changed, labels, order, refused = _with_likeness(workspace, bank, progress)
    elif content.likeness is None and bank.stored.likeness_intact:
        raise ParameterError(
            f"category {category!r}: likeness to defects is off already; nothing was changed"
        )
    else:
        changed = replace(content, likeness=None, scores=content.scores.without_likeness())
    before, calibration = calibration_of(content), calibration_of(changed)
    assert before is not None
    assert calibration is not None
    rule = bank.settings.threshold_rule
    version = workspace.database.banks.change(
        category,
        bank.stored.key,
        BankChange(changed.without_rows()),
        cause=CAUSE,
        detail={"on": on, "defects": len(labels)},
    )
    remarks: tuple[str, ...] = ()
    if rule.given is not None:
        remarks = (
            f"the limits that were given as scores ({rule.given.describe()}) stay as they are, "
            f"and scores are others now; to check them, run: patchbank threshold {category}",
        )
    return LikenessReport(
        category=category,
        on=on,
        bank_version=version,
        version_before=bank.stored.version,
        labels=dict(Counter(labels).most_common()),
        order=order,
        thresholds_before=rule.thresholds(before),
        thresholds=rule.thresholds(calibration),
        refused=tuple(refused),
        remarks=remarks,
    )


def _with_likeness(
    workspace: Workspace, bank: LivingBank, progress: Progress
) -> tuple[BankContent, list[str | None], float | None, list[Refused]]:
    """Return a bank with likeness to its recorded defects; their labels, and those refused."""
    content, category = bank.content, bank.stored.category
    scores = content.scores
    groups = bank.groups
    summaries, labels, refused = _defects(workspace, bank, progress)
    if len(labels) < FEWEST_DEFECTS:
        raise ParameterError(
            f"category {category!r}: likeness needs {FEWEST_DEFECTS} recorded defects at least, "
            f"and {len(labels)} can be used; record more with: patchbank defects add {category} "
            "PATH..." + (f" ({refused[0].error})" if refused else "")
        )
    learned, held_out, found = _references(workspace, bank, groups, progress)
    independent = len(learned) if groups is None else groups.count_of(learned)
    if independent < FEWEST_REFERENCES:
        kind = "references" if independent == len(learned) else "independent references"
        raise ParameterError(
            f"category {category!r}: likeness needs {FEWEST_REFERENCES} {kind} at least, and "
            f"the patch features of {independent} are known; fit with images of more parts"
        )
    of_image = scores.of_image(len(content.images))
    sharpened = sharpen(
        found[learned],
        of_image[learned],
        np.stack(summaries),
        labels,
        None if groups is None else groups.of_images(learned),
    )
    if sharpened is None:
        raise ParameterError(
            f"category {category!r}: the recorded defects cannot be told from the references by "
            "likeness, so it would not help; nothing was changed"
        )
    likeness, additions = sharpened
    added = np.zeros(len(content.images))
    added[learned] = additions
    if len(held_out):
        added[held_out] = likeness.addition(found[held_out])
    known = scores.image >= 0
    scored = np.where(known, added[scores.image], 0.0)
    usable = np.isin(scores.image, np.concatenate([learned, held_out]))
    if (scores.counts & ~usable).any():
        raise ParameterError(
            f"category {category!r}: the patch features of "
            f"{counted(int((scores.counts & ~usable).sum()), 'image')} that the limits are based "
            "on are not known, since the files are gone or changed; fit the category again"
        )
    changed = replace(
        content,
        likeness=likeness.to_bytes(),
        scores=replace(scores, added=np.where(usable, scored, 0.0)),
    )
    return changed, labels, likeness.order, refused


def _defects(
    workspace: Workspace, bank: LivingBank, progress: Progress
) -> tuple[list[NDArray[np.float32]], list[str | None], list[Refused]]:
    """Return summaries and labels of the recorded defects, from their files."""
    recorded = [
        defect
        for defect in workspace.database.defects.of_category(bank.stored.category)
        if not defect.synthetic
    ]
    references = {image.sha256 for image in bank.content.images}
    summaries: list[NDArray[np.float32]] = []
    labels: list[str | None] = []
    refused: list[Refused] = []
    for done, defect in enumerate(recorded, start=1):
        try:
            if defect.sha256 in references:
                raise ImageError(f"{defect.name}: is a reference too; withdraw it from the bank")
            found = bank.extractor.extract_one(unchanged_file(defect), limits=workspace.limits)
        except ImageError as error:
            refused.append(Refused(defect.name, str(error)))
        else:
            size = found.image.width, found.image.height
            summaries.append(bank.judge.summary(found.patches, found.embedding, *size))
            labels.append(defect.label)
        progress("defects", done, len(recorded))
    return summaries, labels, refused


def _references(
    workspace: Workspace, bank: LivingBank, groups: Groups | None, progress: Progress
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return which references were learned and which held out, and summaries of all, (n, s)."""
    content, stored, settings = bank.content, bank.stored, bank.settings
    scores = content.scores
    scored = np.unique(scores.image[scores.image >= 0])
    features = features_of(
        workspace, stored, bank.extractor, np.arange(len(content.images)), progress=progress
    )
    out = bank.held_out
    slots = [slot for slot in sorted(features) if not out[slot]]
    collector = ScoreCollector(settings, bank.index, groups, summarise=True)

    def collect(slot: int, distances: NDArray[np.float32], nearest: NDArray[np.int64]) -> None:
        image = content.images[slot]
        collector.add(slot, (image.width, image.height), features[slot], distances, nearest)

    if slots:
        patches = np.concatenate([features[slot] for slot in slots])
        images = np.array(slots).repeat([len(features[slot]) for slot in slots])
        left_out = left_out_of(
            bank.index,
            bank.radius,
            patches,
            images,
            groups=groups,
            slack=inexactness(patches),
            progress=progress,
        )
        end = 0
        for slot in slots:
            own = slice(end, end := end + len(features[slot]))
            if np.isfinite(left_out.distances[own]).all():
                collect(slot, left_out.distances[own], left_out.nearest[own])
    for slot in sorted(features):
        if out[slot]:
            found = bank.index.nearest(features[slot])
            collect(slot, found.distances[:, 0], found.indices[:, 0])
    collected: CalibrationScores = collector.scores()
    embeddings = content.embeddings[collected.image] + content.embedding_mean
    summaries = np.concatenate([collector.summaries(), embeddings], axis=1)
    all_summaries = np.zeros((len(content.images), summaries.shape[1]), np.float32)
    all_summaries[collected.image] = summaries
    there = np.intersect1d(collected.image, scored)
    return there[~out[there]], there[out[there]], all_summaries
