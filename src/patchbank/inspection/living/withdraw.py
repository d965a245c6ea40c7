"""Withdraw references from a bank, and restore the cover that others lost with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import NoImagesError, ParameterError
from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.learning.demands import FEWEST_IMAGES, FEWEST_UNFORCED
from patchbank.inspection.learning.places import patch_places
from patchbank.inspection.living.bank import LivingBank, read_bank, until_saved
from patchbank.inspection.living.recalibrate import (
    ChangedBank,
    Recalibration,
    promise_remarks,
    recalibrated,
    remember,
    unchecked_remark,
)
from patchbank.inspection.living.reference_patches import (
    features_of,
    features_of_files,
    inexactness,
)
from patchbank.inspection.sources import named
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Thresholds
from patchbank.memory.coreset import Cover
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.bank_content import BankContent
from patchbank.store.stored_bank import BankChange

Floats = NDArray[np.float32]


@dataclass(frozen=True, repr=False)
class WithdrawReport:
    """What a withdrawal did.

    Attributes
    ----------
    withdrawn
        Names of the references that are none any more.
    removed_patches
        How many rows they had in the bank.
    restored_patches
        How many patches of other references came into the bank, because nothing represented them
        any more.
    same_as
        The earlier version that the bank now equals, if any.
    renewed_scores, unchecked_scores
        How many references got other calibration scores, and how many could not be checked.
    """

    category: str
    version_before: int
    bank_version: int
    withdrawn: tuple[str, ...]
    removed_patches: int
    restored_patches: int
    same_as: int | None
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
            f"<WithdrawReport of {self.category!r}, version {self.bank_version}: "
            f"{counted(len(self.withdrawn), 'image')} withdrawn>"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {
            **vars(self),
            "withdrawn": list(self.withdrawn),
            "thresholds_before": self.thresholds_before.to_json(),
            "thresholds": self.thresholds.to_json(),
            "seconds": round(self.seconds, 3),
            "remarks": list(self.remarks),
        }


def withdraw(
    workspace: Workspace,
    category: str,
    images: Sequence[str],
    *,
    exact: bool = False,
    force: bool = False,
    expected_version: int | None = None,
    progress: Progress = silent,
) -> WithdrawReport:
    """Withdraw references from the active bank of a category, as its next version.

    Their patches and calibration scores go. Patches of other references that nothing represents any
    more come into the bank, the farthest first, and calibration scores are renewed where the change
    reaches. Where the bank then consists of the same rows as an earlier version, it has the scores
    of that version: withdrawing what was just added gives the former verdicts to the bit.

    Parameters
    ----------
    images
        References, each by its name, its path or its file's name.
    exact
        Whether only their names count.
    force
        Whether fewer than five references may remain; two are needed in any case.
    expected_version
        The version to be changed; the active one by default.

    Raises
    ------
    UnknownCategoryError, NotFittedError, NotCalibratedError
        If there is no such category, or it has no bank, or that has no calibration.
    ParameterError
        If an image is not a reference of the bank.
    BankChangedError
        If another version than the expected one is active.
    NoImagesError
        If no image is given, or too few references would remain.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    """
    watch = Stopwatch()
    if not images:
        raise NoImagesError(f"withdraw from {category}: no images are given; name at least one")
    workspace.database.check_can_learn()

    def change() -> WithdrawReport:
        bank = read_bank(workspace, category, expected_version)
        return _withdraw(workspace, bank, images, exact, force, progress)

    return replace(until_saved(change), seconds=watch.total())


def withdraw_numbers(
    workspace: Workspace,
    category: str,
    *,
    numbers: Sequence[int] = (),
    pixels_sha256: Sequence[str] = (),
    force: bool = False,
    expected_version: int | None = None,
    progress: Progress = silent,
) -> WithdrawReport:
    """Withdraw references by their numbers, or by the SHA-256 of their pixels; see `withdraw`.

    Raises
    ------
    NotFoundError
        If the bank has no such reference.
    ParameterError
        If nothing is given.
    """
    if not numbers and not pixels_sha256:
        raise ParameterError(
            f"withdraw from {category}: give the numbers of references, or the SHA-256 of their "
            "pixels"
        )
    key = workspace.database.banks.active_key(category)
    key.check_version(category, expected_version)
    names = workspace.database.images.reference_names(key, numbers, pixels_sha256)
    return withdraw(
        workspace,
        category,
        names,
        exact=True,
        force=force,
        expected_version=expected_version,
        progress=progress,
    )


def _withdraw(
    workspace: Workspace,
    bank: LivingBank,
    images: Sequence[str],
    exact: bool,
    force: bool,
    progress: Progress,
) -> WithdrawReport:
    before, stored = bank.content, bank.stored
    origins = [None if exact else image.origin for image in before.images]
    names = [image.name for image in before.images]
    wanted = named(
        origins,
        names,
        images,
        f"withdraw from {stored.category}:",
        remedy="use the path that it was fitted or added with",
    )
    goes = np.array([name in wanted for name in names])
    _check_remaining(bank, goes, force)
    own = np.isin(before.patch_image, np.flatnonzero(goes))
    gone = before.features[own]
    kept = _without(before, goes, own)

    @cache
    def features() -> dict[int, Floats]:
        # Of those that stay; not read where nothing is searched.
        scored = before.scores.image
        needed = ~bank.held_out
        needed[scored[scored >= 0]] = True
        slots = np.flatnonzero(needed & ~goes)
        return features_of(workspace, stored, bank.extractor, slots, progress=progress)

    restored, unknown = _restored(workspace, bank, goes, kept, gone, features, progress)
    ordinals, positions = stored.ordinals[own], stored.positions[goes]
    same_as = None
    if not len(restored.features):
        same_as = workspace.database.banks.version_without(stored.key, ordinals, positions)
    earlier = None
    if same_as is not None:
        earlier = workspace.database.banks.version(stored.category, same_as, patches=False)
        if earlier.content.likeness != bank.content.likeness:
            # Its scores were by other weights.
            same_as = earlier = None
    if earlier is not None:
        scores = earlier.content.scores
        renewed = int(np.count_nonzero(scores.score != kept.scores.score))
        recalibration = Recalibration(scores, renewed, 0)
    else:
        recalibration = _recalibrate(workspace, bank, goes, kept, restored, features(), progress)
    after = replace(restored, scores=recalibration.scores)
    calibration = calibration_of(after)
    assert calibration is not None
    version = workspace.database.banks.change(
        stored.category,
        stored.key,
        BankChange(after, ordinals, positions),
        cause="withdraw",
    )
    remember(workspace, bank, recalibration)
    return WithdrawReport(
        category=stored.category,
        version_before=stored.version,
        bank_version=version,
        withdrawn=tuple(name for name in names if name in wanted),
        removed_patches=len(gone),
        restored_patches=len(restored.features),
        same_as=same_as,
        images=len(kept.images),
        bank_size=len(kept.features) + len(restored.features),
        thresholds_before=bank.judge.thresholds,
        thresholds=bank.settings.threshold_rule.thresholds(calibration),
        renewed_scores=recalibration.renewed,
        unchecked_scores=recalibration.unknown,
        seconds=0.0,
        remarks=(
            *_uncovered_remark(unknown),
            *unchecked_remark(recalibration),
            *promise_remarks(bank, calibration),
        ),
    )


def _check_remaining(bank: LivingBank, goes: NDArray[np.bool_], force: bool) -> None:
    """Raise NoImagesError if too few references would remain, learned or of the calibration."""
    scores = bank.content.scores
    counting = scores.image[scores.counts & (scores.image >= 0)]
    remaining = min(
        int(np.count_nonzero(~goes & ~bank.held_out)), int(np.count_nonzero(~goes[counting]))
    )
    fewest = FEWEST_IMAGES if force else FEWEST_UNFORCED
    if bool((bank.content.patch_image < 0).all()):
        # An imported bank has no references but those of its calibration.
        remaining = int(np.count_nonzero(~goes[counting]))
    if remaining < fewest:
        remedy = "" if force else ", or --force to keep as few as two"
        raise NoImagesError(
            f"category {bank.stored.category!r}: {counted(remaining, 'reference')} would remain, "
            f"and at least {fewest} are needed; add others first{remedy}"
        )


def _without(before: BankContent, goes: NDArray[np.bool_], own: NDArray[np.bool_]) -> BankContent:
    """Return a bank without some images and rows; its scores are those of the others."""
    place = np.where(goes, -1, np.cumsum(~goes) - 1)
    owners = before.patch_image[~own]
    scores = before.scores
    stay = (scores.image < 0) | ~goes[scores.image]
    scores = scores.rows(stay)
    return replace(
        before,
        features=before.features[~own],
        patch_image=np.where(owners < 0, -1, place[owners]),
        patch_row=before.patch_row[~own],
        patch_column=before.patch_column[~own],
        images=[image for image, out in zip(before.images, goes, strict=True) if not out],
        embeddings=before.embeddings[~goes],
        scores=replace(scores, image=np.where(scores.image < 0, -1, place[scores.image])),
    )


def _restored(
    workspace: Workspace,
    bank: LivingBank,
    goes: NDArray[np.bool_],
    kept: BankContent,
    gone: Floats,
    features: Callable[[], Mapping[int, Floats]],
    progress: Progress,
) -> tuple[BankContent, int]:
    """Return the patches that restore the cover of other references, and how many are unknown."""
    nothing = kept.without_rows()
    if not len(gone):
        return nothing, 0
    radius = bank.radius
    index, gone_index = NeighbourIndex(kept.features), NeighbourIndex(gone)
    learned = np.flatnonzero(~goes & ~bank.held_out)
    found, places, squared = [], [], []
    known = 0
    for slot, rows in _every(workspace, bank, learned, features(), progress):
        known += 1
        # Only what the rows represented can have lost its cover.
        lost = np.flatnonzero(gone_index.nearest(rows).distances[:, 0] <= radius)
        if not len(lost):
            continue
        distances = index.nearest(rows[lost]).distances[:, 0]
        far = distances - inexactness(rows[lost]) > radius
        found.append(rows[lost[far]])
        places += [(slot, position) for position in lost[far].tolist()]
        squared.append(distances[far].astype(np.float64) ** 2)
    unknown = len(learned) - known
    if not places:
        return nothing, unknown
    candidates = np.concatenate(found)
    chosen = Cover(candidates)(
        np.arange(len(candidates)), np.concatenate(squared), radius**2, progress
    )
    slots, positions = np.array(places)[chosen].T
    row, column = patch_places(bank.settings.extractor, bank.content.images, slots, positions)
    place = np.cumsum(~goes) - 1
    return replace(
        nothing,
        features=np.ascontiguousarray(candidates[chosen]),
        patch_image=place[slots].astype(np.int64),
        patch_row=row,
        patch_column=column,
    ), unknown


def _every(
    workspace: Workspace,
    bank: LivingBank,
    slots: NDArray[np.int64],
    kept: Mapping[int, Floats],
    progress: Progress,
) -> Iterator[tuple[int, Floats]]:
    """Yield the patch features of references, those that are not kept from the images' files."""
    yield from ((slot, kept[slot]) for slot in slots.tolist() if slot in kept)
    others = [slot for slot in slots.tolist() if slot not in kept]
    yield from features_of_files(bank.extractor, workspace, bank.stored, others, progress)


