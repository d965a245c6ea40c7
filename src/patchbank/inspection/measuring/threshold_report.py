"""What the thresholds of a bank promise, and what others would change: the report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchbank.inspection.measuring.costs import Proposal
from patchbank.inspection.measuring.judged_defects import JudgedDefects
from patchbank.memory.calibration import (
    Calibration,
    ConformalThreshold,
    Thresholds,
    Verdict,
    images_needed,
)
from patchbank.memory.threshold_rule import ThresholdRule
from patchbank.metrics import Proportion, proportion
from patchbank.printable import counted


@dataclass(frozen=True, eq=False)
class RecordedScores:
    """The last recorded inspections of a category.

    Attributes
    ----------
    scores
        The recorded verdict and score of each.
    by_earlier
        How many of them an earlier version of the bank judged.
    """

    scores: tuple[tuple[str, float], ...]
    by_earlier: int

    def __len__(self) -> int:
        return len(self.scores)

    def changes(self, thresholds: Thresholds) -> dict[tuple[str, Verdict], int]:
        """Return how many verdicts would be others, by the recorded and the new one."""
        pairs = ((verdict, thresholds.verdict(score)) for verdict, score in self.scores)
        return dict(sorted(Counter(pair for pair in pairs if pair[0] != pair[1]).items()))


@dataclass(frozen=True)
class Estimate:
    """An estimated threshold, and the interval of the rate that it may really have (90 %)."""

    fail_above: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "fail_above": self.fail_above,
            "false_alarm_rate_interval": [self.low, self.high],
        }


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """The thresholds of a rate, what they promise, and what they would change.

    Attributes
    ----------
    thresholds
        Those that are set where this rate is asked for; where `in_use`, those in use.
    promised
        The threshold above which an image fails, by the conformal rule.
    estimate
        Of a rate for which there are too few images; None for others, and where there are too few
        for that as well.
    changes
        How many recorded inspections would get another verdict, by the recorded and the new one.
    recall
        Of the defects judged, the share that fails; None without.
    """

    false_alarm_rate: float
    thresholds: Thresholds
    promised: ConformalThreshold
    estimate: Estimate | None
    in_use: bool
    changes: dict[tuple[str, Verdict], int]
    recall: Proportion | None

    @property
    def missing_images(self) -> int:
        """How many more good images the rate needs."""
        needed = images_needed(self.false_alarm_rate) - self.promised.independent
        return 0 if self.promised.sufficient else needed

    @property
    def changes_in_words(self) -> str:
        """The changes as a list, such as ``3 fail to pass``."""
        return in_words(self.changes)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "false_alarm_rate": self.false_alarm_rate,
            **self.thresholds.to_json(),
            "guaranteed_false_alarm_rate": self.promised.guaranteed_rate,
            "realised_interval": list(self.promised.realised),
            "sufficient": self.promised.sufficient,
            "missing_images": self.missing_images,
            "estimate": None if self.estimate is None else self.estimate.to_json(),
            "in_use": self.in_use,
            "changes": [
                {"from": old, "to": new, "inspections": count}
                for (old, new), count in self.changes.items()
            ],
            **_recall(self.recall),
        }


@dataclass(frozen=True, eq=False, repr=False)
class ThresholdReport:
    """The thresholds in use and what others would do.

    Attributes
    ----------
    version_before
        The version whose thresholds were replaced; None where they were only shown.
    good
        The share of calibration images above the threshold in use, with its 95 % interval.
    """

    category: str
    bank_version: int
    version_before: int | None
    rule: ThresholdRule
    calibration: Calibration
    points: tuple[CurvePoint, ...]
    inspections: RecordedScores
    defects: JudgedDefects | None
    proposal: Proposal | None
    remarks: tuple[str, ...]
    page: Path | None = None

    def __repr__(self) -> str:
        return (
            f"<ThresholdReport of {self.category!r}, version {self.bank_version}: "
            f"{self.thresholds.describe()}>"
        )

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds in use."""
        return self.rule.thresholds(self.calibration)

    @property
    def good(self) -> Proportion:
        """The share of calibration images above the threshold in use."""
        above = sum(score > self.thresholds.fail_above for score in self.calibration.scores)
        return proportion(above, len(self.calibration))

    @property
    def changes(self) -> dict[tuple[str, Verdict], int]:
        """How many recorded inspections would get another verdict by the thresholds in use."""
        return self.inspections.changes(self.thresholds)

    def facts(self) -> list[tuple[str, str]]:
        """Return names and texts of what a person should know first."""
        text = self.rule.describe(self.calibration)
        if self.rule.given is not None:
            text += f" (95 % interval {100 * self.good.low:.2g} to {100 * self.good.high:.2g} %)"
        lines = [
            ("category", f"{self.category}, version {self._version_in_words()}"),
            ("limits", self.thresholds.describe()),
            ("calibration", text),
            ("review", self.rule.describe_review(self.calibration)),
            ("inspections", self._inspections_in_words()),
        ]
        if self.defects is not None:
            limits, known = self.thresholds, self.defects
            found, missed = known.above(limits.fail_above), known.missed(limits.fail_above)
            passing = known.missed(limits.pass_below)
            lines.append(
                (
                    "defects",
                    f"{found.count} of {found.total} fail at the limit in use: recall "
                    f"{_percents(found)}, missed {_percents(missed)}; "
                    f"{missed.count - passing.count} to review, {passing.count} pass: "
                    f"{_percents(passing)}",
                )
            )
        if self.proposal is not None:
            lines.append(("proposal", self.proposal.describe()))
        return lines

    def _version_in_words(self) -> str:
        if self.version_before is None:
            return f"{self.bank_version}"
        return f"{self.bank_version}, set now (before: {self.version_before})"

    def _inspections_in_words(self) -> str:
        if not len(self.inspections):
            return "none recorded"
        text = f"the last {counted(len(self.inspections), 'recorded inspection')}"
        if self.inspections.by_earlier:
            text += (
                f", {self.inspections.by_earlier:,} of them by earlier versions of the bank, with "
                "the scores that these gave"
            )
        if self.changes:
            text += f"; by the limits in use: {in_words(self.changes)}"
        return text

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {
            "category": self.category,
            "bank_version": self.bank_version,
            "version_before": self.version_before,
            "set_by": "score"
            if self.rule.given is not None
            else "estimate"
            if self.rule.tail(self.calibration) is not None
            else "rate",
            "false_alarm_rate": None if self.rule.given is not None else self.rule.false_alarm_rate,
            **self.thresholds.to_json(),
            "images": len(self.calibration),
            "good_above": _share(self.good),
            "calibration": self.rule.describe(self.calibration),
            "review": self.rule.to_json(self.calibration),
            "inspections": len(self.inspections),
            "inspections_by_earlier_versions": self.inspections.by_earlier,
            "curve": [point.to_json() for point in self.points],
            "defects": None if self.defects is None else len(self.defects),
            "known_defects": None if self.defects is None else self._known(self.defects),
            "proposal": None if self.proposal is None else self.proposal.to_json(),
            "page": None if self.page is None else str(self.page),
            "remarks": list(self.remarks),
        }

    def _known(self, defects: JudgedDefects) -> dict[str, Any]:
        """Return the scores of the defects, and how many each limit finds."""
        return {
            "scores": list(defects.scores),
            "fail_above": _recall(defects.above(self.thresholds.fail_above)),
            "pass_below": _recall(defects.above(self.thresholds.pass_below)),
            "intervals": defects.intervals(),
        }


def in_words(changes: dict[tuple[str, Verdict], int]) -> str:
    """Return changes of verdicts as a list."""
    return ", ".join(f"{count:,} {old} to {new}" for (old, new), count in changes.items())


def _share(found: Proportion) -> dict[str, Any]:
    return {
        "count": found.count,
        "total": found.total,
        "value": found.value,
        "interval": [found.low, found.high],
    }


def _recall(found: Proportion | None) -> dict[str, Any]:
    """Return the share of defects that a limit finds, and that which it misses."""
    if found is None:
        return {"recall": None, "miss_rate": None}
    missed = proportion(found.total - found.count, found.total)
    return {"recall": _share(found), "miss_rate": _share(missed)}


def _percents(found: Proportion) -> str:
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f} %)"
