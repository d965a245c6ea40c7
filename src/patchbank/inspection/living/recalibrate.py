"""Calibration scores after a change of the bank: new ones only where the change reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.learning.dependence import groups_of_references
from patchbank.inspection.learning.remarks import moved_threshold, too_few_images
from patchbank.inspection.learning.score_collector import ScoreCollector
from patchbank.inspection.living.bank import LivingBank
from patchbank.inspection.living.reference_patches import inexactness
from patchbank.inspection.living.remembered import Remembered
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration
from patchbank.memory.groups import Groups
from patchbank.memory.labelled import Likeness
from patchbank.memory.leave_one_out import left_out_from, left_out_of
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.two_nearest import TwoNearest
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.bank_content import BankContent, CalibrationScores

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


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
    remembered
        For the next change.
    """

    scores: CalibrationScores
    renewed: int
    unknown: int
    remembered: Remembered | None = None


@dataclass(frozen=True, eq=False)
class ChangedBank:
    """A bank after a change that is not saved yet.

    Attributes
    ----------
    content
        All of it; its `scores` are those of before.
    ordinals, positions
        Of its rows and of its images, int64; those that came are the last ones.
    stays
        bool (n,): which images of the bank before stay.
    radius
        Within which it represents the patches; by default as the bank before.
    groups
        int64 (n,): the group of each of its images, -1 for one of its own; by default as before.
    """

    content: BankContent
    ordinals: Integers
    positions: Integers
    stays: NDArray[np.bool_]
    radius: float | None = None
    groups: Integers | None = None

    @cached_property
    def index(self) -> NeighbourIndex:
        """Its rows, with their images as groups; built when it is needed."""
        return NeighbourIndex(self.content.features, self.content.patch_image)

    @property
    def new_images(self) -> NDArray[np.bool_]:
        """Which of its images came with the change, bool (n,)."""
        count = len(self.content.images)
        return np.arange(count) >= np.count_nonzero(self.stays)


def recalibrated(
    workspace: Workspace,
    bank: LivingBank,
    after: ChangedBank,
    features: Mapping[int, Floats],
    *,
    progress: Progress = silent,
) -> Recalibration:
    """Return the scores of a changed bank.

    An image whose nearest rows stayed as they were keeps its score. The others are left out of the
    bank as in a fit, and patches of other images that lose their cover are put back.

    Parameters
    ----------
    bank
        The bank before.
    features
        The patch features of the images after the change, as far as known, by index.
    """
    content = after.content
    scores, count, is_new = content.scores, len(content.images), after.new_images
    held_out = np.zeros(count, np.bool_)
    held_out[scores.image[scores.held_out & (scores.image >= 0)]] = True
    scored = is_new.copy()
    scored[scores.image[scores.image >= 0]] = True
    likeness = bank.judge.likeness
    # Only this score and likeness to defects need a bank's rows.
    needs_rows = bank.settings.image_score == "reweighted" or likeness is not None
    index = after.index if needs_rows else bank.index
    textures = bank.textures_of(content.images, after.positions)
    groups = groups_of_references(content, textures, after.groups)
    collector = _Collector(bank.settings, after, index, groups, likeness)
    learned = [slot for slot in sorted(features) if not held_out[slot]]
    remembered = None
    if learned:
        remembered = _renew_learned(
            workspace, bank, after, learned, features, scored, groups, collector, progress
        )
    came = ~np.isin(after.ordinals, bank.stored.ordinals)
    went = ~np.isin(bank.stored.ordinals, after.ordinals)
    changed = np.concatenate([content.features[came], bank.content.features[went]])
    for slot in (slot for slot in sorted(features) if held_out[slot] and len(changed)):
        found = after.index.nearest(features[slot])
        to_changed = NeighbourIndex(changed).nearest(features[slot]).distances
        if (to_changed <= found.distances).any():
            collector.add(slot, features[slot], found.distances[:, 0], found.indices[:, 0])
    known = np.isin(np.arange(count), list(features))
    unknown = int(np.count_nonzero(scored & ~known))
    if len(collector):
        scores = _with(scores, collector.scores(), groups)
    if bank.textures or after.groups is not None:
        # Pictures of a part that is known may have come.
        shared = np.full(count, -1) if groups is None else groups.shared
        of_learned = (scores.image >= 0) & ~scores.held_out
        scores = replace(scores, group=np.where(of_learned, shared[scores.image], scores.group))
    return Recalibration(scores, len(collector), unknown, remembered)


