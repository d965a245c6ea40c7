"""What a person should know of a bank that was just learned, although nothing failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchbank.inspection.demands import refused_remark
from patchbank.inspection.reduction import reduction_remarks
from patchbank.memory.calibration import Threshold, images_needed

if TYPE_CHECKING:
    from patchbank.inspection.learn import LearnedBank


def remarks_of(bank: LearnedBank) -> tuple[str, ...]:
    """Return the remarks on a learned bank, each one line, the gravest first."""
    given = len(bank.images) + len(bank.refused)
    suspicious = bank.suspicious
    return (
        *(() if suspicious is None else (suspicious.describe(),)),
        *too_few_images(bank.threshold),
        *refused_remark(len(bank.refused), given),
        *reduction_remarks(bank.images, bank.settings.extractor.preprocessing),
    )


def too_few_images(threshold: Threshold) -> list[str]:
    """Return a remark where a threshold cannot keep the rate asked for."""
    if threshold.sufficient:
        return []
    count = threshold.sample_size
    missing = images_needed(threshold.requested_rate) - count
    return [
        f"{count} reference images cannot keep a false-alarm rate of "
        f"{100 * threshold.requested_rate:.3g} %: expect up to "
        f"{100 * threshold.guaranteed_rate:.3g} %; add {missing} more good images"
    ]
