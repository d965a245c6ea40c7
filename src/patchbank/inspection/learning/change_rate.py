"""Give a category's bank other thresholds, without any image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from patchbank.errors import IndistinctImagesError, ParameterError
from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.judging.matching import not_calibrated, threshold_rule_of
from patchbank.inspection.learning.calibrate import CalibrationReport
from patchbank.inspection.learning.indistinct import why_useless
from patchbank.inspection.learning.remarks import no_review, replaced_limits, too_few_images
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration, check_false_alarm_rate
from patchbank.memory.threshold_rule import ThresholdRule
from patchbank.printable import counted
from patchbank.store.stored_bank import BankChange, StoredBank


def change_rate(
    workspace: Workspace,
    category: str,
    false_alarm_rate: float | None = None,
    review_rate: float | None = None,
) -> CalibrationReport:
    """Make a version of the active bank whose thresholds keep other rates.

    They come from the scores that the present calibration is based on: no image is read. A rate
    that is not given stays as it is.

    Raises
    ------
    ParameterError
        If there is no rate, or one is out of range.
    UnknownCategoryError, NotFittedError, NotCalibratedError
        If there is no such category, or it has no bank, or that has no calibration.
    IndistinctImagesError
        If the threshold would be 0.
    BankGoneError
        If the bank was replaced meanwhile; nothing is changed then.
    """
    watch = Stopwatch()
    if false_alarm_rate is None and review_rate is None:
        raise ParameterError(
            f"calibrate {category}: give images of good parts, or --false-alarm-rate or "
            "--review-rate to compute the thresholds anew from the stored scores"
        )
    if false_alarm_rate is not None:
        check_false_alarm_rate(false_alarm_rate)
    made = change_rule(
        workspace,
        category,
        lambda rule, _: rule.changed(false_alarm_rate, review_rate),
        cause="calibrate",
    )
    calibration, bank = made.calibration, made.before.content
    threshold = calibration.threshold(made.rule.false_alarm_rate)
    return CalibrationReport(
        category=category,
        bank_version=made.version,
        images=threshold.sample_size,
        refused=(),
        threshold=threshold,
        thresholds=made.rule.thresholds(calibration),
        review=made.rule.to_json(calibration),
        provenance_known=bool((bank.patch_image >= 0).all()),
        seconds=watch.total(),
        suspicious=None,
        remarks=(
            f"no image was read: the threshold comes from the stored scores of "
            f"{counted(threshold.sample_size, 'good image')}",
            *too_few_images(threshold),
            *no_review(made.rule, calibration),
            *replaced_limits(bank, made.rule),
        ),
    )


@dataclass(frozen=True, eq=False)
class ChangedRule:
    """Thresholds that were set: by the `rule`, in `version`, which follows the bank `before`."""

    before: StoredBank
    calibration: Calibration
    rule: ThresholdRule
    version: int


def change_rule(
    workspace: Workspace,
    category: str,
    rule_of: Callable[[ThresholdRule, Calibration], ThresholdRule],
    *,
    cause: str,
    expected_version: int | None = None,
) -> ChangedRule:
    """Make a version of the active bank with other thresholds, in one transaction.

    Parameters
    ----------
    rule_of
        Returns the new rule, of the present one and the calibration.
    cause
        Name of the recorded event.
    expected_version
        The version to be changed; the active one by default.

    Raises
    ------
    UnknownCategoryError, NotFittedError, NotCalibratedError
        If there is no such category, or it has no bank, or that has no calibration.
    IndistinctImagesError
        If the threshold would be 0.
    BankChangedError
        If another version than the expected one is active.
    BankReplacedError
        If the bank was replaced meanwhile; nothing is changed then.
    """
    workspace.database.check_can_learn()
    stored = workspace.database.banks.active(category)
    stored.key.check_version(category, expected_version)
    bank = stored.content
    calibration = calibration_of(bank)
    if calibration is None:
        raise not_calibrated(category)
    before = threshold_rule_of(stored)
    rule = rule_of(before, calibration)
    thresholds = rule.thresholds(calibration)
    reason = why_useless(bank, thresholds.fail_above)
    if reason is not None:
        raise IndistinctImagesError(
            f"category {category!r}: the bank would be useless ({reason}); nothing was changed"
        )
    changed = replace(bank.without_rows(), settings=rule.in_settings(bank.settings))
    detail = {
        "thresholds_before": before.thresholds(calibration).to_json(),
        "thresholds": thresholds.to_json(),
    }
    version = workspace.database.banks.change(
        category, stored.key, BankChange(changed), cause=cause, detail=detail
    )
    return ChangedRule(stored, calibration, rule, version)
