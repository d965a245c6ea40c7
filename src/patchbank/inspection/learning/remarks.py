"""What a person should know of a bank that was just learned, although nothing failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from patchbank.inspection.learning.demands import refused_remark
from patchbank.inspection.learning.reduction import reduction_remarks
from patchbank.memory.calibration import Calibration, ConformalThreshold, images_needed
from patchbank.memory.threshold_rule import ThresholdRule
from patchbank.printable import counted
from patchbank.store.bank_content import BankContent

if TYPE_CHECKING:
    from patchbank.inspection.learning.learned_bank import LearnedBank

# A threshold that grows or shrinks by more than that: other images do not explain it.
_JUMP: Final = 1.5
# A bank calibrated by less than this share of the images of the one before.
_NOTABLY_FEWER: Final = 0.75


def remarks_of(bank: LearnedBank) -> tuple[str, ...]:
    """Return the remarks on a learned bank, each one line, the gravest first.

    Images that stand apart are not among them, since what to do with these is for the caller to
    say: see `Suspicious.describe`.
    """
    given = len(bank.images) + len(bank.refused)
    return (
        *too_few_images(bank.threshold),
        *no_review(bank.settings.threshold_rule, bank.calibration),
        *refused_remark(len(bank.refused), given),
        *reduction_remarks(bank.images, bank.settings.extractor.preprocessing),
    )


def too_few_images(threshold: ConformalThreshold) -> list[str]:
    """Return a remark where a threshold cannot keep the rate asked for."""
    if threshold.sufficient:
        return []
    count, independent = threshold.sample_size, threshold.independent
    missing = images_needed(threshold.requested_rate) - independent
    few = f"{counted(count, 'reference image')} are too few"
    more = counted(missing, "more good image")
    if not threshold.are_independent:
        few = f"{counted(count, 'image')}, about {independent:,} independent, are too few"
        more = counted(missing, "more independent image")
        more += ", such as of other parts"
    return [
        f"{few} for a false-alarm rate of "
        f"{100 * threshold.requested_rate:.3g} %: expect up to "
        f"{100 * threshold.guaranteed_rate:.3g} %; add {more}"
    ]


def no_review(rule: ThresholdRule, calibration: Calibration) -> list[str]:
    """Return a remark where a review rate is asked for and no image can go to review."""
    few = not calibration.threshold(rule.false_alarm_rate).sufficient
    # Too few images for the false-alarm rate are said already.
    if few or not rule.review_rate or not rule.thresholds(calibration).equal:
        return []
    return [f"review: {rule.describe_review(calibration)}"]


def replaced_limits(before: BankContent, new: ThresholdRule) -> list[str]:
    """Return a remark where limits that were not set by rates alone give way to those of rates."""
    rule = ThresholdRule.of_bank(before.settings)
    if new.given is not None:
        return []
    if rule.given is not None:
        return [
            f"the limits that were given as scores ({rule.given.describe()}) are replaced by those "
            "of the rates; to set them again, run: patchbank threshold"
        ]
    if rule.estimate and not new.estimate:
        return [
            "the limit is not an estimate any more; patchbank threshold --estimate makes it one"
        ]
    return []


def lost_likeness(before: BankContent) -> list[str]:
    """Return a remark where a bank replaces one whose scores likeness to defects changed."""
    if before.likeness is None:
        return []
    return [
        "likeness to recorded defects does not change scores any more; to have it so, run: "
        "patchbank defects use CATEGORY on"
    ]


def fewer_images(before: int, threshold: ConformalThreshold) -> list[str]:
    """Return a remark where a fit replaces a bank that many more images, `before`, calibrated."""
    if threshold.sample_size >= _NOTABLY_FEWER * before:
        return []
    return [
        f"the threshold is based on {counted(threshold.sample_size, 'image')}, and that of the "
        f"previous bank on {before}: fewer images give a worse threshold; fit again with more "
        f"images if this was not intended"
    ]


def moved_threshold(before: Calibration | None, threshold: ConformalThreshold) -> list[str]:
    """Return a remark where a calibration moves the threshold far from that of `before`."""
    if before is None:
        return []
    earlier = before.threshold(threshold.requested_rate).value
    if earlier / _JUMP <= threshold.value <= earlier * _JUMP:
        return []
    return [
        f"the threshold changes from {earlier:.4g} to {threshold.value:.4g}: check that these "
        f"images show good parts, in the same lighting and position as the references"
    ]
