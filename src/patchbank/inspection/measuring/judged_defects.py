"""Labelled defects judged by a category's bank: how many a limit finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchbank.datasets.collect import collect
from patchbank.datasets.layouts.shared import some
from patchbank.errors import NoImagesError
from patchbank.inspection.judging.judge import judge_of
from patchbank.inspection.judging.matching import matching_extractor
from patchbank.inspection.remembering import LastResults
from patchbank.inspection.sources import file_at, source_name
from patchbank.inspection.workspace import Workspace
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.metrics import Proportion, proportion
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.defects import StoredDefect
from patchbank.store.stored_bank import StoredBank
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extraction import Refusal

# Categories.
_MOST_REMEMBERED = 100


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

    def above(self, threshold: float) -> Proportion:
        """Return the share that scores above a threshold: of that above which images fail, recall.

        With its 95 % interval (Clopper-Pearson).
        """
        return proportion(sum(score > threshold for score in self.scores), len(self.scores))

    def missed(self, threshold: float) -> Proportion:
        """Return the share that does not score above it, with its interval: the miss rate."""
        return proportion(sum(score <= threshold for score in self.scores), len(self.scores))

    def intervals(self) -> list[list[float]]:
        """Return the 95 % interval of a share of them for each count, from none to all."""
        total = len(self.scores)
        shares = (proportion(count, total) for count in range(total + 1))
        return [[share.low, share.high] for share in shares]


class RememberedDefects:
    """Judges the recorded defects once for each version of a bank and of the book. Thread-safe."""

    def __init__(self) -> None:
        self._judged = LastResults[JudgedDefects](_MOST_REMEMBERED)

    def judge(
        self, workspace: Workspace, stored: StoredBank, progress: Progress = silent
    ) -> JudgedDefects:
        """Return what `judge_defects` returns of the recorded ones; it raises the same."""

        def judge() -> JudgedDefects:
            whole = workspace.database.banks.version(stored.category, stored.version)
            return judge_defects(workspace, whole, (), recorded=True, progress=progress)

        # The active bank may be another by now: what is judged is this one.
        _, book_changes = workspace.database.banks.active_state(stored.category)
        return self._judged.of(stored.category, (stored.key, book_changes), judge)


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
        Whether to judge the recorded defects too, as far as their files are where they were, or
        their images were kept with inspections.

    Raises
    ------
    NoImagesError
        If no image is left.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    """
    sources: list[Path | int] = []
    names: list[str] = []
    remarks: list[str] = []
    known: list[str | None] = []
    if paths:
        found = collect(paths)
        sources += found.images
        names += [source_name(path) for path in found.images]
        known += [None] * len(found.images)
        remarks += found.remarks
    if recorded:
        for defect, source in _recorded(workspace, stored, remarks):
            sources.append(source)
            names.append(source_name(source) if isinstance(source, Path) else defect.name)
            known.append(defect.sha256)
    bank, extractor = stored.content, matching_extractor(workspace, stored)
    judge = judge_of(stored, NeighbourIndex(bank.features), extractor.settings)
    seen = {digest for image in bank.images for digest in (image.sha256, image.pixels_sha256)}
    scores: list[float] = []
    learned: list[str] = []
    stream = extractor.extract_many(
        _contents(workspace, stored, sources), names=names, limits=workspace.limits
    )
    judged: dict[str, str] = {}
    for done, (name, digest, result) in enumerate(zip(names, known, stream, strict=True), 1):
        progress("defects", done, len(sources))
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
        reason = f": {remarks[-1]}" if remarks else "; none is recorded, and no folder was given"
        raise NoImagesError(f"no image of a defect could be judged{reason}")
    return JudgedDefects(tuple(sorted(scores)), tuple(remarks))


def _recorded(
    workspace: Workspace, stored: StoredBank, remarks: list[str]
) -> Iterator[tuple[StoredDefect, Path | int]]:
    """Yield recorded defects with their files, or the inspections that their images were kept with.

    What cannot be judged is added to the remarks.
    """
    kept = workspace.database.defects.kept_with(stored.category)
    gone = []
    for defect in workspace.database.defects.of_category(stored.category):
        if defect.synthetic:
            continue
        if defect.origin and (path := file_at(defect.origin)).is_file():
            yield defect, path
        elif defect.name in kept:
            yield defect, kept[defect.name]
        else:
            gone.append(defect.name)
    if gone:
        remarks.append(
            f"{counted(len(gone), 'recorded defect')} cannot be judged, since the file is not "
            f"where it was: {some(gone)}"
        )


def _contents(
    workspace: Workspace, stored: StoredBank, sources: Sequence[Path | int]
) -> Iterator[ImageSource]:
    """Yield paths, and images that were kept as they are needed."""
    for source in sources:
        if isinstance(source, Path):
            yield source
            continue
        image = workspace.database.inspections.image(stored.key.category_id, source)
        # One that was removed just now is refused, as an empty file is.
        yield b"" if image is None else image.content