def _recalibrate(
    workspace: Workspace,
    bank: LivingBank,
    goes: NDArray[np.bool_],
    kept: BankContent,
    restored: BankContent,
    features: Mapping[int, Floats],
    progress: Progress,
) -> Recalibration:
    after = replace(
        kept,
        features=np.concatenate([kept.features, restored.features]),
        patch_image=np.concatenate([kept.patch_image, restored.patch_image]),
    )
    stored = bank.stored
    ordinal, _ = workspace.database.banks.next_numbers(stored.key)
    own = np.isin(bank.content.patch_image, np.flatnonzero(goes))
    changed = ChangedBank(
        after,
        np.concatenate([stored.ordinals[~own], ordinal + np.arange(len(restored.features))]),
        stored.positions[~goes],
        ~goes,
    )
    scored = set(bank.content.scores.image.tolist())
    place = np.cumsum(~goes) - 1
    by_place = {int(place[slot]): rows for slot, rows in features.items() if slot in scored}
    return recalibrated(workspace, bank, changed, by_place, progress=progress)


def _uncovered_remark(unknown: int) -> tuple[str, ...]:
    if not unknown:
        return ()
    return (
        f"{counted(unknown, 'reference')} could not be checked for patches that are no longer "
        f"represented: their patch features are not kept, and their files are gone or changed; "
        f"images like them may score higher than before",
    )
