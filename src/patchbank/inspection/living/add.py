"""Add good images to a bank: only what it does not represent yet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.collect import collect
from patchbank.errors import NoImagesError
from patchbank.inspection.judging.judge import Judge, calibration_of
from patchbank.inspection.learning.gather import References
from patchbank.inspection.living.bank import LivingBank, read_bank, until_saved
from patchbank.inspection.living.recalibrate import Recalibration, recalibrated, unchecked_remark
from patchbank.inspection.living.reference_patches import features_of
from patchbank.inspection.settings import THUMBNAIL_SIDE
from patchbank.inspection.sources import checked_names
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Judgement, Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Thresholds
from patchbank.memory.coreset import Cover
from patchbank.memory.leave_one_out import lower_by
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.bank_content import BankContent
from patchbank.store.stored_bank import BankChange
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extraction import Extraction, Refusal

# Patches are added that are farther from the bank than this share of its covering radius. With 1,
# 50 images and 150 more one by one are as accurate as a fit of all, with fewer rows
# (docs/living-bank.md).
FRACTION = 1.0
# Images named in an error.
_NAMED = 3

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class AddedImage:
    """A reference that was added.

    Attributes
    ----------
    score, verdict
        By the bank before it was added.
    patches
        How many of its patches were added: those that the bank did not represent.
    """

    name: str
    score: float
    verdict: str
    patches: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return vars(self).copy()


@dataclass(frozen=True)
class HeldImage:
    """An image that was not added, because the bank says that it shows a defect."""

    name: str
    score: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return vars(self).copy()


@dataclass(frozen=True, repr=False)
class AddReport:
    """What an addition did.

    Attributes
    ----------
    bank_version
        The version with the images; None if none was added.
    held
        Images that were not added until confirmed with `force`.
    renewed_scores, unchecked_scores
        How many references got other calibration scores, and how many could not be checked.
    """

    category: str
    version_before: int
    bank_version: int | None
    added: tuple[AddedImage, ...]
    held: tuple[HeldImage, ...]
    refused: tuple[Refused, ...]
    images: int
    bank_size: int
    thresholds_before: Thresholds
    thresholds: Thresholds
    renewed_scores: int
    unchecked_scores: int
    seconds: float
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<AddReport of {self.category!r}, version {self.bank_version}: "
            f"{counted(len(self.added), 'image')} added, {len(self.held)} held>"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {
            **vars(self),
            "added": [image.to_json() for image in self.added],
            "held": [image.to_json() for image in self.held],
            "refused": [refusal.to_json() for refusal in self.refused],
            "thresholds_before": self.thresholds_before.to_json(),
            "thresholds": self.thresholds.to_json(),
            "seconds": round(self.seconds, 3),
            "remarks": list(self.remarks),
        }


def add_paths(
    workspace: Workspace,
    category: str,
    paths: Sequence[str | Path],
    *,
    force: bool = False,
    progress: Progress = silent,
) -> AddReport:
    """Add the images found at paths, each a folder, an image or a glob; see `add`."""
    # Who insists may also take them from a folder named after a defect.
    found = collect(paths, good_only=not force)
    return add(
        workspace, category, found.images, found=found.remarks, force=force, progress=progress
    )


def add(
    workspace: Workspace,
    category: str,
    sources: Sequence[ImageSource],
    *,
    names: Sequence[str] | None = None,
    found: Sequence[str] = (),
    force: bool = False,
    progress: Progress = silent,
) -> AddReport:
    """Add good images to the active bank of a category, as its next version.

    Of each image, those patches are added that the bank does not represent: farther from it than
    its covering radius, the farthest first. The image becomes a reference, and the calibration
    scores are renewed where the new patches reach. Running inspectors use the new version from
    their next image on. All images are added in one transaction, or none.

    Parameters
    ----------
    found
        Remarks on how the images were found, for the report.
    force
        Whether images are added too that the bank says show a defect. Otherwise they are held.

    Raises
    ------
    UnknownCategoryError, NotFittedError, NotCalibratedError
        If there is no such category, or it has no bank, or that has no calibration.
    NoImagesError
        If none of the images can be used.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    """
    watch = Stopwatch()
    names = checked_names(sources, names)
    workspace.database.check_can_learn()
    results: dict[str, list[Extraction | Refusal]] = {}

    def change() -> AddReport:
        bank = read_bank(workspace, category)
        fingerprint = bank.extractor.fingerprint
        if fingerprint not in results:
            # Once, unless a fit replaced the bank's extractor meanwhile.
            stream = bank.extractor.extract_many(
                sources,
                names=names,
                limits=workspace.limits,
                thumbnail_side=THUMBNAIL_SIDE,
                progress=progress,
            )
            with closing(stream):
                results[fingerprint] = list(stream)
        addition = _Addition(workspace, bank, sources, names, results[fingerprint], force=force)
        return addition.save(progress)

    report = until_saved(change)
    return replace(report, seconds=watch.total(), remarks=(*found, *report.remarks))


class _Addition:
    """An addition to a version of a bank."""

    def __init__(
        self,
        workspace: Workspace,
        bank: LivingBank,
        sources: Sequence[ImageSource],
        names: Sequence[str],
        results: Sequence[Extraction | Refusal],
        *,
        force: bool,
    ) -> None:
        self._workspace, self._bank = workspace, bank
        self.held: list[HeldImage] = []
        self.added: list[AddedImage] = []
        self._extractions: list[Extraction] = []
        self._rows: list[Floats] = []
        self._positions: list[NDArray[np.int64]] = []
        taken = workspace.database.images.names_of_other_content(
            bank.stored.key,
            {
                name: result.image.pixels_sha256
                for name, result in zip(names, results, strict=True)
                if isinstance(result, Extraction)
            },
        )
        self.references = References(sources, names, known=bank.content.images, taken=taken)
        self._radius = FRACTION * bank.radius()
        for number, result in enumerate(results):
            if isinstance(result, Refusal):
                self.references.admit(number, result)
                continue
            judgement = bank.judge(result.patches, result.image.width, result.image.height)
            if judgement.verdict == "fail" and not force:
                self.held.append(HeldImage(names[number], judgement.score, _reason(judgement)))
            elif self.references.admit(number, result):
                self._take(result, judgement)
        if not self.added and not self.held:
            refused = "; ".join(image.error for image in self.references.refused[:_NAMED])
            raise NoImagesError(
                f"category {bank.stored.category!r}: none of {counted(len(sources), 'image')} can "
                f"be added: {refused}"
            )

    def _take(self, extraction: Extraction, judgement: Judgement) -> None:
        """Choose the patches of an admitted image that the bank does not represent."""
        patches = np.ascontiguousarray(extraction.inspected_patches)
        squared = self._bank.index.nearest(patches).distances[:, 0].astype(np.float64) ** 2
        if any(map(len, self._rows)):
            lower_by(patches, np.concatenate(self._rows), squared)
        far = np.flatnonzero(squared > self._radius**2)
        chosen = Cover(patches)(far, squared[far], self._radius**2)
        self._extractions.append(extraction)
        self._rows.append(patches[chosen])
        inspected = extraction.inspected
        self._positions.append(chosen if inspected is None else np.flatnonzero(inspected)[chosen])
        self.added.append(
            AddedImage(
                self.references.images[-1].name,
                judgement.score,
                judgement.verdict,
                len(chosen),
            )
        )

    def save(self, progress: Progress) -> AddReport:
        """Save the bank's next version, if images were admitted."""
        bank = self._bank
        before = bank.content
        report = AddReport(
            category=bank.stored.category,
            version_before=bank.stored.version,
            bank_version=None,
            added=(),
            held=tuple(self.held),
            refused=self.references.refused,
            images=len(before.images),
            bank_size=len(before.features),
            thresholds_before=bank.judge.thresholds,
            thresholds=bank.judge.thresholds,
            renewed_scores=0,
            unchecked_scores=0,
            seconds=0.0,
        )
        if not self.added:
            return report
        came = self._content()
        after = _joined(before, came)
        recalibration = self._recalibrate(after, len(came.features), progress)
        came = replace(came, scores=recalibration.scores)
        calibration = calibration_of(came)
        assert calibration is not None
        forced = [image.name for image in self.added if image.verdict == "fail"]
        version = self._workspace.database.banks.change(
            bank.stored.category,
            bank.stored.key,
            BankChange(came),
            cause="add",
            detail={"forced": forced} if forced else {},
            features=[extraction.inspected_patches for extraction in self._extractions],
        )
        return replace(
            report,
            bank_version=version,
            added=tuple(self.added),
            images=len(after.images),
            bank_size=len(after.features),
            thresholds=Judge(bank.index, bank.settings, calibration).thresholds,
            renewed_scores=recalibration.renewed,
            unchecked_scores=recalibration.unknown,
            remarks=unchecked_remark(recalibration),
        )

    def _content(self) -> BankContent:
        """Return what comes, with indices of images as they are after the change."""
        before, extractor = self._bank.content, self._bank.extractor
        owners = len(before.images) + np.arange(len(self._rows)).repeat(list(map(len, self._rows)))
        columns = [extraction.patches.shape[1] for extraction in self._extractions]
        positions = np.concatenate(self._positions)
        row, column = np.divmod(positions, np.repeat(columns, list(map(len, self._rows))))
        embeddings = np.stack([extraction.embedding for extraction in self._extractions])
        return replace(
            before,
            features=np.concatenate([np.empty((0, extractor.dimension), np.float32), *self._rows]),
            patch_image=owners.astype(np.int64),
            patch_row=row.astype(np.int16),
            patch_column=column.astype(np.int16),
            images=self.references.images,
            embeddings=embeddings - before.embedding_mean,
        )

    def _recalibrate(self, after: BankContent, came: int, progress: Progress) -> Recalibration:
        bank = self._bank
        first = len(bank.content.images)
        scored = bank.content.scores.image
        features = features_of(
            self._workspace,
            bank.stored,
            bank.extractor,
            np.sort(scored[scored >= 0]),
            progress=progress,
        )
        for number, extraction in enumerate(self._extractions):
            features[first + number] = extraction.inspected_patches
        return recalibrated(
            after,
            bank.settings,
            NeighbourIndex(after.features, after.patch_image),
            features,
            bank.radius(),
            came=came,
            new=len(self._extractions),
            progress=progress,
        )


def _reason(judgement: Judgement) -> str:
    return f"fails with a score of {judgement.score:.4g} ({judgement.thresholds.describe()})"


def _joined(before: BankContent, came: BankContent) -> BankContent:
    """Return the bank after an addition, with the scores of before."""
    return replace(
        before,
        features=np.concatenate([before.features, came.features]),
        patch_image=np.concatenate([before.patch_image, came.patch_image]),
        images=[*before.images, *came.images],
        embeddings=np.concatenate([before.embeddings, came.embeddings]),
    )
