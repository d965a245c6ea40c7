"""Choose a bank's patches again from all patches of its references, when it has grown too large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.judging.matching import matching_extractor
from patchbank.inspection.learning.places import patch_places
from patchbank.inspection.living.bank import LivingBank, held_out_of, read_bank, until_saved
from patchbank.inspection.living.recalibrate import ChangedBank, recalibrated, remember
from patchbank.inspection.living.reference_patches import features_of
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Thresholds
from patchbank.memory.coreset import coreset_size, greedy_k_center
from patchbank.progress import Progress, silent
from patchbank.store.bank_content import ReferenceImage
from patchbank.store.stored_bank import BankChange, StoredBank

# By default a bank may grow to so many times what a fit of its references would keep.
_DEFAULT_GROWTH = 2


@dataclass(frozen=True)
class Reduction:
    """A bank whose patches were chosen again."""

    bank_version: int
    patches_before: int
    patches: int
    thresholds: Thresholds

    def describe(self) -> str:
        """Return it in a line."""
        return (
            f"the bank had grown to {self.patches_before:,} patches, more than its budget: "
            f"{self.patches:,} were chosen anew, as version {self.bank_version}"
        )


def budget_of(
    workspace: Workspace,
    stored: StoredBank,
    budget: int | None,
    came: Sequence[ReferenceImage] = (),
) -> tuple[int, int]:
    """Return how many patches a bank may have, and how many a new choice keeps.

    Parameters
    ----------
    budget
        The former; by default that of the settings, else twice what a fit of all references keeps.
    came
        References that are to be added to it.
    """
    content, extractor = stored.content, matching_extractor(workspace, stored).settings
    learned = [
        image
        for image, held_out in zip(content.images, held_out_of(content), strict=True)
        if not held_out
    ]
    patches = sum(extractor.patches_of(image.width, image.height) for image in [*learned, *came])
    fitted = coreset_size(
        max(1, patches), FitSettings.from_json(content.settings, extractor).coreset_ratio
    )
    most = budget or workspace.settings.bank_budget or _DEFAULT_GROWTH * fitted
    return most, min(most, fitted)


def reduce(
    workspace: Workspace, category: str, budget: int | None, *, progress: Progress = silent
) -> Reduction | None:
    """Choose the patches of a bank anew if it has more than its budget; None if it has not.

    They are the coreset of all patches of its references, as far as these are known, as in a fit;
    of references whose patches are not known, those in the bank are chosen from.

    Raises
    ------
    UnknownCategoryError, NotFittedError, NotCalibratedError
        If there is no such category, or it has no bank, or that has no calibration.
    """

    def change() -> Reduction | None:
        # Reading the patches and preparing a search in them takes a quarter of an addition.
        stored = workspace.database.banks.active(category, patches=False)
        if stored.patch_count <= budget_of(workspace, stored, budget)[0]:
            return None
        bank = read_bank(workspace, category)
        most, wanted = budget_of(workspace, bank.stored, budget)
        if len(bank.content.features) <= most:
            return None
        return _reduced(workspace, bank, wanted, progress)

    return until_saved(change)


def _reduced(workspace: Workspace, bank: LivingBank, wanted: int, progress: Progress) -> Reduction:
    before, stored = bank.content, bank.stored
    learned = np.flatnonzero(~bank.held_out)
    features = features_of(workspace, stored, bank.extractor, learned, progress=progress)
    slots = sorted(features)
    counts = [len(features[slot]) for slot in slots]
    rest = ~np.isin(before.patch_image, slots)
    patches = np.concatenate([*(features[slot] for slot in slots), before.features[rest]])
    owner = np.concatenate([np.array(slots, np.int64).repeat(counts), before.patch_image[rest]])
    row, column = patch_places(
        bank.settings.extractor,
        before.images,
        np.array(slots, np.int64).repeat(counts),
        np.concatenate([np.empty(0, np.int64), *map(np.arange, counts)]),
    )
    row = np.concatenate([row, before.patch_row[rest]])
    column = np.concatenate([column, before.patch_column[rest]])
    coreset = greedy_k_center(
        patches, min(wanted, len(patches)), seed=bank.settings.seed, progress=progress
    )
    chosen = coreset.indices
    after = replace(
        before,
        features=np.ascontiguousarray(patches[chosen]),
        patch_image=owner[chosen],
        patch_row=row[chosen],
        patch_column=column[chosen],
        covering_radius=coreset.covering_radius,
    )
    ordinal, _ = workspace.database.banks.next_numbers(stored.key)
    changed = ChangedBank(
        after,
        ordinal + np.arange(len(chosen)),
        stored.positions,
        np.ones(len(before.images), np.bool_),
        radius=coreset.covering_radius,
    )
    scored = before.scores.image
    for slot, rows in features_of(
        workspace, stored, bank.extractor, np.flatnonzero(bank.held_out), progress=progress
    ).items():
        features[slot] = rows
    known = {slot: rows for slot, rows in features.items() if slot in set(scored.tolist())}
    recalibration = recalibrated(workspace, bank, changed, known, progress=progress)
    came = replace(after, images=[], embeddings=before.embeddings[:0], scores=recalibration.scores)
    calibration = calibration_of(came)
    assert calibration is not None
    version = workspace.database.banks.change(
        stored.category,
        stored.key,
        BankChange(came, stored.ordinals),
        cause="reduce",
        detail={"patches_before": len(before.features)},
    )
    remember(workspace, bank, recalibration)
    thresholds = bank.settings.threshold_rule.thresholds(calibration)
    return Reduction(version, len(before.features), len(chosen), thresholds)
