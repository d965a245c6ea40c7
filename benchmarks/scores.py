"""How patch distances become an image's score: what separates best, at the threshold as well.

Features are extracted once per split; all scores are computed of the same distances. The threshold
of each is the one that a fit would set: from references scored with their own patches left out.

Boards are those of DeepPCB (github.com/tangsanli5201/DeepPCB): name the folder in the environment
variable ``DEEPPCB``. Without it that set is left out.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from patchbank.datasets.demo import CellKind, demo_split
from patchbank.datasets.layouts import deeppcb, mvtec
from patchbank.datasets.samples import CategorySamples
from patchbank.datasets.surfaces import CATEGORIES, make_surfaces
from patchbank.inspection.judging.judge import map_of
from patchbank.inspection.settings import FitSettings
from patchbank.memory.calibration import conformal_threshold
from patchbank.memory.coreset import coreset_size, greedy_k_center
from patchbank.memory.leave_one_out import leave_one_out_distances
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.scoring import image_scores, reweighted_score
from patchbank.memory.similarity import SimilarityIndex
from patchbank.metrics.images import image_metrics
from patchbank.vision.backbones import get_backbone
from patchbank.vision.extraction import Extraction
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.floating]
#: Values of the figures, by their names.
Figures = dict[str, float]

FIGURES = ("image AUROC", "recall at 1 % of the judged", "recall", "false alarms")
SEEDS = (0, 1, 2)
RATE = 0.01
SMALL = ExtractorSettings()
# What a fit chooses on boards of 640 x 640 pixels (docs/resolution.md), whatever the load is now:
# of these layers it takes only the first.
BOARDS = ExtractorSettings(image_size=640, scale=1.0)
MOST_ROWS = 25_000
# Numbers of references, ascending.
SIMILAR = (10, 30)
# Statistics of positions are smoothed over patches, with this standard deviation.
_SMOOTHING = 1.5
_QUANTILE = 0.9


class Split(NamedTuple):
    """The images of a split."""

    references: Sequence[Path]
    good: Sequence[Path]
    anomalous: Sequence[Path]


@dataclass(frozen=True, eq=False)
class Features:
    """Features of a split's images in order: references, other good ones, anomalous ones.

    Attributes
    ----------
    main
        Those that a fit would use, float32 (images, rows, columns, channels).
    layers
        Those of each layer.
    """

    main: Floats
    layers: Sequence[Floats]
    embeddings: Floats
    settings: FitSettings
    size: tuple[int, int]
    references: int
    good: int


class Bank:
    """A bank of the references' patches, and how far all images are from it.

    Attributes
    ----------
    distances
        float32 (images, rows, columns); of references with their own patches left out.
    nearest
        The nearest bank rows, int64 of the same shape.
    """

    def __init__(self, patches: Floats, references: int) -> None:
        grid, dimensions = patches.shape[1:3], patches.shape[3]
        learned = patches[:references].reshape(-1, dimensions)
        images = np.repeat(np.arange(references), grid[0] * grid[1])
        coreset = greedy_k_center(learned, min(MOST_ROWS, coreset_size(len(learned), 0.1)))
        self.index = NeighbourIndex(learned[coreset.indices], images[coreset.indices])
        left_out = leave_one_out_distances(learned, images, coreset, index=self.index)
        self.distances = np.empty(patches.shape[:3], np.float32)
        self.nearest = np.empty(patches.shape[:3], np.int64)
        self.distances[:references] = left_out.distances.reshape(-1, *grid)
        self.nearest[:references] = left_out.nearest.reshape(-1, *grid)
        for image in range(references, len(patches)):
            found = self.index.nearest(patches[image].reshape(-1, dimensions))
            self.distances[image] = found.distances.reshape(grid)
            self.nearest[image] = found.indices.reshape(grid)


def extracted(split: Split, settings: ExtractorSettings) -> Features:
    """Return the features of a split; as in a fit, pictures that are there twice are learned once.

    Images that a fit would refuse, such as a blank template, are left out.
    """
    layers: list[Floats] = []
    embeddings: list[Floats] = []
    seen: set[str] = set()
    ends = np.cumsum([get_backbone(settings.backbone).layer(n).channels for n in settings.layers])
    paths = [*split.references, *split.good, *split.anomalous]
    size, good = (0, 0), 0
    with Extractor(settings) as extractor:
        for number, found in enumerate(extractor.extract_many(paths)):
            if not isinstance(found, Extraction):
                print(f"left out: {found.error}")
                continue
            if number < len(split.references):
                if found.image.pixels_sha256 in seen:
                    continue
                seen.add(found.image.pixels_sha256)
            elif number < len(split.references) + len(split.good):
                good += 1
            parts = np.split(found.patches, ends[:-1], axis=2)
            if not layers:
                layers = [np.empty((len(paths), *part.shape), np.float32) for part in parts]
                size = found.image.width, found.image.height
            for layer, part in zip(layers, parts, strict=True):
                layer[len(embeddings)] = part
            embeddings.append(found.embedding)
    layers = [layer[: len(embeddings)] for layer in layers]
    return Features(
        main=layers[0] if settings == BOARDS else np.concatenate(layers, axis=3),
        layers=layers,
        embeddings=np.stack(embeddings),
        settings=FitSettings(extractor=settings),
        size=size,
        references=len(seen),
        good=good,
    )


def scored(features: Features) -> Iterator[tuple[str, Scores]]:
    """Yield the name of each way to score, and the scores of all images."""
    top8 = partial(image_scores, method="top8")
    references, count = features.references, len(features.main)
    bank = Bank(features.main, references)
    distances = bank.distances
    yield "`top8` (default)", top8(distances)
    yield "`max`", image_scores(distances, "max")
    for number in (4, 16):
        flat = distances.reshape(count, -1)
        yield f"the largest {number}", np.partition(flat, -number)[:, -number:].mean(axis=1)
    yield "`top1percent`", image_scores(distances, "top1percent")
    yield (
        "`reweighted`",
        np.array(
            [
                reweighted_score(
                    features.main[image],
                    distances[image],
                    bank.nearest[image],
                    bank.index,
                    exclude_group=image if image < references else None,
                )
                for image in range(count)
            ]
        ),
    )
    for side in (2, 3, 5):
        windows = np.lib.stride_tricks.sliding_window_view(distances, (side, side), axis=(1, 2))
        yield f"window of {side} x {side}", windows.mean(axis=(3, 4)).max(axis=(1, 2))
    yield (
        "largest of the map",
        np.array([map_of(each, features.settings, *features.size).max() for each in distances]),
    )
    for name, changed in chain(
        by_position(distances, references), _by_similar_references(features, bank)
    ):
        yield name, top8(changed.astype(np.float32))
    banks = (
        bank if layer is features.main else Bank(layer, references) for layer in features.layers
    )
    layers = [each.distances / each.distances[:references].mean() for each in banks]
    yield "a bank per layer, sum", top8(np.sum(layers, axis=0))
    yield "a bank per layer, larger", top8(np.max(layers, axis=0))


def by_position(distances: Floats, references: int) -> Iterator[tuple[str, Scores]]:
    """Yield distances compared with those of the references at the same position.

    A reference is compared with the others.
    """
    smooth = partial(gaussian_filter, sigma=(0, _SMOOTHING, _SMOOTHING))
    left_out = distances[:references].astype(np.float64)
    own = np.zeros(distances.shape)
    own[:references] = left_out
    others = references - (np.arange(len(distances)) < references)[:, None, None]
    mean = smooth((left_out.sum(axis=0) - own) / others)
    square = smooth(((left_out**2).sum(axis=0) - own**2) / others)
    yield "divided by the position's mean", distances / mean
    deviation = np.sqrt(np.maximum(square - mean**2, 1e-12))
    yield "by the position's mean and deviation", (distances - mean) / deviation
    ordered = np.sort(left_out, axis=0)
    rank = int(_QUANTILE * references)
    quantile = np.broadcast_to(ordered[rank], distances.shape).copy()
    quantile[:references] = np.where(left_out <= ordered[rank], ordered[rank + 1], ordered[rank])
    yield "divided by the position's 90 % quantile", distances / smooth(quantile)


def _by_similar_references(features: Features, bank: Bank) -> Iterator[tuple[str, Scores]]:
    """Yield distances to the bank rows of the most similar references, alone and with all rows.

    Rows that would be put back for a reference that is left out are not known here, so references
    score too high rather than too low.
    """
    references, dimensions = features.references, features.main.shape[3]
    embeddings = features.embeddings - features.embeddings[:references].mean(axis=0)
    index = SimilarityIndex(embeddings[:references])
    rows = bank.index.bank - bank.index.bank.mean(axis=0)
    found = {number: bank.distances.copy() for number in SIMILAR}
    for image, embedding in enumerate(embeddings):
        similar, _ = index.most_similar(embedding, SIMILAR[-1] + 1)
        similar = similar[similar != image][: SIMILAR[-1]]
        rank = np.full(references, len(similar))
        rank[similar] = np.arange(len(similar))
        ranks = rank[bank.index.groups]
        order = np.argsort(ranks, kind="stable")
        counts = [int((ranks < number).sum()) for number in SIMILAR]
        near = rows[order[: counts[-1]]]
        queries = features.main[image].reshape(-1, dimensions) - bank.index.bank.mean(axis=0)
        squared = -2 * queries @ near.T + (near**2).sum(axis=1)
        for number, count in zip(SIMILAR, counts, strict=True):
            if count:
                nearest = squared[:, :count].min(axis=1) + (queries**2).sum(axis=1)
                found[number][image].flat = np.sqrt(np.maximum(nearest, 0))
    for number, conditioned in found.items():
        yield f"the {number} most similar references", conditioned
        yield f"mean of these {number} and the whole bank", (conditioned + bank.distances) / 2


def figures(scores: Scores, references: int, good: int) -> Figures:
    """Return the figures of a split's scores."""
    judged = scores[references:]
    anomalous = np.arange(len(judged)) >= good
    # So many of the good ones may be above: 1 % of them, rounded down.
    limit = np.sort(judged[:good])[-1 - int(RATE * good)]
    threshold = conformal_threshold(scores[:references], RATE).value
    values = (
        image_metrics(anomalous, judged).image_auroc or 0.0,
        (judged[good:] > limit).mean(),
        (judged[good:] > threshold).mean(),
        (judged[:good] > threshold).mean(),
    )
    return {name: float(value) for name, value in zip(FIGURES, values, strict=True)}


