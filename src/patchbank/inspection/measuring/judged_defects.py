"""Labelled defects judged by a category's bank: how many a limit finds, and what misses cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchbank.datasets.collect import collect
from patchbank.datasets.layouts.shared import some
from patchbank.errors import NoImagesError, ParameterError
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.judging.matching import matching_extractor
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.sources import file_at, source_name
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration
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
    calibration: Calibration,
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
    judge = Judge(
        bank.features, FitSettings.from_json(bank.settings, extractor.settings), calibration
    )
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
            scores.append(judge(result.patches, image.width, image.height).score)
    if learned:
        remarks.append(
            f"{counted(len(learned), 'image')} of defects left out because the bank was made of "
            f"the same: {some(learned)}; withdraw what shows a defect"
        )
    if not scores:
        reason = f": {remarks[-1]}" if remarks else "; give a folder of defects"
        raise NoImagesError(f"no image of a defect could be judged{reason}")
    return JudgedDefects(tuple(sorted(scores)), tuple(remarks))


@dataclass(frozen=True)
class Costs:
    """What mistakes cost, in any currency, and how often parts are defective.

    Raises
    ------
    ParameterError
        If a cost is not above 0, or the rate not in (0, 1).
    """

    miss: float
    false_alarm: float
    defect_rate: float

    def __post_init__(self) -> None:
        for name, value in (("miss", self.miss), ("false-alarm", self.false_alarm)):
            if not 0 < value < np.inf:
                raise ParameterError(f"--cost-{name} {value}: must be a number above 0")
        if not 0 < self.defect_rate < 1:
            raise ParameterError(
                f"--defect-rate {self.defect_rate}: must be between 0 and 1, such as 0.002"
            )

    @classmethod
    def of(
        cls, miss: float | None, false_alarm: float | None, defect_rate: float | None
    ) -> Costs | None:
        """Return costs where all are given, None where none is.

        Raises
        ------
        ParameterError
            If some are missing.
        """
        if miss is None and false_alarm is None and defect_rate is None:
            return None
        if miss is None or false_alarm is None or defect_rate is None:
            raise ParameterError(
                "a proposal by costs needs all of --cost-miss, --cost-false-alarm and --defect-rate"
            )
        return cls(miss, false_alarm, defect_rate)

    def per_part(self, missed: float, false_alarms: float) -> float:
        """Return what mistakes cost on average, for each part inspected."""
        return (
            self.defect_rate * missed * self.miss
            + (1 - self.defect_rate) * false_alarms * self.false_alarm
        )


@dataclass(frozen=True)
class Proposal:
    """The false-alarm rate at which mistakes cost least, by the defects judged.

    Attributes
    ----------
    fail_above
        The threshold of that rate.
    cost, cost_in_use
        What mistakes cost for each part inspected, there and at the threshold in use.
    """

    costs: Costs
    false_alarm_rate: float
    fail_above: float
    missed: Proportion
    cost: float
    cost_in_use: float

    def describe(self) -> str:
        """Return the proposal in words."""
        low, high = 100 * self.missed.low, 100 * self.missed.high
        return (
            f"a false-alarm rate of {100 * self.false_alarm_rate:.3g} %, threshold "
            f"{self.fail_above:.4g}: {self.missed.count} of "
            f"{counted(self.missed.total, 'defect')} missed (95 % interval {low:.1f} to "
            f"{high:.1f} %); mistakes cost {1000 * self.cost:,.4g} per 1,000 parts, "
            f"{1000 * self.cost_in_use:,.4g} at the limit in use"
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "cost_miss": self.costs.miss,
            "cost_false_alarm": self.costs.false_alarm,
            "defect_rate": self.costs.defect_rate,
            "false_alarm_rate": self.false_alarm_rate,
            "fail_above": self.fail_above,
            "missed": self.missed.count,
            "defects": self.missed.total,
            "miss_rate_interval": [self.missed.low, self.missed.high],
            "cost_per_1000_parts": 1000 * self.cost,
            "cost_per_1000_parts_in_use": 1000 * self.cost_in_use,
            "text": self.describe(),
        }


def propose(
    calibration: Calibration, defects: JudgedDefects, costs: Costs, fail_above: float
) -> Proposal:
    """Return the promised rate at which mistakes cost least; of equal ones the lowest rate.

    False alarms count as often as the calibration promises at most, misses as often as among the
    defects.

    Parameters
    ----------
    fail_above
        The threshold in use.
    """

    def cost_at(threshold: float) -> tuple[float, float]:
        # Of a score just above it: the largest share of good parts that may fail.
        rate = calibration.p_value(float(np.nextafter(threshold, np.inf)))
        missed = sum(score <= threshold for score in defects.scores) / len(defects)
        return costs.per_part(missed, rate), rate

    candidates = sorted(set(calibration.scores), reverse=True)
    best = min(candidates, key=lambda threshold: cost_at(threshold)[0])
    cost, rate = cost_at(best)
    return Proposal(costs, rate, best, defects.missed(best), cost, cost_at(fail_above)[0])
