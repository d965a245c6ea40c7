"""Reference images that stand apart: perhaps defective, and learned as good."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchbank.memory.calibration import conformal_threshold
from patchbank.memory.outliers import extreme, outlying, secluded, setting_threshold

# Images named in a remark; the report has all.
_NAMED = 10


@dataclass(frozen=True)
class Suspicious:
    """Reference images that stand apart from all others, by their left-out scores or their looks.

    Attributes
    ----------
    names, scores
        The images, the highest score first; then those of `unlike`. A score is NaN where a
        streamed fit has none.
    next_score
        The highest score of the others.
    threshold, threshold_without
        As it is, and as it would be by the others alone.
    unlike
        Those that look unlike the others, whatever they score: bad images that resemble each
        other vouch for each other.
    """

    names: tuple[str, ...]
    scores: tuple[float, ...]
    next_score: float
    threshold: float
    threshold_without: float
    unlike: frozenset[str] = frozenset()

    def describe(self, remedy: str) -> str:
        """Return one line for people: which images, why, and how to go on without them.

        `remedy` says what to do with those that are not good.
        """
        single = len(self.names) == 1
        others = sets = ""
        if any(score > self.next_score for score in self.scores):
            others = f"; the others score at most {self.next_score:.4g}"
        if self.threshold_without < self.threshold:
            sets = (
                f"; {'it raises' if single else 'they raise'} the threshold from "
                f"{self.threshold_without:.4g} to {self.threshold:.4g}"
            )
        return (
            f"look at {'this image' if single else 'these images'}: {self.listed()}{others}"
            f"{sets}; if {'it is' if single else 'they are'} not good, {remedy}"
        )

    def listed(self) -> str:
        """Return the names of the first, each with the reason."""
        scored = list(zip(self.names, self.scores, strict=True))
        listed = [f"{name} ({self._why(name, score)})" for name, score in scored[:_NAMED]]
        if len(self.names) > _NAMED:
            listed.append(f"{len(self.names) - _NAMED} more")
        return ", ".join(listed)

    def _why(self, name: str, score: float) -> str:
        reasons = [f"score {score:.4g}"] if score > self.next_score else []
        return ", ".join([*reasons, *(["unlike the others"] if name in self.unlike else [])])

    def images(self) -> list[dict[str, Any]]:
        """Return a JSON object for each image."""
        return [
            {
                "name": name,
                "score": score if math.isfinite(score) else None,
                "unlike_others": name in self.unlike,
            }
            for name, score in zip(self.names, self.scores, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of a fit's report."""
        return {
            "images": self.images(),
            "next_score": self.next_score,
            "threshold_without": self.threshold_without,
        }


def find_suspicious(
    names: Sequence[str],
    scores: npt.ArrayLike,
    false_alarm_rate: float,
    embeddings: npt.NDArray[np.float32] | None = None,
    *,
    screening: bool = False,
) -> Suspicious | None:
    """Return the reference images that stand apart, or None.

    Which do is for `patchbank.memory.outliers` to say: by their scores, whether these are
    improbably high or set the threshold by themselves, and by their embeddings.

    Parameters
    ----------
    names, scores
        The images, and their scores with their own patches left out; NaN for an image without
        a score.
    false_alarm_rate
        What the threshold is to keep.
    embeddings
        float32 (n, e), where the images' scores depend on one another.
    screening
        Whether to look closely: extreme scores too, which a few images of good parts have.
    """
    values = np.asarray(scores, np.float64)
    unlike = np.empty(0, np.int64) if embeddings is None else secluded(embeddings)
    # What these score is no measure for the others.
    like = values.copy()
    like[unlike] = np.nan
    by_score = [outlying(like), setting_threshold(like, false_alarm_rate)]
    high = max([*by_score, extreme(like)] if screening else by_score, key=len)
    found = np.concatenate([high, unlike])
    known = np.flatnonzero(np.isfinite(values))
    rest = values[np.setdiff1d(known, found)]
    if len(found) == 0 or len(rest) == 0:
        return None
    return Suspicious(
        names=tuple(names[slot] for slot in found),
        scores=tuple(values[found].tolist()),
        next_score=float(rest.max()),
        threshold=conformal_threshold(values[known], false_alarm_rate).value,
        threshold_without=conformal_threshold(rest, false_alarm_rate).value,
        unlike=frozenset(names[slot] for slot in unlike),
    )
