"""What a change of a bank would do: which recorded inspections would get another verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from patchbank.inspection.judging.heatmaps import heatmap_path, write_heatmap
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.living.inspected_image import inspected_image
from patchbank.inspection.settings import DEFAULT_EFFECT
from patchbank.inspection.verdicts import Judgement
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Verdict
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.inspections import InspectionRecord
from patchbank.vision.extraction import Extraction, Refusal
from patchbank.vision.extractor import Extractor


@dataclass(frozen=True, eq=False)
class ChangedVerdict:
    """A recorded inspection that would get another verdict.

    Attributes
    ----------
    before, after
        Verdicts by the bank before and after the change.
    score, score_after
        The scores; where the image could not be judged again, the recorded one, and None.
    picture
        The heatmap by the bank before the change, where one was written.
    """

    image: str
    inspection_id: int | None
    before: Verdict
    after: Verdict
    score: float
    score_after: float | None
    picture: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {**vars(self), "picture": None if self.picture is None else str(self.picture)}


@dataclass(frozen=True, eq=False)
class Effect:
    """The effect of a change on recorded inspections.

    Attributes
    ----------
    judged_again
        Inspections whose image was kept, or whose file was still there, unchanged: they were judged
        by both banks.
    by_score
        Others, for which only the recorded score is known. More patches can only lower a score, so
        that these images score at most that much after an addition; other limits may make them
        fail all the same.
    """

    judged_again: int
    by_score: int
    changes: tuple[ChangedVerdict, ...]

    def describe(self) -> str:
        """Return the effect in a line."""
        if not self.judged_again + self.by_score:
            return "no inspection is recorded that could get another verdict"
        how = f"{self.judged_again} judged again, {self.by_score} by the recorded score alone"
        if not self.by_score:
            how = "judged again"
        elif not self.judged_again:
            how = "by the recorded score alone"
        among = f"of the last {counted(self.judged_again + self.by_score, 'inspection')} ({how})"
        if not self.changes:
            return f"{among} none gets another verdict"
        kinds = Counter((change.before, change.after) for change in self.changes)
        listed = ", ".join(
            f"{count} from {before} to {after}" for (before, after), count in sorted(kinds.items())
        )
        kind = "gets" if len(self.changes) == 1 else "get"
        return f"{among} {len(self.changes)} {kind} another verdict: {listed}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the commands print."""
        return {**vars(self), "changes": [change.to_json() for change in self.changes]}


def effect_of(
    workspace: Workspace,
    category: str,
    extractor: Extractor,
    before: Judge,
    after: Judge,
    *,
    latest: int = DEFAULT_EFFECT,
    pictures: Path | None = None,
    progress: Progress = silent,
) -> Effect:
    """Return which of the last recorded inspections another bank would judge otherwise.

    Parameters
    ----------
    extractor
        What both banks were made with.
    latest
        How many inspections are looked at; of one image inspected several times, only the last.
    pictures
        Folder for heatmaps of those that would change.
    """
    records = _latest(workspace.database.inspections.recent(category, latest))
    again: dict[int, ChangedVerdict | None] = {}
    there = [
        (number, source)
        for number, record in enumerate(records)
        if (source := inspected_image(workspace, record.category_id, record)) is not None
    ]
    if there:
        stream = extractor.extract_many(
            [source for _, source in there],
            limits=workspace.limits,
            stage="effect",
            progress=progress,
        )
        with closing(stream):
            for (number, _), result in zip(there, stream, strict=True):
                record = records[number]
                if isinstance(result, Refusal):
                    continue
                size = result.image.width, result.image.height
                was, will_be = (
                    judge(result.patches, *size, embedding=result.embedding)
                    for judge in (before, after)
                )
                again[number] = _changed(record, result, was, will_be, pictures)
    by_score = [record for number, record in enumerate(records) if number not in again]
    changes = [change for change in again.values() if change is not None]
    for record in by_score:
        old = before.thresholds.verdict(record.score)
        new = after.thresholds.verdict(record.score)
        if old != new:
            changes.append(
                ChangedVerdict(
                    record.image_name, record.inspection_id, old, new, record.score, None
                )
            )
    return Effect(len(again), len(by_score), tuple(changes))


def _latest(records: Sequence[InspectionRecord]) -> list[InspectionRecord]:
    """Return the newest inspection of each image, newest first."""
    found: dict[str, InspectionRecord] = {}
    for record in records:
        found.setdefault(record.sha256, record)
    return list(found.values())


def _changed(
    record: InspectionRecord,
    extraction: Extraction,
    before: Judgement,
    after: Judgement,
    pictures: Path | None,
) -> ChangedVerdict | None:
    if before.verdict == after.verdict:
        return None
    change = ChangedVerdict(
        record.image_name,
        record.inspection_id,
        before.verdict,
        after.verdict,
        before.score,
        after.score,
    )
    if pictures is None:
        return change
    path = heatmap_path(pictures, record.image_name, record.sha256)
    write_heatmap(path, extraction.image.pixels, before, record.image_name)
    return replace(change, picture=path)