class _Collector:
    """Collects scores from the distances of images' inspected patches."""

    def __init__(
        self,
        settings: FitSettings,
        after: ChangedBank,
        index: NeighbourIndex,
        groups: Groups | None,
        likeness: Likeness | None,
    ) -> None:
        self._content, self._likeness = after.content, likeness
        self._collector = ScoreCollector(settings, index, groups, summarise=likeness is not None)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, slot: int, own: Floats, distances: Floats, nearest: Integers) -> None:
        image = self._content.images[slot]
        self._collector.add(slot, (image.width, image.height), own, distances, nearest)
        self._count += 1

    def scores(self) -> CalibrationScores:
        found, content = self._collector.scores(), self._content
        if self._likeness is None:
            return found
        embeddings = content.embeddings[found.image] + content.embedding_mean
        summaries = np.concatenate([self._collector.summaries(), embeddings], axis=1)
        return replace(found, added=self._likeness.addition(summaries))


def _renew_learned(
    workspace: Workspace,
    bank: LivingBank,
    after: ChangedBank,
    learned: Sequence[int],
    features: Mapping[int, Floats],
    scored: NDArray[np.bool_],
    groups: Groups | None,
    collector: _Collector,
    progress: Progress,
) -> Remembered:
    """Collect new scores of images that the bank was fitted on; return what to remember."""
    counts = np.array([len(features[slot]) for slot in learned])
    patches = np.concatenate([features[slot] for slot in learned])
    images = np.array(learned).repeat(counts)
    positions = after.positions[learned]
    before = _before(workspace, bank, positions, counts, patches, progress)
    content = after.content
    now = before.updated(
        lambda: after.index,
        after.ordinals,
        content.features,
        content.patch_image,
        patches,
        progress,
    )
    radius = bank.radius if after.radius is None else after.radius
    # Only what is beyond a radius can be so by inexactness alone.
    slack = np.zeros(len(patches), np.float32)
    far = np.maximum(before.distances[:, 1], now.distances[:, 1]) > min(radius, bank.radius)
    slack[far] = inexactness(patches[far])
    reached = after.new_images.copy()
    if after.radius is not None:
        # Patches are put back within another radius, for all images.
        reached[:] = True
    reached[_reached(bank, after, before, now, images, slack)] = True
    if groups is None:
        left_out = left_out_from(
            now.distances,
            now.rows(),
            content.patch_image,
            radius,
            patches,
            images,
            slack=slack,
            only=reached,
            progress=progress,
        )
    else:
        # The two nearest rows do not tell which groups a change reaches.
        reached[:] = True
        left_out = left_out_of(
            after.index,
            radius,
            patches,
            images,
            groups=groups,
            slack=inexactness(patches),
            progress=progress,
        )
    end = 0
    for slot, length in zip(learned, counts.tolist(), strict=True):
        own = slice(end, end := end + length)
        if reached[slot] and scored[slot] and np.isfinite(left_out.distances[own]).all():
            collector.add(slot, patches[own], left_out.distances[own], left_out.nearest[own])
    return Remembered(now, positions, counts)


def _before(
    workspace: Workspace,
    bank: LivingBank,
    positions: Integers,
    counts: Integers,
    patches: Floats,
    progress: Progress,
) -> TwoNearest:
    """Return the nearest rows by the bank before, as remembered or else searched."""
    ordinals = bank.stored.ordinals
    stored = workspace.database.features.neighbours(bank.stored.key)
    remembered = None if stored is None else Remembered.from_bytes(stored)
    if remembered is None:
        return TwoNearest.searched(bank.index, ordinals, patches, progress)
    found, known = remembered.of(positions, counts)
    content = bank.content
    distances, rows = found.distances, found.ordinals
    if not np.array_equal(found.bank, ordinals):
        kept = found.of(known).updated(
            lambda: bank.index,
            ordinals,
            content.features,
            content.patch_image,
            patches[known],
            progress,
        )
        distances[known], rows[known] = kept.distances, kept.ordinals
    # Those of new images, and of images that came back.
    others = np.ascontiguousarray(patches[~known])
    fresh = TwoNearest.searched(bank.index, ordinals, others, progress)
    distances[~known], rows[~known] = fresh.distances, fresh.ordinals
    return TwoNearest(ordinals, distances, rows)


