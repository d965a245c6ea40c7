"""Defects among the references: what they spoil, and what screening mends.

Of each split, 200 references are learned: good cells, of which a share is replaced by anomalous
ones. These are drawn from anomalous cells that are in no test set, so all shares of a split are
judged by the same images. Features are extracted once for each kind of cell.

An interrupted measurement goes on with the splits that are missing in build/bench; remove
contamination-*.json there to measure all anew.
"""

from __future__ import annotations

import json
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from benchmarks.results import RESULTS
from benchmarks.scores import SMALL, Bank, Features, Split, extracted
from patchbank.datasets.demo import CellKind, demo_split
from patchbank.inspection.learning.screening import rate_if_good
from patchbank.inspection.learning.suspicious import find_suspicious
from patchbank.memory.calibration import conformal_threshold
from patchbank.memory.scoring import image_scores
from patchbank.metrics.images import image_metrics

Numbers = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

#: Random splits of each kind of cell; there are more polycrystalline ones to judge.
SPLITS: dict[CellKind, int] = {"mono": 5, "poly": 3}
REFERENCES = 200
#: Shares of the references that are anomalous, ascending.
SHARES = (0.0, 0.05, 0.1)
RATE = 0.01


def main() -> dict[str, Any]:
    """Measure both kinds of cells, and print the figures as they come."""
    return {kind: _kind(kind) for kind in get_args(CellKind)}


def _kind(kind: CellKind) -> dict[str, Any]:
    """Return the figures of each share, a list with one value for each split."""
    features: Features | None = None
    splits = []
    for seed in range(SPLITS[kind]):
        kept = RESULTS / f"contamination-{kind}-{seed}.json"
        if not kept.exists():
            features = features or _features(kind)
            RESULTS.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(_split(features, kind, seed)))
        splits.append(json.loads(kept.read_text()))
    return {
        share: {
            name: [split[share][name] for split in splits] for name in next(iter(splits))[share]
        }
        for share in splits[0]
    }


def _features(kind: CellKind) -> Features:
    """Return the features of all cells of a kind, the good ones first."""
    samples = demo_split(kind, reference=REFERENCES)
    both = (*samples.train, *samples.test)
    good, anomalous = (
        sorted(sample.path for sample in both if sample.label == label)
        for label in ("good", "anomalous")
    )
    return extracted(Split(good, [], anomalous), SMALL)


def _split(features: Features, kind: str, seed: int) -> dict[str, dict[str, float]]:
    random = np.random.default_rng([seed, 13])
    good = random.permutation(features.references)
    anomalous = features.references + random.permutation(len(features.main) - features.references)
    mixed, judged = np.split(anomalous, [round(SHARES[-1] * REFERENCES)])
    found = {}
    for share in SHARES:
        count = round(share * REFERENCES)
        references = np.concatenate([good[: REFERENCES - count], mixed[:count]])
        found[str(share)] = _screened(features, references, count, good[REFERENCES:], judged)
        print(f"{kind}, split {seed}, {share:.0%}:", found[str(share)], flush=True)
    return found


def _screened(
    features: Features, references: Numbers, count: int, good: Numbers, anomalous: Numbers
) -> dict[str, float]:
    """Return the figures of references of which the last `count` are anomalous."""
    scores, before = _figures(features, references, good, anomalous)
    looks = features.embeddings[references]
    names = [str(number) for number in range(REFERENCES)]
    suspicious = find_suspicious(names, scores, RATE, looks - looks.mean(axis=0), screening=True)
    left_out = np.array([] if suspicious is None else suspicious.names, np.int64)
    after = before
    if len(left_out):
        rest, after = _figures(features, np.delete(references, left_out), good, anomalous)
        stated = rate_if_good(conformal_threshold(rest, RATE), len(left_out))
    else:
        stated = conformal_threshold(scores, RATE).guaranteed_rate
    anomalous_left_out = int((left_out >= REFERENCES - count).sum())
    return {
        **before,
        **{f"{name}, screened": value for name, value in after.items()},
        "anomalous references left out": anomalous_left_out,
        "good references left out": len(left_out) - anomalous_left_out,
        "false alarms at most, screened": stated,
    }


def _figures(
    features: Features, references: Numbers, good: Numbers, anomalous: Numbers
) -> tuple[Scores, dict[str, float]]:
    """Return the left-out scores of references, and the figures of their bank."""
    count = len(references)
    patches = features.main[np.concatenate([references, good, anomalous])]
    scores = image_scores(Bank(patches, count).distances, "top8").astype(np.float64)
    learned, passed, missed = np.split(scores, [count, count + len(good)])
    limit = conformal_threshold(learned, RATE).value
    is_anomalous = np.arange(len(scores) - count) >= len(good)
    return learned, {
        "image AUROC": image_metrics(is_anomalous, scores[count:]).image_auroc or 0.0,
        "false alarms": float((passed > limit).mean()),
        "recall": float((missed > limit).mean()),
    }
