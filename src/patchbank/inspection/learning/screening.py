"""Images that a fit leaves out by itself, and what its promise is then worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from patchbank.errors import NoImagesError
from patchbank.inspection.learning.demands import Demands, refused_remark
from patchbank.inspection.learning.learned_bank import LearnedBank
from patchbank.inspection.learning.suspicious import Suspicious
from patchbank.memory.calibration import ConformalThreshold
from patchbank.printable import counted
from patchbank.vision.decoded_image import ImageSource

#: Learns a bank from images of these names, which must meet the demands.
Learn = Callable[[Sequence[ImageSource], Sequence[str], Demands], LearnedBank]


@dataclass(frozen=True)
class Screening:
    """What screening left out of a bank.

    Attributes
    ----------
    left_out
        The images; None where none stood apart.
    threshold
        As it is without them.
    unscored
        How many images had no score, in a streamed fit, and could be left out only by their looks.
    """

    left_out: Suspicious | None
    threshold: ConformalThreshold
    unscored: int = 0

    @property
    def rate_if_good(self) -> float:
        """The false-alarm rate that is kept even if all images left out show good parts."""
        return rate_if_good(self.threshold, len(self.images()))

    def describe(self) -> str:
        """Return one line for people: which images, why, and what the promise rests on."""
        only_looks = ""
        if self.unscored:
            only_looks = (
                f"; {counted(self.unscored, 'image')} of this streamed fit "
                f"{'has' if self.unscored == 1 else 'have'} no score and could be left out only "
                "by looking unlike the others"
            )
        if self.left_out is None:
            return f"screening: no image stands apart; all are used{only_looks}"
        count = len(self.left_out.names)
        them, they_are = ("it", "it is") if count == 1 else ("them", "all are")
        return (
            f"screening left out {counted(count, 'image')}: {self.left_out.listed()}; look at "
            f"{them}: the stated false-alarm rate holds if {'it is' if count == 1 else 'they are'} "
            f"not good; if {they_are} good, it is up to {100 * self.rate_if_good:.3g} %; to take "
            f"a good image back in, run: patchbank add CATEGORY IMAGE --force{only_looks}"
        )

    def images(self) -> list[dict[str, Any]]:
        """Return a JSON object for each image left out."""
        return [] if self.left_out is None else self.left_out.images()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of a fit's report."""
        return {
            "left_out": self.images(),
            "unscored": self.unscored,
            "false_alarm_rate_if_good": self.rate_if_good,
        }


def rate_if_good(threshold: ConformalThreshold, left_out: int) -> float:
    """Return the false-alarm rate that a threshold keeps if images left out of it are good.

    Images left out for their high scores are not exchangeable with the others. At worst all are
    above the threshold: if that is the k-th highest of n scores and m images were left out, a new
    image of a good part is above it with a probability of at most ``(k + m) / (n + m + 1)``.
    """
    rank = threshold.guaranteed_rate * (threshold.independent + 1)
    return (rank + left_out) / (threshold.independent + left_out + 1)


def screened(
    bank: LearnedBank,
    apart: Suspicious | None,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    demands: Demands,
    learn: Learn,
) -> tuple[LearnedBank, Screening]:
    """Return the bank without images that stand apart, learned anew, and what was left out.

    Parameters
    ----------
    bank, apart
        The bank of all images, and those of them that are to be left out.
    sources, names
        What the bank was learned from.

    Raises
    ------
    NoImagesError
        If too few images would remain.
    """
    unscored = int(np.isnan(bank.scores).sum())
    if apart is None:
        return bank, Screening(None, bank.threshold, unscored)
    remaining = len(bank.images) - len(apart.names)
    if remaining < demands.fewest:
        raise NoImagesError(
            f"screening leaves {counted(remaining, 'image')} of {len(bank.images)}; at least "
            f"{demands.fewest} are needed; add good images, or fit without --screen: "
            f"{apart.listed()}"
        )
    # Another file with the picture of one that is left out was refused, and must not come in now.
    gone = {*apart.names, *(refusal.image for refusal in bank.refused)}
    kept = [slot for slot, name in enumerate(names) if name not in gone]
    rest = learn(
        [sources[slot] for slot in kept], [names[slot] for slot in kept], Demands(demands.fewest)
    )
    refused = (*bank.refused, *rest.refused)
    stages = {**bank.timings_s, **rest.timings_s}
    together = replace(
        rest,
        refused=refused,
        remarks=(*refused_remark(len(refused), len(names)), *rest.remarks),
        timings_s={
            stage: bank.timings_s.get(stage, 0.0) + rest.timings_s.get(stage, 0.0)
            for stage in stages
        },
    )
    return together, Screening(apart, rest.threshold, unscored)
