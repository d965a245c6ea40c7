"""The similarity rule: an image is good if another reference is similar enough to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final, Literal

import numpy as np

from patchbank.errors import ParameterError
from patchbank.inspection.settings import DEFAULT_FALSE_ALARM_RATE
from patchbank.memory.calibration import conformal_threshold
from patchbank.memory.outliers import setting_threshold
from patchbank.memory.similarity import similarities_to_others
from patchbank.printable import counted
from patchbank.store.stored_bank import StoredBank

# "auto" is the calibrated threshold, None no rule.
# Of fewer references, good ones are too often alone.
_FEWEST_TOLD = 10
# References named in a remark.
_NAMED = 10

SimilarityThreshold = float | Literal["auto"] | None

# pgvector sums in float32: its similarity may lie this far below ours of the same two images.
_ROUNDING: Final = 1e-6


def parse_threshold(text: str) -> SimilarityThreshold:
    """Return the threshold that was typed: a similarity, ``auto`` or ``none``.

    Raises
    ------
    ParameterError
        If it is anything else.
    """
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise ParameterError(
            f"threshold {text!r}: give a similarity such as 0.9, auto or none"
        ) from None


def check_threshold(threshold: object, *, metric: str, among: str) -> None:
    """Raise ParameterError unless a rule of that threshold can be about such a search."""
    if threshold is None or threshold == "auto":
        return
    # True is a number in Python, and hardly meant as one.
    if isinstance(threshold, bool) or not isinstance(threshold, Real):
        raise ParameterError(
            f"threshold {threshold!r}: give a similarity such as 0.9, 'auto' or None"
        )
    if not -1 <= float(threshold) <= 1:
        raise ParameterError(f"threshold {float(threshold):g}: must be between -1 and 1")
    if metric != "cosine" or among != "references":
        raise ParameterError(
            "threshold: applies only to cosine similarity among references; leave out --metric "
            "and --among"
        )


def reaches(similarity: float, threshold: float) -> bool:
    """Whether a similarity, wherever it was computed, reaches a threshold but for rounding."""
    return similarity >= threshold - _ROUNDING


@dataclass(frozen=True)
class ReferenceStanding:
    """How similar each reference image of a bank is to the most similar other one.

    Attributes
    ----------
    similarities
        Sorted, of up to 2,000 references spread over the bank. An image that was learned twice
        counts as one: it is not the other of itself, and no image is the other of one of its group.
    requested_rate
        The bank's false-alarm rate.
    calibrated_threshold
        The similarity that a good image falls short of with a probability of at most
        `guaranteed_rate`, by the split-conformal rule.
    isolated
        The few references that set it by themselves, being similar to none; none by uncentred
        embeddings, where good images are too often alone.
    threshold_without
        As it would be by the others.
    """

    similarities: tuple[float, ...]
    requested_rate: float
    calibrated_threshold: float
    guaranteed_rate: float
    isolated: tuple[str, ...]
    threshold_without: float

    @property
    def remarks(self) -> tuple[str, ...]:
        """A remark where a few references set the calibrated threshold."""
        if not self.isolated:
            return ()
        those, them = (
            ("this reference", "it") if len(self.isolated) == 1 else ("these references", "them")
        )
        return (
            f"look at {those}: {', '.join(self.isolated[:_NAMED])}; without {them} the threshold "
            f"auto would be {self.threshold_without:.4g}, not {self.calibrated_threshold:.4g}",
        )

    @property
    def lowest_four_digits(self) -> float:
        """A threshold that all of them reach, cut to four digits."""
        return math.floor(self.similarities[0] * 1e4) / 1e4

    def reaching(self, threshold: float) -> int:
        """Return how many of them reach a threshold."""
        return sum(reaches(similarity, threshold) for similarity in self.similarities)

    def describe(self, threshold: float) -> str:
        """Return one line for people."""
        reaching, count = self.reaching(threshold), len(self.similarities)
        reach = "reaches" if reaching == 1 else "reach"
        text = (
            f"{reaching} of {counted(count, 'reference')} {reach} {threshold:.4g} with another "
            "reference"
        )
        if reaching < count:
            text += f"; {self.lowest_four_digits:.4g} would pass all"
        rates = f"at most {100 * self.guaranteed_rate:.3g} % false alarms"
        if threshold == self.calibrated_threshold:
            return f"{text}; calibrated for {rates} on average"
        return f"{text}, auto is {self.calibrated_threshold:.4g} for {rates} on average"

    def to_json(self, threshold: float) -> dict[str, Any]:
        """Return the JSON object the commands print."""
        return {
            "count": len(self.similarities),
            "reaching": self.reaching(threshold),
            "lowest": self.similarities[0],
            "median": float(np.median(self.similarities)),
            "calibrated_threshold": self.calibrated_threshold,
            "false_alarm_rate": self.requested_rate,
            "guaranteed_rate": self.guaranteed_rate,
        }


def reference_standing(bank: StoredBank, *, raw: bool = False) -> ReferenceStanding | None:
    """Return how a bank's reference images stand to one another; None where none has another.

    Parameters
    ----------
    raw
        By the embeddings as the network gives them, not centred on the bank's mean.
    """
    content = bank.content
    groups = np.full(len(content.images), -1, np.int64)
    known = content.scores.image >= 0
    groups[content.scores.image[known]] = content.scores.group[known]
    found, asked = similarities_to_others(
        content.embeddings, content.embedding_mean if raw else None, groups
    )
    if not len(found):
        return None
    of_found = groups[asked]
    # The less similar, the more anomalous.
    rate = bank.content.settings.get("false_alarm_rate", DEFAULT_FALSE_ALARM_RATE)
    threshold = conformal_threshold(-found, rate, of_found)
    alone = asked[:0]
    if not raw and len(found) >= _FEWEST_TOLD:
        alone = setting_threshold(1.0 - found, rate)
    return ReferenceStanding(
        similarities=tuple(np.sort(found).tolist()),
        requested_rate=threshold.requested_rate,
        calibrated_threshold=-threshold.value,
        guaranteed_rate=threshold.guaranteed_rate,
        isolated=tuple(bank.content.images[asked[slot]].name for slot in alone),
        threshold_without=-conformal_threshold(
            -np.delete(found, alone), rate, np.delete(of_found, alone)
        ).value,
    )
