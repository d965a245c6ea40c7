"""The patches of a category's bank as a map: which are covered by other references."""

from __future__ import annotations

import math
from typing import Any

from patchbank.inspection.judging.judge import thresholds_of
from patchbank.inspection.judging.matching import matching_settings_of
from patchbank.inspection.judging.nearest_patch import patch_box
from patchbank.inspection.remembering import LastResults
from patchbank.inspection.workspace import Workspace
from patchbank.memory.bank_map import map_of_bank

#: How many patches are shown at most.
MOST_PATCHES = 2000
# How many maps are remembered, the last ones.
_MOST_MAPS = 8


def bank_map(workspace: Workspace, category: str, *, most: int = MOST_PATCHES) -> dict[str, Any]:
    """Return the patches of the active bank as a map.

    A patch is covered by the patches of other references: the distance to the nearest of them is
    what a part with the same spot would score there if the patch's own reference were not in the
    bank.

    Parameters
    ----------
    most
        How many patches at most, drawn at random but always the same.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category, or no bank in it.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    """
    stored = workspace.database.banks.active(category)
    content = stored.content
    settings, _ = matching_settings_of(stored)
    found = map_of_bank(content.features, content.patch_image, most=most)
    thresholds = thresholds_of(stored)
    references: list[int | None] = []
    boxes: list[list[int] | None] = []
    for row in found.rows.tolist():
        slot = int(content.patch_image[row])
        if slot < 0:
            references.append(None)
            boxes.append(None)
            continue
        image = content.images[slot]
        position = int(content.patch_row[row]), int(content.patch_column[row])
        references.append(slot)
        boxes.append(patch_box(settings, image.width, image.height, *position))
    return {
        "category": category,
        "bank_version": stored.version,
        "patches": stored.patch_count,
        "explained": found.explained.tolist(),
        "fail_above": None if thresholds is None else thresholds.fail_above,
        "references": [
            {"name": image.name, "width": image.width, "height": image.height}
            for image in content.images
        ],
        "x": found.positions[:, 0].tolist(),
        "y": found.positions[:, 1].tolist(),
        "distance": [
            float(distance) if math.isfinite(distance) else None for distance in found.distances
        ],
        "reference": references,
        "box_xyxy": boxes,
    }


class RememberedMaps:
    """Makes the map of each version of a bank once. Thread-safe."""

    def __init__(self) -> None:
        self._maps = LastResults[dict[str, Any]](_MOST_MAPS)

    def of(self, workspace: Workspace, category: str) -> dict[str, Any]:
        """Return what `bank_map` returns; it raises the same."""
        key, _ = workspace.database.banks.active_state(category)
        return self._maps.of(category, key, lambda: bank_map(workspace, category))
