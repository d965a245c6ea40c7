"""Whether thresholds keep the rate asked for: twenty random splits of the demo set.

In each split, 200 good cells are learned and all other good ones judged; features are extracted
once. The splits overlap: the same cells are judged again and again. Given the set of cells,
however, the splits are independent random draws from it, and if cells are exchangeable the number
of false alarms of a split is beta-binomial, with the promised rate as its expectation. So the mean
over the splits has an interval, by convolution; what it says is of these cells.

An interrupted measurement goes on with the splits that are missing in build/bench; remove
calibration-*.npy there to measure all anew.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from scipy.stats import betabinom

from benchmarks.results import RESULTS
from benchmarks.scores import Bank, Split, extracted
from patchbank.datasets.demo import CellKind, demo_split
from patchbank.memory.calibration import Calibration
from patchbank.memory.scoring import image_scores
from patchbank.memory.tail import TailFit
from patchbank.vision.extractor_settings import ExtractorSettings

Scores = npt.NDArray[np.float64]

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "false-alarm-rates.png"
SPLITS = 20
REFERENCES = 200
RATES = (0.01, 0.02, 0.05, 0.10)
#: References that an estimate is made of, and the rates that so few cannot promise.
ESTIMATED = ((100, 0.005), (100, 0.002), (200, 0.002), (200, 0.001))


class SplitScores(NamedTuple):
    """The scores of splits, float64 (splits, images): of references, and of good cells judged."""

    references: Scores
    good: Scores


def scores_of_splits(kind: CellKind, splits: int = SPLITS) -> SplitScores:
    """Return the scores of random splits of one kind of cell; each is kept in build/bench."""
    settings = ExtractorSettings()
    paths = [RESULTS / f"calibration-{kind}-{seed}.npy" for seed in range(splits)]
    missing = [seed for seed in range(splits) if not paths[seed].exists()]
    if missing:
        RESULTS.mkdir(parents=True, exist_ok=True)
        _measure(kind, missing, settings)
    return SplitScores(*np.split(np.stack([np.load(path) for path in paths]), [REFERENCES], axis=1))


def _measure(kind: CellKind, seeds: Sequence[int], settings: ExtractorSettings) -> None:
    """Score the cells of some splits, and keep the scores of each."""
    samples = demo_split(kind, reference=REFERENCES)
    both = (*samples.train, *samples.test)
    cells = sorted(sample.path for sample in both if sample.label == "good")
    features = extracted(Split(cells, [], []), settings).main
    for seed in seeds:
        order = np.random.default_rng([seed, 12]).permutation(len(features))
        bank = Bank(features[order], REFERENCES)
        scores = image_scores(bank.distances, "top8").astype(np.float64)
        np.save(RESULTS / f"calibration-{kind}-{seed}.npy", scores)
        print(f"{kind}, split {seed}: scored", flush=True)


def kept_rates(scores: SplitScores) -> list[dict[str, Any]]:
    """Return the false alarms at each rate: of each split, and their mean with its interval."""
    rows = []
    splits, judged = scores.good.shape
    calibrations = [_calibration(each) for each in scores.references]
    for rate in RATES:
        promised = calibrations[0].threshold(rate)
        thresholds = np.array([each.threshold(rate).value for each in calibrations])
        observed = (scores.good > thresholds[:, None]).mean(axis=1)
        chance = betabinom(judged, promised.rank, promised.sample_size + 1 - promised.rank)
        chances = np.ones(1)
        for _ in range(splits):
            chances = np.convolve(chances, chance.pmf(np.arange(judged + 1)))
        low, high = np.searchsorted(np.cumsum(chances), (0.025, 0.975)) / (splits * judged)
        least, most = (float(end) / judged for end in chance.ppf((0.05, 0.95)))
        mean = float(observed.mean())
        rows.append(
            {
                "requested": rate,
                "promised": promised.guaranteed_rate,
                "observed": [round(float(each), 5) for each in observed],
                "mean": mean,
                "expected_95": [float(low), float(high)],
                "within": bool(low <= mean <= high),
                "single_90": [least, most],
                "singles_within": int(((observed >= least) & (observed <= most)).sum()),
            }
        )
    return rows


def estimated_rates(scores: SplitScores) -> list[dict[str, Any]]:
    """Return what limits beyond the promise really fail: the highest score, and the estimate."""
    rows = []
    for count, rate in ESTIMATED:
        highest, estimated, within = [], [], 0
        for references, good in zip(scores.references, scores.good, strict=True):
            calibration = _calibration(references[:count])
            tail = TailFit(calibration.scores)
            threshold = tail.threshold(rate)
            low, high = tail.rate_interval(threshold)
            highest.append(float((good > calibration.threshold(rate).value).mean()))
            estimated.append(float((good > threshold).mean()))
            within += low <= estimated[-1] <= high
        rows.append(
            {
                "references": count,
                "requested": rate,
                "highest": float(np.mean(highest)),
                "estimated": float(np.mean(estimated)),
                "least": min(estimated),
                "most": max(estimated),
                "within": within,
            }
        )
    return rows


def _calibration(scores: Scores) -> Calibration:
    return Calibration(tuple(scores), tuple(scores), "top8")


def draw(document: dict[str, Any], picture: Path = PICTURE) -> None:
    """Draw the rate of each split, the mean, and the interval that it is expected in."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(document), sharey=True)
    for axes, (kind, found) in zip(panels, document.items(), strict=True):
        random = np.random.default_rng(0)
        for place, row in enumerate(found["rates"]):
            beside = place + random.uniform(-0.12, 0.12, len(row["observed"]))
            first = place == 0
            axes.plot(
                beside, 100 * np.array(row["observed"]), "o", color="#2b6cb0", alpha=0.4,
                markersize=4, label="a split" if first else None,
            )  # fmt: skip
            low, high = (100 * end for end in row["expected_95"])
            axes.errorbar(
                place + 0.28, (low + high) / 2, yerr=(high - low) / 2, color="#5c6570", capsize=4,
                linestyle="none", label="95 % interval of the mean" if first else None,
            )  # fmt: skip
            axes.plot(
                place + 0.28, 100 * row["mean"], "D", color="#d9730d",
                label="mean of the splits" if first else None,
            )  # fmt: skip
            axes.hlines(
                100 * row["requested"], place - 0.4, place + 0.4, color="#1c2026", linestyle="--",
                linewidth=1, label="asked for" if first else None,
            )  # fmt: skip
        names = [f"{100 * row['requested']:g} %" for row in found["rates"]]
        axes.set_xticks(range(len(names)), names)
        axes.set(title=f"{kind} cells, {found['splits']} splits", xlabel="false alarms asked for")
        axes.grid(axis="y", color="#e3e6ea")
        axes.set_axisbelow(True)
    panels[0].set_ylabel("good cells that fail, %")
    panels[0].legend(loc="upper left", fontsize=9)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)


def main() -> dict[str, Any]:
    """Measure both kinds of cells, print the figures and draw the chart."""
    document: dict[str, Any] = {}
    for kind in get_args(CellKind):
        scores = scores_of_splits(kind)
        document[kind] = {
            "splits": len(scores.good),
            "judged": scores.good.shape[1],
            "rates": kept_rates(scores),
            "estimates": estimated_rates(scores),
        }
        for row in document[kind]["rates"]:
            low, high = row["expected_95"]
            print(
                f"{kind}, {row['requested']:.0%} requested: {row['mean']:.3%} observed; expected "
                f"{low:.3%} to {high:.3%}"
            )
        sys.stdout.flush()
    draw(document)
    return document
