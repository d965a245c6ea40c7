"""Labelled defects judged by a category's bank: how many a limit finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patchbank.datasets.collect import collect
from patchbank.datasets.layouts.shared import some
from patchbank.errors import NoImagesError
from patchbank.inspection.judging.judge import judge_of
from patchbank.inspection.judging.matching import matching_extractor
from patchbank.inspection.sources import file_at, source_name
from patchbank.inspection.workspace import Workspace
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.metrics import Proportion, proportion
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.stored_bank import StoredBank
from patchbank.vision.extraction import Refusal


@dataclass(frozen=True, eq=False)
class JudgedDefects:
    """Scores of images that show a defect and are not in the bank.

    Attributes
    ----------
    scores
        Of each image, sorted.
    remarks
        What was left out, and why.
    """

    scores: tuple[float, ...]
    remarks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)

    def failing(self, fail_above: float) -> Proportion:
        """Return the share that fails, with its 95 % interval (Clopper-Pearson): the recall."""
        return proportion(sum(score > fail_above for score in self.scores), len(self.scores))

    def missed(self, fail_above: float) -> Proportion:
        """Return the share that does not fail, with its interval: the miss rate."""
        return proportion(sum(score <= fail_above for score in self.scores), len(self.scores))


def judge_defects(
    workspace: Workspace,
    stored: StoredBank,
    paths: Sequence[str | Path],
    *,
    recorded: bool = False,
    progress: Progress = silent,
) -> JudgedDefects:
    """Judge images of defects; nothing is recorded.

    Images that are among the bank's references, by their decoded pixels, would flatter the limit,
    or condemn it: they are left out, and so is what is there twice.

    Parameters
    ----------
    paths
        Folders, images or globs.
    recorded
        Whether to judge the recorded defects too, as far as their files are where they were.

    Raises
    ------
    NoImagesError
        If no image is left.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    """
    sources: list[Path] = []
    remarks: list[str] = []
    known: list[str | None] = []
    if paths:
        found = collect(paths)
        sources += found.images
        known += [None] * len(found.images)
        remarks += found.remarks
    if recorded:
        defects = workspace.database.defects.of_category(stored.category)
        usable = [defect for defect in defects if not defect.synthetic]
        there = [item for item in usable if item.origin and file_at(item.origin).is_file()]
        sources += [file_at(item.origin) for item in there if item.origin]
        known += [item.sha256 for item in there]
        gone = [defect.name for defect in usable if defect not in there]
        if gone:
            remarks.append(
                f"{counted(len(gone), 'recorded defect')} cannot be judged, since the file is not "
                f"where it was: {some(gone)}"
            )
    bank, extractor = stored.content, matching_extractor(workspace, stored)
    judge = judge_of(stored, NeighbourIndex(bank.features), extractor.settings)
    seen = {digest for image in bank.images for digest in (image.sha256, image.pixels_sha256)}
    scores: list[float] = []
    learned: list[str] = []
    names = [source_name(source) for source in sources]
    stream = extractor.extract_many(
        sources, names=names, limits=workspace.limits, stage="defects", progress=progress
    )
    judged: dict[str, str] = {}
    for name, digest, result in zip(names, known, stream, strict=True):
        if isinstance(result, Refusal):
            remarks.append(str(result.error))
            continue
        image = result.image
        if digest is not None and digest != image.sha256:
            remarks.append(f"{name}: is another picture than the recorded defect; left out")
        elif not seen.isdisjoint((image.sha256, image.pixels_sha256)):
            learned.append(name)
        elif judged.setdefault(image.pixels_sha256, name) != name:
            remarks.append(f"{name}: same picture as {judged[image.pixels_sha256]}; counted once")
        else:
            judged_by = judge(result.patches, image.width, image.height, embedding=result.embedding)
            scores.append(judged_by.score)
    if learned:
        remarks.append(
            f"{counted(len(learned), 'image')} of defects left out because the bank was made of "
            f"the same: {some(learned)}; withdraw what shows a defect"
        )
    if not scores:
        reason = f": {remarks[-1]}" if remarks else "; give a folder of defects"
        raise NoImagesError(f"no image of a defect could be judged{reason}")
    return JudgedDefects(tuple(sorted(scores)), tuple(remarks))
