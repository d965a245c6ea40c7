"""The computation of an addition: which images are held, and which patches come into the bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import NoImagesError
from patchbank.inspection.judging.judge import Judge, calibration_of
from patchbank.inspection.judging.known_defects import recorded_defects
from patchbank.inspection.judging.similar_defects import ReadyBook
from patchbank.inspection.judging.unlike_sizes import remark_on_images
from patchbank.inspection.learning.gather import References
from patchbank.inspection.learning.places import patch_places
from patchbank.inspection.living.bank import LivingBank
from patchbank.inspection.living.doubt import doubt
from patchbank.inspection.living.joined_groups import joined_groups
from patchbank.inspection.living.recalibrate import (
    ChangedBank,
    Recalibration,
    recalibrated,
    remember,
)
from patchbank.inspection.living.reference_patches import features_of
from patchbank.inspection.sources import readable
from patchbank.inspection.verdicts import Judgement
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Thresholds
from patchbank.memory.coreset import Cover
from patchbank.memory.put_back import lower_by
from patchbank.printable import counted
from patchbank.progress import Progress
from patchbank.store.bank_content import BankContent
from patchbank.store.quarantine import ImageToHold
from patchbank.store.reference_features import half_precision
from patchbank.store.stored_bank import BankChange
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extraction import Extraction, Refusal
from patchbank.vision.lossless import png_of

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
    confirmed
        Why it would have been held, had it not been confirmed; None without a reason.
    """

    name: str
    score: float
    verdict: str
    patches: int
    confirmed: str | None = None

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


@dataclass(frozen=True, eq=False)
class PreparedAddition:
    """The next version of a bank, before it is saved.

    Attributes
    ----------
    came
        What comes, with the scores of all images.
    changed
        The whole bank.
    thresholds
        Its thresholds.
    features
        The patch features of each image that comes.
    images, bank_size
        How many references and patches the bank then has.
    """

    came: BankContent
    changed: ChangedBank
    recalibration: Recalibration
    thresholds: Thresholds
    features: list[Floats]
    images: int
    bank_size: int

    def judge(self, before: Judge) -> Judge:
        """Return what judges by that version; `before` judges by the bank as it is."""
        calibration = calibration_of(self.came)
        assert calibration is not None
        return Judge(self.changed.index, before.settings, calibration, likeness=before.likeness)