def measured(split: Split, settings: ExtractorSettings) -> dict[str, Figures]:
    """Return the figures of each way to score a split."""
    features = extracted(split, settings)
    return {
        name: figures(scores, features.references, features.good)
        for name, scores in scored(features)
    }


def boards(root: Path, seed: int) -> Split:
    """Return 400 templates to learn from, 200 others, and 200 tested boards of the rest."""
    samples = deeppcb.load(root)
    templates = [each.path for each in (*samples.train, *samples.test) if each.label == "good"]
    numbers = random.Random(seed)
    numbers.shuffle(templates)
    tested = [
        path.with_name(path.name.replace(deeppcb.TEMPLATE, deeppcb.TESTED))
        for path in numbers.sample(templates[600:], 200)
    ]
    return Split(templates[:400], templates[400:600], tested)


def _split_of(samples: CategorySamples) -> Split:
    good, anomalous = (
        [sample.path for sample in samples.test if sample.label == label]
        for label in ("good", "anomalous")
    )
    return Split([sample.path for sample in samples.train], good, anomalous)


def _surfaces(seed: int) -> dict[str, Figures]:
    """Return the means over the categories of the synthetic surfaces."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "surfaces")
        make_surfaces(root, seed=seed)
        each = [measured(_split_of(mvtec.load(root, name)), SMALL) for name in CATEGORIES]
    return {
        variant: {
            name: float(np.mean([category[variant][name] for category in each])) for name in FIGURES
        }
        for variant in each[0]
    }


def _cells(kind: CellKind, seed: int) -> dict[str, Figures]:
    return measured(_split_of(demo_split(kind, seed=seed)), SMALL)


def main() -> dict[str, Any]:
    """Measure all sets, and print the figures as they come."""
    sets: dict[str, Callable[[int], dict[str, Figures]]] = {}
    if folder := os.environ.get("DEEPPCB"):
        sets["boards"] = lambda seed: measured(boards(Path(folder), seed), BOARDS)
    else:
        print("boards are left out: name the folder of DeepPCB in the environment variable DEEPPCB")
    sets |= {
        "mono cells": partial(_cells, "mono"),
        "poly cells": partial(_cells, "poly"),
        "surfaces (synthetic)": _surfaces,
    }
    document: dict[str, Any] = {}
    for title, measure in sets.items():
        splits = []
        for seed in SEEDS:
            splits.append(measure(seed))
            print(f"{title}, split {seed}: {', '.join(FIGURES)}")
            for variant, values in splits[-1].items():
                print(f"  {variant:<45}", *(f"{value:.4f}" for value in values.values()))
            sys.stdout.flush()
        document[title] = {
            variant: {
                name: [round(split[variant][name], 4) for split in splits] for name in FIGURES
            }
            for variant in splits[0]
        }
    return document
