"""A category's active bank, read whole, to be changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import BankReplacedError
from patchbank.inspection.judging.judge import Judge, calibration_of, judge_of
from patchbank.inspection.judging.matching import matching_extractor, not_calibrated, settings_of
from patchbank.inspection.learning.dependence import groups_of_references
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.groups import Groups
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.store.bank_content import BankContent, ReferenceImage
from patchbank.store.stored_bank import StoredBank, damaged_bank
from patchbank.vision.extractor import Extractor
from patchbank.vision.same_part import SIDE

T = TypeVar("T")

# Another process that changes the bank first succeeds each time, so all of them end.
_MOST_TRIES = 100
# Rows whose distance to the nearest other row is measured.
_SAMPLED_ROWS = 1000


@dataclass(frozen=True, eq=False)
class LivingBank:
    """A bank to be changed.

    Attributes
    ----------
    stored
        Its content, with patches and without thumbnails.
    extractor, settings
        What it was made with.
    index
        Its rows, with the indices of their images as groups.
    textures
        What tells images of the same part, by the position of a reference; empty where no images
        were found to depend on one another.
    """

    stored: StoredBank
    extractor: Extractor
    settings: FitSettings
    index: NeighbourIndex
    textures: dict[int, bytes]

    @property
    def content(self) -> BankContent:
        """Its content."""
        return self.stored.content

    @cached_property
    def judge(self) -> Judge:
        """What judges by it; see `judge_of`."""
        return judge_of(self.stored, self.index, self.extractor.settings)

    @property
    def groups(self) -> Groups | None:
        """Which of its references depend on one another; None where none do."""
        textures = self.textures_of(self.content.images, self.stored.positions)
        return groups_of_references(self.content, textures)

    def textures_of(
        self, images: Sequence[ReferenceImage], positions: NDArray[np.int64]
    ) -> list[bytes]:
        """Return what tells other images of the same part, of each of some images."""
        return [
            image.texture or self.textures.get(position, b"")
            for image, position in zip(images, positions.tolist(), strict=True)
        ]

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Which of its images it was not fitted on but calibrated by, bool (n,)."""
        return held_out_of(self.content)

    @cached_property
    def radius(self) -> float:
        """Within which distance the bank represents what it was fitted on.

        That is its covering radius; of a streamed fit only a bound of it is known, and of an
        imported bank nothing. The rows of a coreset are at least the covering radius apart, so that
        the least of these distances stands for it then.
        """
        rows = self.content.features
        chosen = np.unique(np.linspace(0, len(rows) - 1, _SAMPLED_ROWS).astype(np.int64))
        if len(rows) < 2:
            return float(np.nan_to_num(self.content.covering_radius))
        apart = self.index.nearest(rows[chosen], 2).distances[:, 1]
        # An imported bank may have a few rows nearer to one another.
        return float(np.nanmin([self.content.covering_radius, np.quantile(apart, 0.01)]))


def held_out_of(content: BankContent) -> NDArray[np.bool_]:
    """Return which images of a bank it was not fitted on but calibrated by, bool (n,)."""
    scores = content.scores
    found = np.zeros(len(content.images), np.bool_)
    found[scores.image[scores.held_out & (scores.image >= 0)]] = True
    return found


def read_bank(
    workspace: Workspace, category: str, expected_version: int | None = None
) -> LivingBank:
    """Read the active bank of a category.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category or it has no bank.
    BankChangedError
        If another version than the expected one is active.
    NotCalibratedError
        If its bank has no calibration.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    """
    stored = workspace.database.banks.active(category)
    stored.key.check_version(category, expected_version)
    extractor = matching_extractor(workspace, stored)
    content = stored.content
    if calibration_of(content) is None:
        raise not_calibrated(category)
    settings = settings_of(stored, extractor.settings)
    index = NeighbourIndex(content.features, content.patch_image)
    textures = workspace.database.banks.textures(stored.key)
    for size in {*map(len, textures.values())} - {SIDE * SIDE}:
        reason = f"a texture has {size} bytes, expected {SIDE * SIDE}"
        raise damaged_bank(category, stored.key, reason)
    return LivingBank(stored, extractor, settings, index, textures)


def until_saved(change: Callable[[], T]) -> T:
    """Return what `change` returns, tried again where another process changed the bank meanwhile.

    Raises
    ------
    BankReplacedError
        If others were faster each time.
    """
    for _ in range(_MOST_TRIES - 1):
        try:
            return change()
        except BankReplacedError:
            continue
    return change()