def _reached(
    bank: LivingBank,
    after: ChangedBank,
    before: TwoNearest,
    now: TwoNearest,
    images: Integers,
    slack: Floats,
) -> Integers:
    """Return the images whose left-out distances may be others, by their indices afterwards.

    These are images with a patch that has other nearest rows, and images without which such a
    patch was or is beyond the radius: other patches are put back for these.
    """
    changed = ((before.distances != now.distances) | (before.ordinals != now.ordinals)).any(axis=1)
    found = [images[changed]]
    # Rows of unknown images stay unknown.
    place = np.append(np.where(after.stays, np.cumsum(after.stays) - 1, -1), -1)
    for state, ordinals, owners in (
        (before, bank.stored.ordinals, place[bank.content.patch_image]),
        (now, after.ordinals, after.content.patch_image),
    ):
        beyond = changed & (state.distances[:, 1] - slack > bank.radius)
        found.append(owners[state.of(beyond).rows(ordinals)[:, 0]])
    reached = np.unique(np.concatenate(found))
    return reached[reached >= 0]


def _with(
    scores: CalibrationScores, found: CalibrationScores, groups: Groups | None
) -> CalibrationScores:
    """Return scores with those found in their place, and those of new images after them.

    What likeness to defects adds is that of a fit without the image, as long as the weights stay:
    so it is taken over of new images alone, which the weights were fitted without. A new image may
    show a part that they were fitted to: then it gets no less than the other pictures of it.
    """
    slot_of = {int(image): row for row, image in enumerate(found.image)}
    score, maximum = scores.score.copy(), scores.map_maximum.copy()
    for row, image in enumerate(scores.image.tolist()):
        place = slot_of.pop(image, None)
        if place is not None:
            score[row], maximum[row] = found.score[place], found.map_maximum[place]
    more = found.rows(np.array(sorted(slot_of.values()), np.int64))
    if groups is not None:
        known = scores.image >= 0
        before = np.full(len(groups.number), -np.inf)
        before[scores.image[known]] = scores.added[known]
        least = [before[groups.left_out_with(image)].max() for image in more.image.tolist()]
        more = replace(more, added=np.maximum(more.added, least))
    if (scores.held_out & scores.counts).any():
        # Held-out images alone set the thresholds.
        more = replace(more, counts=np.zeros(len(more), np.bool_))
    return replace(scores, score=score, map_maximum=maximum).with_more(more)


def remember(workspace: Workspace, bank: LivingBank, recalibration: Recalibration) -> None:
    """Remember the nearest rows for the next change of the bank."""
    if recalibration.remembered is not None:
        workspace.database.features.remember_neighbours(
            bank.stored.key, recalibration.remembered.to_bytes()
        )


def promise_remarks(bank: LivingBank, after: Calibration | None) -> tuple[str, ...]:
    """Return remarks where a changed bank's threshold promises less than before, or moved far."""
    rule, before = bank.settings.threshold_rule, calibration_of(bank.content)
    if after is None or before is None or rule.given is not None:
        return ()
    was, is_now = before.threshold(rule.false_alarm_rate), after.threshold(rule.false_alarm_rate)
    fewer = is_now.guaranteed_rate > was.guaranteed_rate
    return (*(too_few_images(is_now) if fewer else ()), *moved_threshold(before, is_now))


def unchecked_remark(recalibration: Recalibration) -> tuple[str, ...]:
    """Return a remark where scores could not be checked after a change."""
    if not recalibration.unknown:
        return ()
    return (
        f"the calibration scores of {counted(recalibration.unknown, 'reference')} stay as they "
        f"were: their patch features are not kept, and their files are gone or changed; fit again "
        f"with all images for exact thresholds",
    )
