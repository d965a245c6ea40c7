"""Which inspected images would best be added to a bank, if they are good."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import ImageError
from patchbank.inspection.judging.known_defects import recorded_defects
from patchbank.inspection.judging.live_bank import LiveBank, ReadyBank
from patchbank.inspection.living.drift_series import share_outside
from patchbank.inspection.living.inspected_image import inspected_image
from patchbank.inspection.workspace import Workspace
from patchbank.memory.cover import greedy_cover
from patchbank.progress import Progress
from patchbank.store.conditions import Condition
from patchbank.vision.extraction import Extraction

#: At most so many are suggested.
MOST: Final = 8
# Images that are looked at, those with most patches outside; within so many seconds.
_MOST_IMAGES: Final = 40
_MOST_SECONDS: Final = 30.0
# Patches of each that are compared; all together they are compared with each other.
_MOST_PATCHES: Final = 80


@dataclass(frozen=True, slots=True)
class Suggested:
    """An image that would cover what the bank does not.

    Attributes
    ----------
    covers
        The share of all uncovered patches looked at that it covers and none before does.
    has_file
        Whether its file is still there; else the database keeps the image.
    """

    inspection_id: int
    image: str
    verdict: str
    covers: float
    has_file: bool

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Images that would best be added, and of how many they were chosen.

    Attributes
    ----------
    command
        What adds those that have a file; empty if none has.
    """

    images: tuple[Suggested, ...]
    looked_at: int
    command: str


def suggest(
    workspace: Workspace,
    category: str,
    rows: Sequence[Condition],
    *,
    progress: Progress,
) -> Suggestion:
    """Return the images of inspections whose uncovered patches cover most of what is uncovered.

    Only images that did not fail and are no recorded defects are looked at, and only where their
    file is still there with the same content, or the database kept the image.
    """
    bank = LiveBank(workspace, category).ready
    radius = bank.stored.content.covering_radius
    known = {image.sha256 for image in bank.stored.content.images}
    # What a person called a defect is no good part, whatever its verdict was.
    known |= recorded_defects(workspace, category).keys()
    wanted = _wanted(rows, known)
    begun = time.monotonic()
    patches: list[NDArray[np.float32]] = []
    images: list[NDArray[np.int64]] = []
    used: list[tuple[Condition, bool]] = []
    for number, row in enumerate(wanted):
        if len(used) == _MOST_IMAGES or time.monotonic() - begun > _MOST_SECONDS:
            break
        progress("looked at", number + 1, len(wanted))
        source = inspected_image(workspace, bank.stored.key.category_id, row)
        if source is None:
            continue
        try:
            extraction = bank.extractor.extract_one(
                source, name=row.image_name, limits=workspace.limits
            )
        except ImageError:
            continue  # no longer readable, so nothing to suggest
        outside = _outside(bank, extraction, radius)
        if len(outside):
            patches.append(outside)
            images.append(np.full(len(outside), len(used)))
            used.append((row, isinstance(source, Path)))
    if not used:
        return Suggestion((), 0, "")
    gathered = np.concatenate(patches)
    found = []
    for image, count in greedy_cover(gathered, np.concatenate(images), radius, most=MOST):
        row, has_file = used[image]
        found.append(
            Suggested(
                row.inspection_id, row.image_name, row.verdict, count / len(gathered), has_file
            )
        )
    files = [image.image for image in found if image.has_file]
    command = shlex.join(["patchbank", "add", category, *files]) if files else ""
    return Suggestion(tuple(found), len(used), command)


def _wanted(rows: Sequence[Condition], known: set[str]) -> list[Condition]:
    """Return the inspections to look at, each image once, those with most outside first."""
    by_content = {
        row.sha256: row
        for row in rows
        if row.verdict != "fail" and row.sha256 not in known and share_outside(row) > 0
    }
    return sorted(by_content.values(), key=lambda row: -share_outside(row))[: 4 * _MOST_IMAGES]


def _outside(bank: ReadyBank, extraction: Extraction, radius: float) -> NDArray[np.float32]:
    """Return the patches of an image that are outside, the farthest first, at most so many."""
    patches = extraction.inspected_patches
    distances = bank.index.nearest(patches).distances[:, 0]
    order = np.argsort(-distances)
    return patches[order[distances[order] > radius][:_MOST_PATCHES]]
