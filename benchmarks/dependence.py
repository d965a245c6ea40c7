"""Whether the promise holds for references that show the same parts, without being told which do.

Sets of dependent images are made of solar cells and of photographs; what is judged shows other
cells, or a part of the photograph that no reference shows. Beside them, plain sets: there nothing
may be detected.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.datasets.demo import CellKind, demo_split
from patchbank.datasets.surfaces.drawing import draw
from patchbank.datasets.surfaces.making import CATEGORIES
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.vision.extraction import Extraction

Pixels = npt.NDArray[np.uint8]

REFERENCES = 200
JUDGED = 200
# A plain set needs fewer: what is stated there is the same for each draw.
DRAWS, PLAIN_DRAWS = 6, 2
RATES = (0.01, 0.05, 0.1)
PHOTOGRAPHS = ("brick", "grass", "gravel")
# Pixels of a cell that a shifted picture leaves out on each side, of a crop's side, and of the
# photographs' width that references may show.
_MARGIN = 30
_CROP = 128
_SHOWN = 352
# Of drawn surfaces.
_SIDE = 256


@dataclass(frozen=True, eq=False)
class Images:
    """References, good images to judge, and how many of the references are independent."""

    references: list[Pixels]
    judged: list[Pixels]
    independent: float


def plain(kind: CellKind, random: np.random.Generator) -> Images:
    """Return cells, each pictured once."""
    cells = _cells(kind, random)
    return Images(cells[:REFERENCES], cells[REFERENCES:][:JUDGED], REFERENCES)


def repeated(kind: CellKind, times: int, random: np.random.Generator) -> Images:
    """Return pictures of cells with 1 % of noise, several of each."""
    cells = _cells(kind, random)
    parts = REFERENCES // times
    references = [_noisy(cell, random) for cell in cells[:parts] for _ in range(times)]
    judged = [_noisy(cell, random) for cell in cells[REFERENCES:][:JUDGED]]
    return Images(references, judged, parts)


def shifted(kind: CellKind, pixels: int, random: np.random.Generator) -> Images:
    """Return ten pictures of each of twenty cells, shifted against one another, with noise."""
    cells = _cells(kind, random)
    parts = REFERENCES // 10

    def picture(cell: Pixels) -> Pixels:
        across, down = _MARGIN + random.integers(-pixels, pixels + 1, 2)
        height, width = (side - 2 * _MARGIN for side in cell.shape[:2])
        return _noisy(cell[down : down + height, across : across + width], random, 0.004)

    references = [picture(cell) for cell in cells[:parts] for _ in range(10)]
    return Images(references, [picture(cell) for cell in cells[REFERENCES:][:JUDGED]], parts)


def crops(names: tuple[str, ...], random: np.random.Generator) -> Images:
    """Return overlapping crops of photographs; those judged show what no reference does."""
    # What is not shown is at another side each time.
    turns = int(random.integers(4))
    photographs = [np.rot90(_photograph(name), turns) for name in names]

    def crop(number: int, first: int, last: int) -> Pixels:
        photograph = photographs[number % len(names)]
        across = random.integers(first, last - _CROP + 1)
        down = random.integers(0, len(photograph) - _CROP + 1)
        return np.ascontiguousarray(photograph[down : down + _CROP, across : across + _CROP])

    shown = sum(_SHOWN * len(photograph) for photograph in photographs)
    return Images(
        [crop(number, 0, _SHOWN) for number in range(REFERENCES)],
        [crop(number, _SHOWN, 512) for number in range(JUDGED)],
        shown / _CROP**2,
    )


def surface(material: str, random: np.random.Generator) -> Images:
    """Return drawn surfaces, no two alike."""
    keys = [(int(random.integers(2**31)), number) for number in range(REFERENCES + JUDGED)]
    drawn = [draw(material, None, key, _SIDE).image for key in keys]
    return Images(drawn[:REFERENCES], drawn[REFERENCES:], REFERENCES)


SETS: dict[str, Callable[[np.random.Generator], Images]] = {}
for _kind in ("mono", "poly"):
    SETS |= {
        f"{_kind} cells": partial(plain, _kind),
        f"{_kind}, each twice with 1 % noise": partial(repeated, _kind, 2),
        f"{_kind}, 20 cells ten times with 1 % noise": partial(repeated, _kind, 10),
        f"{_kind}, 20 cells ten times, shifted by up to 3 pixels": partial(shifted, _kind, 3),
        f"{_kind}, 20 cells ten times, shifted by up to 30 pixels": partial(shifted, _kind, 30),
    }
SETS |= {
    "crops of three photographs": partial(crops, PHOTOGRAPHS),
    **{f"crops of a photograph of {name}": partial(crops, (name,)) for name in PHOTOGRAPHS},
    **{f"drawn {name}": partial(surface, name) for name in CATEGORIES},
}


@cache
def _paths(kind: CellKind) -> list[Path]:
    samples = demo_split(kind)
    both = (*samples.train, *samples.test)
    return sorted(sample.path for sample in both if sample.label == "good")


def _cells(kind: CellKind, random: np.random.Generator) -> list[Pixels]:
    """Return good cells in random order, uint8 (height, width, 3)."""
    paths = _paths(kind)
    chosen = random.permutation(len(paths))[: REFERENCES + JUDGED]
    return [np.asarray(Image.open(paths[number]).convert("RGB")) for number in chosen]


@cache
def _photograph(name: str) -> Pixels:
    from skimage import data

    return np.asarray(Image.fromarray(getattr(data, name)()).convert("RGB"))


def _noisy(image: Pixels, random: np.random.Generator, share: float = 0.01) -> Pixels:
    """Return an image with grey noise of that share of the range."""
    noise = random.normal(0, 255 * share, (*image.shape[:2], 1))
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def measure(name: str, seed: int, workspace: Workspace) -> list[dict[str, float]]:
    """Return what is stated and observed at each rate, of a set drawn with a seed."""
    images = SETS[name](np.random.default_rng([seed, 12]))
    bank = learn(workspace, images.references, FitSettings())
    index = NeighbourIndex(bank.features)
    judge = Judge(index, bank.settings, bank.calibration)
    extractor = workspace.extractor(bank.settings.extractor)
    scores = []
    for result in extractor.extract_many(images.judged):
        assert isinstance(result, Extraction)
        scores.append(judge(result.patches, result.image.width, result.image.height).score)
    rows = []
    for rate in RATES:
        threshold = bank.calibration.threshold(rate)
        rows.append(
            {
                "requested": rate,
                "true": images.independent,
                "independent": threshold.independent,
                "stated": threshold.guaranteed_rate,
                "observed": float(np.mean(np.array(scores) > threshold.value)),
            }
        )
    return rows


def main() -> dict[str, Any]:
    """Measure each set, print the figures."""
    document: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home, Workspace(home=Path(home)) as workspace:
        for name in sys.argv[1:] or SETS:
            plain = name.endswith("cells") or name.startswith("drawn")
            draws = [
                measure(name, seed, workspace) for seed in range(PLAIN_DRAWS if plain else DRAWS)
            ]
            document[name] = rows = []
            for found in zip(*draws, strict=True):
                mean = {key: float(np.mean([row[key] for row in found])) for key in found[0]}
                rows.append({**mean, "observed_of_draws": [row["observed"] for row in found]})
                print(
                    f"{name}: {mean['true']:.0f} independent, {mean['independent']:.0f} found; "
                    f"{mean['requested']:.0%} asked, {mean['stated']:.1%} stated, "
                    f"{mean['observed']:.1%} observed",
                    flush=True,
                )
    return document
