"""Labelled defects sharpen the score: how much an image is like them, and unlike good parts.

A linear function of a summary of the image is fitted to the references, each with its own patches
left out, and to the labelled defects: least squares with a strong penalty, which needs few defects.
What it says of an image is added to the anomaly score, in units of what references score.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from patchbank.errors import ParameterError
from patchbank.memory.groups import Groups
from patchbank.memory.neighbours import NeighbourSource

Floats = npt.NDArray[np.float64]

# With fewer references, chance decides what distinguishes them from the defects.
FEWEST_REFERENCES = 20

# Values chosen on the demo cells and the synthetic surfaces (docs/evaluation.md).
# Most anomalous patches that are averaged: shares of all, and at most so many.
_SHARES = ((0.01, 8), (0.05, 40))
# Penalty on the squared weights, as a share of the summaries' variance.
_PENALTY = 0.05
# With so many defects, likeness counts half as much as the anomaly score.
_HALF_DEFECTS = 4
# A kind of defect that is not among the labelled ones may be unlike them: that lowers a score by no
# more than this, in standard deviations of the references' scores.
_LOWERED_AT_MOST = 1.0
# References whose score is high count more, e-fold for each standard deviation, up to this many:
# these are to be told from defects.
_WEIGHTED_UP_TO = 3.0
# Share of pairs of a defect and a reference, each left out in turn, that are in the right order:
# from here on, what was fitted is fully trusted; at one half, which is chance, not at all.
_TRUSTED_FROM = 0.75


def summary(
    features: npt.NDArray[np.float32],
    distances: npt.NDArray[np.float32],
    nearest: npt.NDArray[np.int64],
    bank: NeighbourSource,
) -> npt.NDArray[np.float32]:
    """Return a summary of an image's most anomalous patches, float32 (4 d,).

    The mean feature of the most anomalous 1 % and 5 % of the patches (of at most 8 and 40), and
    the mean of their differences from the nearest bank rows.

    Parameters
    ----------
    features
        float32 (n, d): the patches.
    distances, nearest
        float32 and int64 (n,): how far from the bank each is, and the nearest bank row.
    bank
        The memory bank.
    """
    counts = [max(1, min(most, round(share * len(distances)))) for share, most in _SHARES]
    worst = np.argsort(-distances, kind="stable")[: counts[-1]]
    patches = features[worst]
    # A bank in a database gives each row once.
    rows_of, each = np.unique(nearest[worst], return_inverse=True)
    differences = patches - bank.rows(rows_of)[each]
    means = [rows[:count].mean(axis=0) for rows in (patches, differences) for count in counts]
    return np.concatenate(means)


def summary_length(dimensions: int) -> int:
    """Return the length of a `summary` of patches with so many dimensions."""
    return 2 * len(_SHARES) * dimensions


@dataclass(frozen=True, eq=False)
class Likeness:
    """How much images are like labelled defects, and what that changes in their scores.

    Attributes
    ----------
    weights, offsets
        float64 (labels + 1, s) and (labels + 1,): what the defects of each label contribute, then
        the references. With all of them, the likeness of references has the mean 0 and the standard
        deviation 1.
    labels
        The label of each row but the last; None for defects without one.
    step
        How much a likeness of 1 adds to a score.
    order
        Share of pairs of a defect and a reference, each left out in turn, in the right order; NaN
        for a single defect.
    """

    weights: Floats
    offsets: Floats
    labels: tuple[str | None, ...]
    step: float
    order: float
    defects: int

    def to_bytes(self) -> bytes:
        """Return it as a file in the format safetensors; see `from_bytes`."""
        about = {"labels": self.labels, "defects": self.defects}
        return save(
            {
                "weights": self.weights,
                "offsets": self.offsets,
                "step": np.array([self.step]),
                "order": np.array([self.order]),
                "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Likeness:
        """Return what `to_bytes` wrote, to the bit; raises ValueError for anything else."""
        try:
            parts = load(content)
            about = json.loads(parts["about"].tobytes())
            found = cls(
                weights=parts["weights"],
                offsets=parts["offsets"],
                labels=tuple(about["labels"]),
                step=float(parts["step"][0]),
                order=float(parts["order"][0]),
                defects=int(about["defects"]),
            )
        except (SafetensorError, LookupError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(f"likeness to defects cannot be read: {error}") from error
        rows = len(found.labels) + 1
        finite = all(np.isfinite(part).all() for part in (found.weights, found.offsets, found.step))
        if (
            found.weights.dtype != np.float64
            or found.weights.ndim != 2
            or len(found.weights) != rows
            or found.offsets.dtype != np.float64
            or found.offsets.shape != (rows,)
            or not all(label is None or isinstance(label, str) for label in found.labels)
            or not finite
        ):
            raise ValueError("likeness to defects has weights that do not belong together")
        return found

    def addition(self, summaries: npt.NDArray[np.floating]) -> Floats:
        """Return what is added to the scores of images, float64 (n,), from summaries (n, s)."""
        likeness = np.asarray(summaries, np.float64) @ self.weights.sum(axis=0)
        likeness += self.offsets.sum()
        return np.asarray(self.step * np.maximum(likeness, -_LOWERED_AT_MOST), np.float64)

    def label(self, summary: npt.NDArray[np.floating]) -> str | None:
        """Return the label whose defects add most to the likeness of an image."""
        each = self.weights @ np.asarray(summary, np.float64) + self.offsets
        return self.labels[int(each[:-1].argmax())]


class Sharpened(NamedTuple):
    """What labelled defects make of a bank's scores.

    Attributes
    ----------
    likeness
        For images to come.
    additions
        float64 (n,): what is added to the references' scores, each by what was fitted without it.
    """

    likeness: Likeness
    additions: Floats


def sharpen(
    references: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    defects: npt.NDArray[np.floating],
    labels: Sequence[str | None],
    groups: Groups | None = None,
) -> Sharpened | None:
    """Fit what distinguishes labelled defects from references.

    Ridge regression of 0 (reference) and 1 (defect), both sides weighing the same. References get
    the value that a fit without them would give, by the well-known identity of least squares, so
    that a calibration by their new scores keeps its promise.

    Parameters
    ----------
    references, scores
        (n, s) and (n,): summaries of references and their scores, by the bank without their own
        patches.
    defects
        (m, s): summaries of labelled defects, by the whole bank.
    labels
        Their labels.
    groups
        References that depend on one another: the fit is without all that a reference's group
        depends on. By default it is without the reference alone.

    Returns
    -------
    None where nothing can be learned: too few independent references, no defect, nothing that
    varies, or defects that cannot be told from references.

    References
    ----------
    A. Hoerl, R. Kennard, "Ridge Regression", Technometrics 12, 1970; R. Cook, "Detection of
    Influential Observation in Linear Regression", Technometrics 19, 1977 (leaving one out).
    """
    good, bad = (np.asarray(array, np.float64) for array in (references, defects))
    scores = np.asarray(scores, np.float64)
    if good.ndim != 2 or scores.shape != good.shape[:1] or bad.shape[1:] != good.shape[1:]:
        raise ParameterError(
            f"labelled defects: expected summaries of one length and a score for each reference, "
            f"got {good.shape}, {scores.shape} and {bad.shape}"
        )
    if len(labels) != len(bad):
        raise ParameterError(f"labelled defects: {len(bad)} summaries, but {len(labels)} labels")
    independent = len(good) if groups is None else len(groups)
    if independent < FEWEST_REFERENCES or not len(bad):
        return None
    centre, spread, scale = good.mean(axis=0), good.std(axis=0), float(scores.std())
    varying = spread > 1e-6 * spread.max()
    if not varying.any() or not scale > 0:
        return None
    inverse = np.where(varying, 1 / np.where(varying, spread, 1.0), 0.0)
    standard = (np.concatenate([good, bad]) - centre) * inverse
    fitted = _fit(standard, (scores - scores.mean()) / scale, len(bad), groups)
    values, of_defects = np.split(fitted.left_out, [len(good)])
    deviation = float(values.std())
    order = float((of_defects[:, np.newaxis] > values).mean()) if len(bad) > 1 else np.nan
    trust = 1.0 if len(bad) == 1 else min(1.0, (order - 0.5) / (_TRUSTED_FROM - 0.5))
    if trust <= 0 or not deviation > 0:
        return None
    names = tuple(sorted(set(labels), key=lambda label: (label is None, label or "")))
    owners = np.array([-1] * len(good) + [names.index(label) for label in labels])
    contributions = fitted.duals[:, np.newaxis] * (standard - fitted.mean) / deviation
    rows = np.stack([contributions[owners == row].sum(axis=0) for row in (*range(len(names)), -1)])
    offsets = -rows @ fitted.mean
    offsets[-1] += (fitted.intercept - values.mean()) / deviation
    likeness = Likeness(
        weights=rows * inverse,
        offsets=offsets - (rows * inverse) @ centre,
        labels=names,
        step=scale * trust * len(bad) / (len(bad) + _HALF_DEFECTS),
        order=order,
        defects=len(bad),
    )
    additions = np.maximum((values - values.mean()) / deviation, -_LOWERED_AT_MOST)
    return Sharpened(likeness, likeness.step * additions)


class _Fitted(NamedTuple):
    """A ridge regression in terms of its samples, and their values without themselves."""

    duals: Floats
    mean: Floats
    intercept: float
    left_out: Floats


def _fit(standard: Floats, scores: Floats, defects: int, groups: Groups | None) -> _Fitted:
    """Fit standardised summaries, references first, to 0 and defects to 1."""
    good = len(scores)
    wanted = np.repeat([0.0, 1.0], [good, defects])
    weight = np.exp(np.minimum(scores, _WEIGHTED_UP_TO))
    weights = np.concatenate([weight / weight.sum(), np.full(defects, 1 / defects)]) / 2
    roots = np.sqrt(weights)
    mean, intercept = weights @ standard, float(weights @ wanted)
    rows = (standard - mean) * roots[:, np.newaxis]
    products = rows @ rows.T
    inverse = np.linalg.inv(products + _PENALTY * np.trace(products) * np.eye(len(products)))
    duals = inverse @ ((wanted - intercept) * roots)
    hat = products @ inverse + np.outer(roots, roots)
    residuals = roots * (wanted - intercept) - products @ duals
    # Without a sample, its residual is that with it, divided by one minus its leverage; without
    # several, their residuals solve the equations of their block.
    left_out = residuals / (1 - hat.diagonal())
    if groups is not None:
        for group, apart in enumerate(groups.apart):
            block = np.eye(len(apart)) - hat[np.ix_(apart, apart)]
            own = groups.number[apart] == group
            left_out[apart[own]] = np.linalg.solve(block, residuals[apart])[own]
    return _Fitted(duals * roots, mean, intercept, wanted - left_out / roots)
