"""Which judged images a page shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from patchbank.datasets.samples import Sample
from patchbank.inspection.measuring.extremes import Extremes, JudgedCase
from patchbank.inspection.verdicts import Judgement
from patchbank.memory.calibration import Thresholds


def judged(scores: list[tuple[str, float]], count: int) -> Extremes:
    extremes = Extremes(count)
    for number, (kind, score) in enumerate(scores):
        sample = Sample(
            Path(f"{number}.png"),
            f"{kind}/{number}.png",
            "good" if kind == "good" else "anomalous",
            kind,
            "test",
        )
        anomaly_map = np.zeros((2, 2), np.float32)
        judgement = Judgement(
            score, Thresholds(2.0, 2.0), 0.5, anomaly_map, 2.0, (0, 0, 2, 2), 2, 2, (),
            calibration_images=3,
        )  # fmt: skip
        extremes.add(sample, judgement)
    return extremes


def shown(cases: list[JudgedCase]) -> list[tuple[str, float]]:
    return [(case.sample.kind, case.judgement.score) for case in cases]


def test_the_clearest_finds_are_of_as_many_kinds_as_there_is_room_for() -> None:
    """A kind that is easy to find would otherwise take all of it."""
    scores = [("hole", 9.0), ("stain", 3.0), ("hole", 8.0), ("cut", 1.0), ("hole", 7.0)]
    assert shown(judged(scores, 4).clearest()) == [
        ("hole", 9.0),
        ("stain", 3.0),
        ("cut", 1.0),
        ("hole", 8.0),
    ]
    assert shown(judged(scores, 2).clearest()) == [("hole", 9.0), ("stain", 3.0)]
    # A kind that had no room comes back with a better image.
    better = [*scores, ("cut", 5.0), ("good", 20.0)]
    assert shown(judged(better, 2).clearest()) == [("hole", 9.0), ("cut", 5.0)]
    assert shown(judged(scores, 0).clearest()) == []
