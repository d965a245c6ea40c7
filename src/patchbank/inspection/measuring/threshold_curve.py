"""The thresholds of a category's bank by the rate asked for, and what each would change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from patchbank.errors import ParameterError
from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.judging.matching import not_calibrated
from patchbank.inspection.learning.change_rate import change_rule
from patchbank.inspection.living.bank import until_saved
from patchbank.inspection.measuring.judged_defects import (
    Costs,
    JudgedDefects,
    Proposal,
    judge_defects,
    propose,
)
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import (
    Calibration,
    ConformalThreshold,
    Thresholds,
    Verdict,
    images_needed,
)
from patchbank.memory.tail import TailFit
from patchbank.memory.threshold_rule import ThresholdRule
from patchbank.metrics import Proportion, proportion
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.inspections import Selection

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
#: The last inspections that are looked at.
MOST_INSPECTIONS = 10_000


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
            "estimate": None if self.estimate is None else vars(self.estimate).copy(),
            "in_use": self.in_use,
            "changes": [
                {"from": old, "to": new, "inspections": count}
                for (old, new), count in self.changes.items()
            ],
            "recall": None if self.recall is None else _share(self.recall),
            "miss_rate": None
            if self.recall is None
            else _share(proportion(self.recall.total - self.recall.count, self.recall.total)),
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
            fail_above = self.thresholds.fail_above
            found, missed = self.defects.failing(fail_above), self.defects.missed(fail_above)
            lines.append(
                (
                    "defects",
                    f"{found.count} of {found.total} fail at the limit in use: recall "
                    f"{_percents(found)}, missed {_percents(missed)}",
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
            "proposal": None if self.proposal is None else self.proposal.to_json(),
            "page": None if self.page is None else str(self.page),
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True)
class NewLimits:
    """Thresholds to set: by rates, or by scores; what is None stays as it is.

    Attributes
    ----------
    false_alarm_rate, review_rate
        Shares of good images that may fail, and go to review.
    estimate
        Whether to estimate the threshold where there are too few images to promise the rate.
    fail_above, pass_below
        The thresholds themselves. `fail_above` alone is one threshold, without a review.

    Raises
    ------
    ParameterError
        If both rates and scores are given.
    """

    false_alarm_rate: float | None = None
    review_rate: float | None = None
    estimate: bool = False
    fail_above: float | None = None
    pass_below: float | None = None

    def __post_init__(self) -> None:
        if self._by_rate and self._by_score:
            raise ParameterError(
                "limits are set by rates (--false-alarm-rate, --review-rate, --estimate) or by "
                "scores (--fail-above, --pass-below), not by both"
            )

    @property
    def any_given(self) -> bool:
        """Whether there is anything to set."""
        return self._by_rate or self._by_score

    @property
    def _by_rate(self) -> bool:
        return self.false_alarm_rate is not None or self.review_rate is not None or self.estimate

    @property
    def _by_score(self) -> bool:
        return self.fail_above is not None or self.pass_below is not None

    def rule(self, before: ThresholdRule, calibration: Calibration) -> ThresholdRule:
        """Return the rule with these limits.

        Raises
        ------
        ParameterError
            If a value is out of range, or an estimate is not needed or not possible.
        """
        if self._by_score:
            high = self.fail_above
            if high is None:
                high = before.thresholds(calibration).fail_above
            low = high if self.pass_below is None else self.pass_below
            return replace(before, estimate=False, pass_below=low, fail_above=high)
        rule = before.changed(self.false_alarm_rate, self.review_rate)
        if not self.estimate:
            return rule
        if calibration.threshold(rule.false_alarm_rate).sufficient:
            raise ParameterError(
                f"estimate: {counted(len(calibration), 'good image')} are enough to promise a "
                f"false-alarm rate of {100 * rule.false_alarm_rate:.3g} %; leave --estimate out"
            )
        if calibration.groups:
            raise ParameterError(
                f"estimate: the tail needs independent images, and these {len(calibration)} are "
                f"about {calibration.independent}; leave --estimate out"
            )
        TailFit(calibration.scores)  # raises where it cannot be fitted
        return replace(rule, estimate=True)


def threshold_report(
    workspace: Workspace,
    category: str,
    *,
    new: NewLimits | None = None,
    defects: Sequence[str | Path] = (),
    recorded_defects: bool = False,
    costs: Costs | None = None,
    report: Path | None = None,
    progress: Progress = silent,
) -> ThresholdReport:
    """Return the thresholds of the active bank and what others would do.

    Parameters
    ----------
    new
        Thresholds to set first, as a version of the bank, made in one transaction; no image is
        read. By default nothing is changed.
    defects
        Folders, images or globs of parts with a defect, to say how many fail.
    recorded_defects
        Whether to judge the recorded defects too.
    costs
        For a proposal; needs defects.
    report
        Folder for a page with the histogram of scores.

    Raises
    ------
    UnknownCategoryError, NotFittedError, NotCalibratedError
        If there is no such category, or it has no bank, or that has no calibration.
    ParameterError
        If a new threshold is out of range, or there are costs without defects.
    NoImagesError, ExtractorMismatchError
        If defects are given and none can be judged.
    PatchbankError
        If the page cannot be written.
    """
    judges = bool(defects) or recorded_defects
    if costs is not None and not judges:
        raise ParameterError(
            "a proposal by costs needs images of defects; give --defects FOLDER, or "
            "--recorded-defects"
        )
    if report is not None:
        from patchbank.reports.page import check_page_folder

        check_page_folder(report)
    version_before = None
    if new is not None and new.any_given:
        made = until_saved(lambda: change_rule(workspace, category, new.rule, cause="threshold"))
        version_before = made.before.version
    stored = workspace.database.banks.active(category, patches=judges)
    calibration = calibration_of(stored.content)
    if calibration is None:
        raise not_calibrated(category)
    rule = ThresholdRule.of_bank(stored.content.settings)
    recorded = _recorded(workspace, category, stored.version)
    judged = None
    if judges:
        judged = judge_defects(
            workspace, stored, calibration, defects, recorded=recorded_defects, progress=progress
        )
    thresholds = rule.thresholds(calibration)
    found = ThresholdReport(
        category=category,
        bank_version=stored.version,
        version_before=version_before,
        rule=rule,
        calibration=calibration,
        points=_curve(rule, calibration, recorded, judged),
        inspections=recorded,
        defects=judged,
        proposal=None
        if judged is None or costs is None
        else propose(calibration, judged, costs, thresholds.fail_above),
        remarks=() if judged is None else judged.remarks,
    )
    if report is None:
        return found
    from patchbank.inspection.measuring.threshold_page import write_threshold_page

    return write_threshold_page(report, found)


def _recorded(workspace: Workspace, category: str, version: int) -> RecordedScores:
    with workspace.database.inspections.selected(
        category, Selection(limit=MOST_INSPECTIONS)
    ) as selected:
        rows = [(row.verdict, row.score, row.bank_version) for row in selected.brief()]
    return RecordedScores(
        tuple((verdict, score) for verdict, score, _ in rows),
        sum(judged_by != version for _, _, judged_by in rows),
    )


def _curve(
    rule: ThresholdRule,
    calibration: Calibration,
    recorded: RecordedScores,
    judged: JudgedDefects | None,
) -> tuple[CurvePoint, ...]:
    tail = _tail(calibration)
    points = []
    in_use = None if rule.given is not None else rule.false_alarm_rate
    rates = {rate for rate in RATES if rate + rule.review_rate < 1}
    for rate in sorted(rates if in_use is None else rates | {in_use}):
        same = rate == in_use
        by_rate = rule if same else rule.changed(rate)
        thresholds, promised = by_rate.thresholds(calibration), calibration.threshold(rate)
        estimate = None
        if tail is not None and not promised.sufficient:
            estimated = tail.threshold(rate)
            estimate = Estimate(estimated, *tail.rate_interval(estimated))
        points.append(
            CurvePoint(
                rate,
                thresholds,
                promised,
                estimate,
                same,
                recorded.changes(thresholds),
                None if judged is None else judged.failing(thresholds.fail_above),
            )
        )
    return tuple(points)


def _tail(calibration: Calibration) -> TailFit | None:
    if calibration.groups:
        return None
    try:
        return TailFit(calibration.scores)
    except ParameterError:
        return None


def in_words(changes: dict[tuple[str, Verdict], int]) -> str:
    """Return changes of verdicts as a list."""
    return ", ".join(f"{count:,} {old} to {new}" for (old, new), count in changes.items())


def _share(found: Proportion) -> dict[str, Any]:
    return {
        "count": found.count,
        "total": found.total,
        "value": found.value,
        "interval_95": [found.low, found.high],
    }


def _percents(found: Proportion) -> str:
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f} %)"