class Addition:
    """An addition to a version of a bank.

    Attributes
    ----------
    held, judged
        Images that are held, and how they were judged.
    added
        Images that come into the bank.
    remarks
        On the groups and the sizes of these.
    """

    def __init__(
        self,
        workspace: Workspace,
        bank: LivingBank,
        sources: Sequence[ImageSource],
        names: Sequence[str],
        results: Sequence[Extraction | Refusal],
        *,
        force: bool,
        group_by: str | None = None,
    ) -> None:
        self._workspace, self._bank = workspace, bank
        self.held: list[HeldImage] = []
        self.judged: list[tuple[str, Extraction, Judgement]] = []
        self._to_hold: list[ImageToHold] = []
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
        book = ReadyBook(workspace.database.defects.book(bank.stored.key))
        recorded = recorded_defects(workspace, bank.stored.category)
        self.references = References(
            sources,
            names,
            known=bank.content.images,
            taken=taken,
            textures=bool(bank.textures),
        )
        self._radius = FRACTION * bank.radius
        for number, result in enumerate(results):
            if isinstance(result, Refusal):
                self.references.admit(number, result)
                continue
            judgement = bank.judge(
                result.patches,
                result.image.width,
                result.image.height,
                embedding=result.embedding,
            )
            sha256 = result.image.sha256
            _, probable = book.similar(judgement.region_embedding, sha256, 1)
            reason = doubt(judgement.verdict, judgement.summary, recorded.get(sha256), probable)
            if reason is not None and not force:
                self._hold(names[number], result, judgement, reason)
            elif self.references.admit(number, result):
                self._take(result, judgement, reason)
        self._groups, on_groups = joined_groups(
            bank, group_by, [names[number] for number in self.references.numbers]
        )
        images, settings = self.references.images, bank.extractor.settings
        self.remarks = (*on_groups, *remark_on_images(images, bank.content.images, settings))
        if not self.added and not self.held:
            refused = "; ".join(image.error for image in self.references.refused[:_NAMED])
            if len(sources) == 1:
                raise NoImagesError(f"category {bank.stored.category!r}: {refused}")
            raise NoImagesError(
                f"category {bank.stored.category!r}: none of {counted(len(sources), 'image')} can "
                f"be added: {refused}"
            )

    def _hold(self, name: str, extraction: Extraction, judgement: Judgement, reason: str) -> None:
        self.held.append(HeldImage(name, judgement.score, reason))
        self.judged.append((name, extraction, judgement))
        source = extraction.source
        origin = source if isinstance(source, str | Path) else None
        self._to_hold.append(
            ImageToHold(
                name=name,
                pixels_sha256=extraction.image.pixels_sha256,
                origin=None if origin is None else readable(str(Path(origin).absolute())),
                content=_content_of(extraction),
                score=judgement.score,
                reason=reason,
            )
        )

    def _take(self, extraction: Extraction, judgement: Judgement, reason: str | None) -> None:
        """Choose the patches of an admitted image that the bank does not represent."""
        patches = np.ascontiguousarray(extraction.inspected_patches)
        squared = self._bank.index.nearest(patches).distances[:, 0].astype(np.float64) ** 2
        if any(map(len, self._rows)):
            lower_by(patches, np.concatenate(self._rows), squared)
        far = np.flatnonzero(squared > self._radius**2)
        chosen = Cover(patches)(far, squared[far], self._radius**2)
        self._extractions.append(extraction)
        self._rows.append(patches[chosen])
        self._positions.append(chosen)
        self.added.append(
            AddedImage(
                self.references.images[-1].name,
                judgement.score,
                judgement.verdict,
                len(chosen),
                reason,
            )
        )

    def prepare(self, progress: Progress) -> PreparedAddition:
        """Compute the bank's next version, where images were admitted."""
        came = self._content()
        after = _joined(self._bank.content, came)
        changed = self._changed(after, len(came.features))
        recalibration = self._recalibrate(changed, progress)
        came = replace(came, scores=recalibration.scores)
        calibration = calibration_of(came)
        assert calibration is not None
        return PreparedAddition(
            came,
            changed,
            recalibration,
            self._bank.settings.threshold_rule.thresholds(calibration),
            [extraction.inspected_patches for extraction in self._extractions],
            len(after.images),
            len(after.features),
        )

    def save(self, prepared: PreparedAddition) -> int:
        """Save the bank's next version; return its number."""
        forced = [image.name for image in self.added if image.confirmed is not None]
        version = self._workspace.database.banks.change(
            self._bank.stored.category,
            self._bank.stored.key,
            BankChange(prepared.came),
            cause="add",
            detail={"forced": forced} if forced else {},
            features=prepared.features,
            released=[str(image.pixels_sha256) for image in prepared.came.images],
        )
        remember(self._workspace, self._bank, prepared.recalibration)
        return version

    def hold(self) -> None:
        """Put the held images into quarantine."""
        if self.held:
            category_id = self._bank.stored.key.category_id
            self._workspace.database.quarantine.hold(category_id, self._to_hold)

    def _content(self) -> BankContent:
        """Return what comes, with indices of images as they are after the change."""
        before, extractor = self._bank.content, self._bank.extractor
        owners = np.arange(len(self._rows)).repeat(list(map(len, self._rows)))
        row, column = patch_places(
            extractor.settings, self.references.images, owners, np.concatenate(self._positions)
        )
        embeddings = np.stack([extraction.embedding for extraction in self._extractions])
        return replace(
            before,
            features=np.concatenate([np.empty((0, extractor.dimension), np.float32), *self._rows]),
            patch_image=len(before.images) + owners,
            patch_row=row,
            patch_column=column,
            images=self.references.images,
            embeddings=embeddings - before.embedding_mean,
        )

    def _changed(self, after: BankContent, came: int) -> ChangedBank:
        """Return the bank after the change, with the numbers that what comes will get."""
        stored = self._bank.stored
        ordinal, position = self._workspace.database.banks.next_numbers(stored.key)
        return ChangedBank(
            after,
            np.concatenate([stored.ordinals, ordinal + np.arange(came)]),
            np.concatenate([stored.positions, position + np.arange(len(self._extractions))]),
            np.ones(len(stored.positions), np.bool_),
            groups=self._groups,
        )

    def _recalibrate(self, changed: ChangedBank, progress: Progress) -> Recalibration:
        bank, stored = self._bank, self._bank.stored
        first = len(bank.content.images)
        scored = bank.content.scores.image
        features = features_of(
            self._workspace,
            stored,
            bank.extractor,
            np.sort(scored[scored >= 0]),
            progress=progress,
        )
        for number, extraction in enumerate(self._extractions):
            features[first + number] = half_precision(extraction.inspected_patches)
        return recalibrated(self._workspace, bank, changed, features, progress=progress)


def _content_of(extraction: Extraction) -> bytes | None:
    """Return the content of an image, or a picture of it without loss; None if it has a file."""
    source = extraction.source
    if isinstance(source, str | Path):
        return None
    return source if isinstance(source, bytes) else png_of(source, extraction.image.pixels)


def _joined(before: BankContent, came: BankContent) -> BankContent:
    """Return the bank after an addition, with the scores of before."""
    return replace(
        before,
        features=np.concatenate([before.features, came.features]),
        patch_image=np.concatenate([before.patch_image, came.patch_image]),
        images=[*before.images, *came.images],
        embeddings=np.concatenate([before.embeddings, came.embeddings]),
    )
