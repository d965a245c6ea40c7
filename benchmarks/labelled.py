"""What labelled defects bring: on cells, and on surfaces for kinds that have no labelled defect.

Labelled defects are drawn with a seed from the anomalous images of a split and do not count in any
figure. The features of a split are extracted once, and all draws are made of the same distances.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from benchmarks.scores import SMALL, Bank, Split, extracted
from patchbank.datasets.demo import CellKind, demo_split
from patchbank.datasets.layouts import mvtec
from patchbank.datasets.surfaces import CATEGORIES, make_surfaces
from patchbank.memory.calibration import conformal_threshold
from patchbank.memory.labelled import sharpen, summary
from patchbank.memory.scoring import image_scores
from patchbank.metrics.images import image_metrics

SEEDS = (0, 1, 2, 3, 4)
NUMBERS = (1, 2, 5, 10, 20, 50)
# Of each number on each split.
DRAWS = 4
RATES = (0.01, 0.02, 0.05, 0.1)
# False alarms are measured with so many labelled defects.
OF_RATES = 20
SURFACE_SEEDS = (0, 1, 2)
# Labelled defects of each kind, on surfaces.
PER_KIND = 5

Numbers = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


class Judged(NamedTuple):
    """Summaries and scores of a split's images: references, other good ones, anomalous ones."""

    summaries: npt.NDArray[np.float32]
    scores: Scores
    references: int
    good: int

    @property
    def anomalous(self) -> Numbers:
        """The numbers of the anomalous images."""
        return np.arange(self.references + self.good, len(self.scores))


def judged(split: Split) -> Judged:
    """Return a split's images by the bank of its references."""
    features = extracted(split, SMALL)
    bank = Bank(features.main, features.references)
    dimensions = features.main.shape[3]
    parts = [
        summary(patches.reshape(-1, dimensions), distances.ravel(), nearest.ravel(), bank.index)
        for patches, distances, nearest in zip(
            features.main, bank.distances, bank.nearest, strict=True
        )
    ]
    return Judged(
        np.concatenate([np.stack(parts), features.embeddings], axis=1),
        image_scores(bank.distances, "top8"),
        features.references,
        features.good,
    )


def figures(images: Judged, labelled: Numbers, counted: Numbers) -> dict[str, list[float]]:
    """Return figures without and with labelled defects; `counted` are the anomalous images."""
    learned, good = images.references, images.references + images.good
    found = sharpen(
        images.summaries[:learned],
        images.scores[:learned],
        images.summaries[labelled],
        [None] * len(labelled),
    )
    after, references = images.scores, images.scores[:learned]
    if found is not None:
        after = images.scores + found.likeness.addition(images.summaries)
        references = references + found.additions
    both = ((images.scores, images.scores[:learned]), (after, references))
    values: dict[str, list[float]] = {"auroc": []}
    for scores, calibration in both:
        all_scores = np.concatenate([scores[learned:good], scores[counted]])
        anomalous = np.arange(len(all_scores)) >= images.good
        values["auroc"].append(image_metrics(anomalous, all_scores).image_auroc or 0.0)
        for rate in RATES:
            limit = conformal_threshold(calibration, rate).value
            values.setdefault(f"false alarms {rate}", []).append(
                float((scores[learned:good] > limit).mean())
            )
            values.setdefault(f"recall {rate}", []).append(float((scores[counted] > limit).mean()))
    return values


def _cells(kind: CellKind) -> dict[str, Any]:
    splits = []
    for seed in SEEDS:
        samples = demo_split(kind, seed=seed)
        paths = {
            label: [sample.path for sample in samples.test if sample.label == label]
            for label in ("good", "anomalous")
        }
        learned = [sample.path for sample in samples.train]
        splits.append(judged(Split(learned, paths["good"], paths["anomalous"])))
        print(f"{kind}, split {seed}", flush=True)
    return {
        str(number): _mean([_draws(split, number, seed) for seed, split in enumerate(splits)])
        for number in NUMBERS
    }


def _draws(images: Judged, number: int, seed: int) -> dict[str, list[float]]:
    each = []
    for draw in range(DRAWS):
        labelled = np.random.default_rng([seed, draw]).permutation(images.anomalous)[:number]
        each.append(figures(images, labelled, np.setdiff1d(images.anomalous, labelled)))
    return _mean(each)


def _mean(runs: Sequence[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Return the mean of each figure over runs."""
    means: dict[str, list[float]] = {}
    for name in runs[0]:
        mean: npt.NDArray[np.float64] = np.mean([run[name] for run in runs], axis=0)
        means[name] = [round(float(value), 5) for value in mean]
    return means


def _surfaces() -> dict[str, Any]:
    """Return figures of kinds with labelled defects, and of kinds without."""
    runs: dict[str, list[dict[str, list[float]]]] = {}
    for seed in SURFACE_SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder, "surfaces")
            make_surfaces(root, seed=seed)
            for category in CATEGORIES:
                for name, run in _kinds_left_out(root, category, seed):
                    runs.setdefault(name, []).append(run)
                print(f"{category}, set {seed}", flush=True)
    return {name: _mean(some) for name, some in runs.items()}


def _kinds_left_out(
    root: Path, category: str, seed: int
) -> Iterator[tuple[str, dict[str, list[float]]]]:
    samples = mvtec.load(root, category)
    anomalous = [sample for sample in samples.test if sample.label == "anomalous"]
    images = judged(
        Split(
            [sample.path for sample in samples.train],
            [sample.path for sample in samples.test if sample.label == "good"],
            [sample.path for sample in anomalous],
        )
    )
    kinds = np.array([sample.kind for sample in anomalous])
    random = np.random.default_rng(seed)
    drawn = {
        kind: random.permutation(images.anomalous[kinds == kind])[:PER_KIND]
        for kind in sorted(set(kinds))
    }
    for kind, own in drawn.items():
        this = images.anomalous[kinds == kind]
        others = np.concatenate([some for other, some in drawn.items() if other != kind])
        yield "all kinds but this are labelled: this kind", figures(images, others, this)
        rest = np.setdiff1d(images.anomalous, np.concatenate([others, this]))
        yield "all kinds but this are labelled: the others", figures(images, others, rest)
        rest = np.setdiff1d(images.anomalous, this)
        yield "only this kind is labelled: the others", figures(images, own, rest)
        rest = np.setdiff1d(this, own)
        yield "only this kind is labelled: this kind", figures(images, own, rest)


def main() -> dict[str, Any]:
    """Measure cells and surfaces; values are without and with labelled defects."""
    cells = {kind: _cells(kind) for kind in get_args(CellKind)}
    for kind, numbers in cells.items():
        for number, values in numbers.items():
            without, with_them = values["auroc"]
            print(
                f"{kind}, {number} labelled: image AUROC {without:.4f}, with them {with_them:.4f}"
            )
    sys.stdout.flush()
    return {"cells": cells, "surfaces (synthetic)": _surfaces()}
