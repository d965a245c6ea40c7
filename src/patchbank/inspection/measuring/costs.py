"""What missed defects and false alarms cost, and the limit at which they cost least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchbank.errors import ParameterError
from patchbank.memory.calibration import Calibration
from patchbank.metrics import Proportion, proportion
from patchbank.printable import counted


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
                "a proposal by costs needs all three: the cost of a miss (--cost-miss), that of a "
                "false alarm (--cost-false-alarm) and the share of defective parts (--defect-rate)"
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
    calibration: Calibration, defects: Sequence[float], costs: Costs, fail_above: float
) -> Proposal:
    """Return the promised rate at which mistakes cost least; of equal ones the lowest rate.

    False alarms count as often as the calibration promises at most, misses as often as among the
    defects.

    Parameters
    ----------
    defects
        Scores of images that show a defect and are not in the bank; at least one.
    fail_above
        The threshold in use.
    """

    def missed_at(threshold: float) -> int:
        return sum(score <= threshold for score in defects)

    def cost_at(threshold: float) -> tuple[float, float]:
        # Of a score just above it: the largest share of good parts that may fail.
        rate = calibration.p_value(float(np.nextafter(threshold, np.inf)))
        return costs.per_part(missed_at(threshold) / len(defects), rate), rate

    candidates = sorted(set(calibration.scores), reverse=True)
    best = min(candidates, key=lambda threshold: cost_at(threshold)[0])
    cost, rate = cost_at(best)
    missed = proportion(missed_at(best), len(defects))
    return Proposal(costs, rate, best, missed, cost, cost_at(fail_above)[0])
