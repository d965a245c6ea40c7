"""How well an inspection agrees with the known answer for parts, and with itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.metrics.images import Proportion, proportion

Reading = Literal["acceptable", "marginal", "not acceptable"]
Criterion = Literal["effectiveness", "miss_rate", "false_alarm_rate"]

#: Where a figure is acceptable, and where it is still marginal: AIAG, "Measurement Systems
#: Analysis", 4th edition, 2010, chapter III, section C.
BOUNDS: Final[dict[Criterion, tuple[float, float]]] = {
    "effectiveness": (0.90, 0.80),
    "miss_rate": (0.02, 0.05),
    "false_alarm_rate": (0.05, 0.10),
}
# The same chapter: above it, agreement is good to excellent; below the other, poor.
_GOOD_KAPPA, _POOR_KAPPA = 0.75, 0.40
# J. R. Landis, G. G. Koch, "The Measurement of Observer Agreement for Categorical Data",
# Biometrics 33, 1977: the kappa up to which each word holds.
_STRENGTHS: Final = (
    (0.0, "poor"),
    (0.20, "slight"),
    (0.40, "fair"),
    (0.60, "moderate"),
    (0.80, "substantial"),
    (1.0, "almost perfect"),
)


@dataclass(frozen=True, slots=True)
class Decisions:
    """The decisions on the images of a part whose answer is known.

    Attributes
    ----------
    defective
        The known answer.
    rejected
        Whether each of its images did not pass; at least one.
    """

    defective: bool
    rejected: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not self.rejected:
            raise ValueError("a part needs at least one image")

    @property
    def consistent(self) -> bool:
        """Whether all decisions are the same."""
        return len(set(self.rejected)) == 1

    @property
    def wrong(self) -> int:
        """How many decisions differ from the known answer."""
        return sum(decision != self.defective for decision in self.rejected)


@dataclass(frozen=True, slots=True)
class Agreement:
    """The figures of an attribute agreement study; intervals are exact binomial ones.

    Attributes
    ----------
    effectiveness
        Parts of which every image got the right decision, as the manual's example counts.
    correct
        Images that got the right decision.
    repeatability
        Of the parts with several images, those of which all got the same decision; None without.
    miss_rate, false_alarm_rate
        Images of defective parts that pass, and images of good parts that do not; None without
        such parts.
    missed_parts, false_alarm_parts
        Parts of which at least one image passes although they are defective, or does not pass
        although they are good. Images of one part are not independent, but parts are.
    kappa_standard
        Cohen's kappa of the decisions and the known answers, over images; None unless there are
        good and defective parts.
    kappa_repeats
        Fleiss' kappa of the decisions on the images of a part; None where it is not defined.

    References
    ----------
    AIAG, "Measurement Systems Analysis", 4th edition, 2010, chapter III, section C.
    """

    effectiveness: Proportion
    correct: Proportion
    repeatability: Proportion | None
    miss_rate: Proportion | None
    false_alarm_rate: Proportion | None
    missed_parts: Proportion | None
    false_alarm_parts: Proportion | None
    kappa_standard: float | None
    kappa_repeats: float | None


def agreement_of(parts: Sequence[Decisions], *, confidence: float = 0.95) -> Agreement:
    """Return how well decisions agree with the known answers and with each other.

    Raises
    ------
    ParameterError
        If there are no parts.
    """
    if not parts:
        raise ParameterError("no part was judged: nothing to measure")
    several = [part for part in parts if len(part.rejected) > 1]

    def share(flags: Sequence[bool]) -> Proportion | None:
        return proportion(sum(flags), len(flags), confidence) if flags else None

    def of_kind(defective: bool) -> tuple[Proportion | None, Proportion | None]:
        chosen = [part for part in parts if part.defective is defective]
        wrong = [decision != defective for part in chosen for decision in part.rejected]
        return share(wrong), share([part.wrong > 0 for part in chosen])

    miss_rate, missed_parts = of_kind(True)
    false_alarm_rate, false_alarm_parts = of_kind(False)
    images, wrong = sum(len(part.rejected) for part in parts), sum(part.wrong for part in parts)
    return Agreement(
        effectiveness=proportion(sum(not part.wrong for part in parts), len(parts), confidence),
        correct=proportion(images - wrong, images, confidence),
        repeatability=share([part.consistent for part in several]),
        miss_rate=miss_rate,
        false_alarm_rate=false_alarm_rate,
        missed_parts=missed_parts,
        false_alarm_parts=false_alarm_parts,
        kappa_standard=_kappa_standard(parts),
        kappa_repeats=fleiss_kappa(
            [[sum(part.rejected), len(part.rejected) - sum(part.rejected)] for part in several]
        ),
    )


def _kappa_standard(parts: Sequence[Decisions]) -> float | None:
    answers = [part.defective for part in parts for _ in part.rejected]
    if len(set(answers)) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score  # takes about a second to import

    return float(cohen_kappa_score(answers, [item for part in parts for item in part.rejected]))


def fleiss_kappa(counts: npt.ArrayLike) -> float | None:
    """Return Fleiss' kappa; None without subjects, or where all ratings are of one category.

    Parameters
    ----------
    counts
        (subjects, categories) of int: how many ratings of each subject are of each category. Each
        subject needs two or more ratings; their number may differ.

    References
    ----------
    J. L. Fleiss, Psychological Bulletin 76, 1971, p. 378. For ratings that differ in number: J. L.
    Fleiss, J. Cuzick, "The Reliability of Dichotomous Judgments: Unequal Numbers of Judges per
    Subject", Applied Psychological Measurement 3, 1979, which weights the share of agreeing pairs
    of a subject by its number of ratings less one.
    """
    table = np.asarray(counts, dtype=np.float64)
    if not table.size:
        return None
    ratings = table.sum(axis=1)
    if (ratings < 2).any():
        raise ParameterError("kappa between repeats: each part needs two images or more")
    shares = table.sum(axis=0) / table.sum()
    expected = float(np.square(shares).sum())
    if np.count_nonzero(shares) < 2:
        return None
    agreeing = (np.square(table).sum(axis=1) - ratings) / (ratings * (ratings - 1))
    observed = float(np.average(agreeing, weights=ratings - 1))
    return (observed - expected) / (1 - expected)


def kappa_in_words(kappa: float) -> str:
    """Return the usual reading of a kappa: Landis and Koch's word, and the manual's."""
    strength = next(word for most, word in _STRENGTHS if kappa <= most or most == 1)
    if kappa > _GOOD_KAPPA:
        manual = f"good to excellent, above {_GOOD_KAPPA}"
    elif kappa < _POOR_KAPPA:
        manual = f"poor, below {_POOR_KAPPA:.2f}"
    else:
        manual = f"neither poor nor good, {_POOR_KAPPA:.2f} to {_GOOD_KAPPA}"
    return f"{strength} (Landis and Koch); {manual} (AIAG)"


def reading(criterion: Criterion, value: float) -> Reading:
    """Return how a figure is to be read by the manual's bounds."""
    acceptable, marginal = BOUNDS[criterion]
    # A rate must not exceed its bounds; an effectiveness must reach them.
    sign = 1 if criterion == "effectiveness" else -1
    slack = 1e-12
    if sign * value >= sign * acceptable - slack:
        return "acceptable"
    return "marginal" if sign * value >= sign * marginal - slack else "not acceptable"


def reading_of_interval(criterion: Criterion, found: Proportion) -> Reading:
    """Return the reading of the worse end of an interval: what the study cannot rule out."""
    return reading(criterion, found.low if criterion == "effectiveness" else found.high)
