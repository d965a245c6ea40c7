"""How well the defaults separate, and whether the false-alarm rate is kept, on the demo set.

Nothing is tuned here: the splits are those of the seeds 0, 1 and 2, all good cells that were not
learned from and all defective ones are judged.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from scipy.stats import betabinom

from patchbank.datasets.demo import CellKind, demo_split
from patchbank.inspection.measuring.category_evaluation import CategoryEvaluation
from patchbank.inspection.measuring.evaluate import evaluate_category
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.metrics import proportion

SEEDS = (0, 1, 2)
RATES = (0.01, 0.05)


def measure(kind: CellKind, seeds: Sequence[int] = SEEDS, **settings: Any) -> dict[str, Any]:
    """Return the figures of one kind of cell; the document of `python -m benchmarks accuracy`."""
    with tempfile.TemporaryDirectory() as home, Workspace(home=Path(home)) as workspace:
        evaluations = [
            evaluate_category(workspace, demo_split(kind, seed=seed), make_fit_settings(**settings))
            for seed in seeds
        ]
    aurocs = [evaluation.image.image_auroc for evaluation in evaluations]
    return {
        "cells": kind,
        "seeds": list(seeds),
        "image_auroc": [round(float(value or 0.0), 4) for value in aurocs],
        "image_auroc_mean": round(float(np.mean([value or 0.0 for value in aurocs])), 4),
        "image_auroc_spread": round(float(np.std([value or 0.0 for value in aurocs], ddof=1)), 4),
        "false_alarms": [_false_alarms(evaluations, rate) for rate in RATES],
    }


def _false_alarms(evaluations: Sequence[CategoryEvaluation], rate: float) -> dict[str, Any]:
    """Count good test cells above the threshold for a rate, split by split and in all."""
    counts, totals, recalls, chances = [], [], [], np.ones(1)
    for evaluation in evaluations:
        promised = evaluation.bank.calibration.threshold(rate)
        threshold = promised.value
        scores = {label: evaluation.scores(label) for label in ("good", "anomalous")}
        counts.append(int((scores["good"] > threshold).sum()))
        totals.append(len(scores["good"]))
        recalls.append(float((scores["anomalous"] > threshold).mean()))
        # Given n calibration images, the number of alarms among m new ones is beta-binomial.
        chance = betabinom(totals[-1], promised.rank, promised.sample_size + 1 - promised.rank)
        chances = np.convolve(chances, chance.pmf(np.arange(totals[-1] + 1)))
    pooled = proportion(sum(counts), sum(totals))
    low, high = np.searchsorted(np.cumsum(chances), (0.025, 0.975)) / sum(totals)
    return {
        "requested": rate,
        "counts": [f"{count} of {total}" for count, total in zip(counts, totals, strict=True)],
        "observed": round(pooled.value, 4),
        "binomial_95": [round(pooled.low, 4), round(pooled.high, 4)],
        "expected_95": [round(float(low), 4), round(float(high), 4)],
        "compatible": bool(low <= pooled.value <= high),
        "recall": round(float(np.mean(recalls)), 3),
    }


def main() -> list[dict[str, Any]]:
    """Measure both kinds of cells and print the figures."""
    documents = []
    for kind in get_args(CellKind):
        document = measure(kind)
        documents.append(document)
        print(
            f"{kind}: image AUROC {document['image_auroc_mean']:.4f}"
            f" (splits {', '.join(f'{value:.4f}' for value in document['image_auroc'])};"
            f" standard deviation {document['image_auroc_spread']:.4f})"
        )
        for alarms in document["false_alarms"]:
            low, high = alarms["binomial_95"]
            least, most = alarms["expected_95"]
            print(
                f"  false alarms at {alarms['requested']:.0%}: {alarms['observed']:.2%} "
                f"({', '.join(alarms['counts'])}); binomial 95 % interval {low:.2%} to {high:.2%};"
                f" expected with this many calibration images {least:.2%} to {most:.2%};"
                f" recall {alarms['recall']:.1%}"
            )
        sys.stdout.flush()
    return documents
