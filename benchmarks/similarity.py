"""Why embeddings are centred: how similarities of good cells spread, raw and centred.

Leaves the picture of `docs/evaluation.md`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchbank.datasets.demo import demo_split
from patchbank.vision.extraction import Extraction
from patchbank.vision.extractor import Extractor

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "similarity.png"


def measure() -> dict[str, Any]:
    """Return percentiles of the similarities of judged to reference cells, and draw them."""
    extractor = Extractor()
    samples = demo_split("mono")
    learned = _embeddings(extractor, [sample.path for sample in samples.train])
    judged = _embeddings(
        extractor, [sample.path for sample in samples.test if sample.kind == "good"]
    )
    mean = learned.mean(axis=0)
    similarities = {
        "raw": _cosines(judged, learned),
        "centred": _cosines(judged - mean, learned - mean),
    }
    _draw(similarities)
    return {
        name: {
            "percentiles 1, 50, 99": [round(float(v), 3) for v in np.percentile(all_, (1, 50, 99))],
            "tenth most similar, median": round(float(np.median(np.sort(all_, axis=1)[:, -10])), 3),
        }
        for name, all_ in similarities.items()
    }


def _embeddings(extractor: Extractor, paths: list[Path]) -> npt.NDArray[np.float32]:
    return np.stack(
        [
            extraction.embedding
            for extraction in extractor.extract_many(paths)
            if isinstance(extraction, Extraction)
        ]
    )


def _cosines(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    first = first / np.linalg.norm(first, axis=1, keepdims=True)
    second = second / np.linalg.norm(second, axis=1, keepdims=True)
    return np.asarray(first @ second.T)


def _draw(similarities: dict[str, npt.NDArray[np.float32]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for (name, values), colour in zip(similarities.items(), ("#999999", "#0072b2"), strict=True):
        axes.hist(
            values.ravel(),
            bins=120,
            range=(-1, 1),
            density=True,
            alpha=0.75,
            label=name,
            color=colour,
        )
    axes.set_xlabel("similarity of a good cell to a reference cell (1 - cosine distance)")
    axes.set_ylabel("density")
    axes.legend(title="embedding")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


def main() -> dict[str, Any]:
    """Measure and print."""
    document = measure()
    for name, figures in document.items():
        print(name, figures)
    return document
