"""Calibration scores after a change of the bank: new ones only where the change reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from patchbank.inspection.learning.score_collector import ScoreCollector
from patchbank.inspection.living.reference_patches import inexactness
from patchbank.inspection.settings import FitSettings
from patchbank.memory.leave_one_out import left_out_of
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.bank_content import BankContent, CalibrationScores
from patchbank.vision.regions import spread

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Recalibration:
    """Scores after a change.

    Attributes
    ----------
    scores
        Of all images, complete.
    renewed
        How many images have other scores than before, new ones included.
    unknown
        Images whose scores could not be checked, because their patch features are not known.
    """

    scores: CalibrationScores
    renewed: int
    unknown: int


def recalibrated(
    bank: BankContent,
    settings: FitSettings,
    index: NeighbourIndex,
    features: Mapping[int, Floats],
    radius: float,
    *,
    came: int = 0,
    gone: Floats | None = None,
    new: int = 0,
    progress: Progress = silent,
) -> Recalibration:
    """Return the scores of a changed bank.

    An image whose nearest rows stayed as they were keeps its score. The others are left out of the
    bank as in a fit, and patches of other images that lose their cover are put back.

    Parameters
    ----------
    bank
        The whole bank after the change; its `scores` are those of before.
    index
        Its index, with the images of its rows as groups.
    features
        The patch features of its images, as far as known, by index.
    radius
        Within which it represents the patches.
    came
        How many of its rows, the last ones, came with the change.
    gone
        float32 (g, d): the rows that went.
    new
        How many of its images, the last ones, came with the change.
    """
    scores, count = bank.scores, len(bank.images)
    held_out = np.zeros(count, np.bool_)
    held_out[scores.image[scores.held_out & (scores.image >= 0)]] = True
    is_new = np.arange(count) >= count - new
    scored = is_new.copy()
    scored[scores.image[scores.image >= 0]] = True
    collector = ScoreCollector(settings, index)
    renewed: list[int] = []
    first_new_row = len(bank.features) - came
    gone_index = NeighbourIndex(gone) if gone is not None and len(gone) else None

    def renew(slot: int, own: Floats, distances: Floats, nearest: NDArray[np.int64]) -> None:
        if not (scored[slot] and np.isfinite(distances).all()):
            return
        reached = bool((nearest >= first_new_row).any())
        if not reached and gone_index is not None:
            reached = bool((gone_index.nearest(own).distances[:, 0] < distances).any())
        if not (reached or is_new[slot]):
            return
        image = bank.images[slot]
        size = image.width, image.height
        inspected, grid = settings.extractor.inspected_of(*size), settings.extractor.grid_of(*size)
        collector.add(
            slot, size, *(spread(values, inspected, grid) for values in (own, distances, nearest))
        )
        renewed.append(slot)

    learned = [slot for slot in sorted(features) if not held_out[slot]]
    if learned:
        counts = [len(features[slot]) for slot in learned]
        patches = np.concatenate([features[slot] for slot in learned])
        left_out = left_out_of(
            index,
            radius,
            patches,
            np.array(learned).repeat(counts),
            slack=inexactness(patches),
            progress=progress,
        )
        end = 0
        for slot, length in zip(learned, counts, strict=True):
            own = slice(end, end := end + length)
            renew(slot, patches[own], left_out.distances[own], left_out.nearest[own])
    for slot in (slot for slot in sorted(features) if held_out[slot]):
        found = index.nearest(features[slot])
        renew(slot, features[slot], found.distances[:, 0], found.indices[:, 0])
    known = np.isin(np.arange(count), list(features))
    unknown = int(np.count_nonzero(scored & ~known))
    if not renewed:
        return Recalibration(scores, 0, unknown)
    return Recalibration(_with(scores, collector.scores()), len(renewed), unknown)


def _with(scores: CalibrationScores, found: CalibrationScores) -> CalibrationScores:
    """Return scores with those found in their place, and those of new images after them."""
    slot_of = {int(image): row for row, image in enumerate(found.image)}
    score, maximum = scores.score.copy(), scores.map_maximum.copy()
    for row, image in enumerate(scores.image.tolist()):
        place = slot_of.pop(image, None)
        if place is not None:
            score[row], maximum[row] = found.score[place], found.map_maximum[place]
    more = found.rows(np.array(sorted(slot_of.values()), np.int64))
    if (scores.held_out & scores.counts).any():
        # Held-out images alone set the thresholds.
        more = replace(more, counts=np.zeros(len(more), np.bool_))
    return replace(scores, score=score, map_maximum=maximum).with_more(more)


def unchecked_remark(recalibration: Recalibration) -> tuple[str, ...]:
    """Return a remark where scores could not be checked after a change."""
    if not recalibration.unknown:
        return ()
    return (
        f"the calibration scores of {counted(recalibration.unknown, 'reference')} stay as they "
        f"were: their patch features are not kept, and their files are gone or changed; fit again "
        f"with all images for exact thresholds",
    )
