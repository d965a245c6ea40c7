"""Give a category's bank the thresholds of another false-alarm rate, without any image."""

from __future__ import annotations

from dataclasses import replace

from patchbank.errors import IndistinctImagesError, ParameterError
from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.judging.matching import not_calibrated
from patchbank.inspection.learning.calibrate import CalibrationReport
from patchbank.inspection.learning.indistinct import why_useless
from patchbank.inspection.learning.remarks import no_review, too_few_images
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import check_false_alarm_rate
from patchbank.memory.threshold_rule import ThresholdRule
from patchbank.printable import counted
from patchbank.store.stored_bank import BankChange


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
    workspace.database.check_can_learn()
    stored = workspace.database.banks.active(category)
    bank = stored.content
    calibration = calibration_of(bank)
    if calibration is None:
        raise not_calibrated(category)
    rule = ThresholdRule.of_bank(bank.settings).changed(false_alarm_rate, review_rate)
    threshold = calibration.threshold(rule.false_alarm_rate)
    reason = why_useless(bank, threshold.value)
    if reason is not None:
        raise IndistinctImagesError(
            f"category {category!r}: the bank would be useless ({reason}); nothing was changed"
        )
    changed = replace(
        bank,
        settings=bank.settings | rule.to_settings(),
        features=bank.features[:0],
        patch_image=bank.patch_image[:0],
        patch_row=bank.patch_row[:0],
        patch_column=bank.patch_column[:0],
        images=[],
        embeddings=bank.embeddings[:0],
    )
    version = workspace.database.banks.change(
        category, stored.key, BankChange(changed), cause="calibrate"
    )
    return CalibrationReport(
        category=category,
        bank_version=version,
        images=threshold.sample_size,
        refused=(),
        threshold=threshold,
        thresholds=rule.thresholds(calibration),
        review=rule.to_json(calibration),
        provenance_known=bool((bank.patch_image >= 0).all()),
        seconds=watch.total(),
        suspicious=None,
        remarks=(
            f"no image was read: the threshold comes from the stored scores of "
            f"{counted(threshold.sample_size, 'good image')}",
            *too_few_images(threshold),
            *no_review(rule, calibration),
        ),
    )
