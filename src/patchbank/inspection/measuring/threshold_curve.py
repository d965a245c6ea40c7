"""The thresholds of a category's bank by the rate asked for, and what each would change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from patchbank.errors import ParameterError
from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.judging.matching import not_calibrated, threshold_rule_of
from patchbank.inspection.learning.change_rate import ChangedRule, change_rule
from patchbank.inspection.learning.remarks import replaced_limits
from patchbank.inspection.living.bank import until_saved
from patchbank.inspection.measuring.costs import Costs, propose
from patchbank.inspection.measuring.judged_defects import (
    JudgedDefects,
    RememberedDefects,
    judge_defects,
)
from patchbank.inspection.measuring.new_limits import NewLimits
from patchbank.inspection.measuring.threshold_report import (
    CurvePoint,
    Estimate,
    RecordedScores,
    ThresholdReport,
)
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration
from patchbank.memory.tail import TailFit
from patchbank.memory.threshold_rule import ThresholdRule
from patchbank.progress import Progress, silent
from patchbank.store.inspections import Selection
from patchbank.store.stored_bank import StoredBank

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
#: The last inspections that are looked at.
MOST_INSPECTIONS = 10_000


def threshold_report(
    workspace: Workspace,
    category: str,
    *,
    new: NewLimits | None = None,
    defects: Sequence[str | Path] = (),
    recorded_defects: bool = False,
    costs: Costs | None = None,
    remembered: RememberedDefects | None = None,
    report: Path | None = None,
    expected_version: int | None = None,
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
    remembered
        What judged the recorded defects before, where no other defects are given.
    report
        Folder for a page with the histogram of scores.
    expected_version
        The version whose thresholds are to be replaced; the active one by default.

    Raises
    ------
    UnknownCategoryError, NotFittedError, NotCalibratedError
        If there is no such category, or it has no bank, or that has no calibration.
    ParameterError
        If a new threshold is out of range, or there are costs without defects.
    BankChangedError
        If another version than the expected one is active.
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
    reads = judges and (bool(defects) or remembered is None)

    def judged_by(stored: StoredBank) -> JudgedDefects:
        if remembered is not None and not defects:
            return remembered.judge(workspace, stored, progress)
        return judge_defects(
            workspace, stored, defects, recorded=recorded_defects, progress=progress
        )

    stored, calibration = _active(workspace, category, patches=reads)
    # First, since a folder without a usable image is an error, which leaves all as it was.
    judged = judged_by(stored) if judges else None
    made: ChangedRule | None = None
    if new is not None and new.any_given:
        rule_of = new.rule
        made = until_saved(
            lambda: change_rule(
                workspace, category, rule_of, cause="threshold", expected_version=expected_version
            )
        )
        before, (stored, calibration) = stored, _active(workspace, category, patches=reads)
        if judges and made.before.key != before.key:
            # Another process changed the bank meanwhile.
            judged = judged_by(stored)
    rule = threshold_rule_of(stored)
    recorded = _recorded(workspace, category, stored.version)
    thresholds = rule.thresholds(calibration)
    remarks = [] if made is None else replaced_limits(made.before.content, made.rule)
    found = ThresholdReport(
        category=category,
        bank_version=stored.version,
        version_before=None if made is None else made.before.version,
        rule=rule,
        calibration=calibration,
        points=_curve(rule, calibration, recorded, judged),
        inspections=recorded,
        defects=judged,
        proposal=None
        if judged is None or costs is None
        else propose(calibration, judged.scores, costs, thresholds.fail_above),
        remarks=(*remarks, *(() if judged is None else judged.remarks)),
    )
    if report is None:
        return found
    from patchbank.inspection.measuring.threshold_page import write_threshold_page

    return write_threshold_page(report, found)


def _active(
    workspace: Workspace, category: str, *, patches: bool
) -> tuple[StoredBank, Calibration]:
    stored = workspace.database.banks.active(category, patches=patches)
    calibration = calibration_of(stored.content)
    if calibration is None:
        raise not_calibrated(category)
    return stored, calibration


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
                None if judged is None else judged.above(thresholds.fail_above),
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
