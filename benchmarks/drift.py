"""How soon drift detects a change of the images, and how often it raises a false alarm.

Cells of the demo set, and drawn surfaces, of which there are as many as needed. All are cropped by
8 pixels, so that a shift shows other pixels of the same picture and none that were made up. Streams
are drawn from what the images measure; a bank of 200 references judges.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.results import ROOT
from patchbank.datasets.demo import CellKind, demo_split
from patchbank.datasets.surfaces.defects import DEFECTS
from patchbank.datasets.surfaces.drawing import draw
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.memory import drift
from patchbank.memory.drift import DEFAULT_IMAGES_PER_FALSE_ALARM, detect_changes
from patchbank.reports.drawing import LIGHT, rendered
from patchbank.vision.extraction import Extraction

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Numbers = Mapping[str, Floats]

SERIES = ("score", "brightness", "sharpness", "outside")
REFERENCES, MARGIN, SIDE = 200, 8, 272
GOOD_SURFACES, CHANGED_SURFACES = 2_300, 300
# Images before a change and since, and streams.
BEFORE, SINCE, STREAMS = 150, 100, 100
UNCHANGED, NULL_STREAMS = 2_000, 200
DEFECT_SHARES = (0.0, 0.02, 0.05)
CELLS: tuple[CellKind, ...] = ("mono", "poly")
SURFACES = ("tile", "leather")


def _cropped(pixels: Pixels, right: int = 0, down: int = 0) -> Pixels:
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(
        pixels[MARGIN + down : height - MARGIN + down, MARGIN + right : width - MARGIN + right]
    )


def _lit(pixels: Pixels, factor: float) -> Pixels:
    return np.asarray(np.clip(np.rint(_cropped(pixels) * np.float32(factor)), 0, 255), np.uint8)


def _blurred(pixels: Pixels, sigma: float) -> Pixels:
    soft = gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0), mode="nearest")
    return _cropped(np.asarray(np.clip(np.rint(soft), 0, 255), np.uint8))


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "10 % brighter": partial(_lit, factor=1.1),
    "10 % darker": partial(_lit, factor=0.9),
    "8 pixels to the right": partial(_cropped, right=8),
    "8 pixels up": partial(_cropped, down=-8),
    "blur, sigma 1 pixel": partial(_blurred, sigma=1.0),
    "blur, sigma 2 pixels": partial(_blurred, sigma=2.0),
}


def measured(name: str) -> dict[str, Numbers]:
    """Return what references, good, defective and changed images of a set measure."""
    references, good, defective = _images(name)
    found: dict[str, Numbers] = {}
    with tempfile.TemporaryDirectory() as home, Workspace(home=Path(home)) as workspace:
        bank = learn(
            workspace,
            [_cropped(image) for image in references],
            make_fit_settings(),
            names=[f"{number}.png" for number in range(len(references))],
        )
        extractor = workspace.extractor(bank.settings.extractor)
        judge = Judge(
            bank.features, bank.settings, bank.calibration, covering_radius=bank.covering_radius
        )

        def numbers_of(images: Sequence[Pixels]) -> Numbers:
            rows = []
            for result in extractor.extract_many(images):
                if not isinstance(result, Extraction):
                    raise result.error
                size = result.image.width, result.image.height
                judged = judge(result.patches, *size)
                light = result.appearance
                rows.append((judged.score, light.brightness, light.sharpness, judged.share_outside))
            return dict(zip(SERIES, np.array(rows, np.float64).T, strict=True))

        found["references"] = {
            "score": bank.scores,
            "brightness": np.array([image.brightness for image in bank.images], np.float64),
            "sharpness": np.array([image.sharpness for image in bank.images], np.float64),
            "outside": np.empty(0),
        }
        found["good"] = numbers_of([_cropped(image) for image in good])
        found["defective"] = numbers_of([_cropped(image) for image in defective])
        some = good if name in CELLS else good[:CHANGED_SURFACES]
        for change, changed in CHANGES.items():
            if name in CELLS or "pixels" not in change or "blur" in change:
                found[change] = numbers_of([changed(image) for image in some])
    return found


def _images(name: str) -> tuple[list[Pixels], list[Pixels], list[Pixels]]:
    cells = next((kind for kind in CELLS if kind == name), None)
    if cells is not None:
        split = demo_split(cells)

        def read(path: Path) -> Pixels:
            return np.asarray(Image.open(path).convert("RGB"))

        return (
            [read(sample.path) for sample in split.train],
            [read(sample.path) for sample in split.test if sample.label == "good"],
            [read(sample.path) for sample in split.test if sample.label == "anomalous"],
        )
    kinds = list(DEFECTS[name])

    def drawn(key: tuple[int, ...]) -> Pixels:
        return draw(name, kinds[key[-1] % len(kinds)] if key[2] else None, key, SIDE).image

    with ThreadPoolExecutor(2) as pool:
        good = list(pool.map(drawn, [(7, 9, 0, n) for n in range(REFERENCES + GOOD_SURFACES)]))
        defective = list(pool.map(drawn, [(7, 9, 1, n) for n in range(100)]))
    return good[:REFERENCES], good[REFERENCES:], defective


def delays(numbers: Mapping[str, Numbers], change: str) -> dict[str, Any]:
    """Return how many images after a change it is found, over streams."""
    found, begins = [], []
    for seed in range(STREAMS):
        random = np.random.default_rng(seed)
        before = random.choice(len(numbers["good"]["score"]), BEFORE, replace=False)
        since = random.choice(len(numbers[change]["score"]), SINCE, replace=False)
        stream = {
            name: np.concatenate([numbers["good"][name][before], numbers[change][name][since]])
            for name in SERIES
        }
        alarms = detect_changes(stream, numbers["references"], seed=seed).changes
        first = next((alarm for alarm in alarms if alarm.alarm >= BEFORE), None)
        found.append(np.inf if first is None else first.alarm + 1 - BEFORE)
        if first is not None:
            begins.append(abs(first.begin - BEFORE))
    return {
        "median": float(np.median(found)),
        "90 %": float(np.quantile(found, 0.9, method="higher")),
        "within 50": float(np.mean(np.array(found) <= 50)),
        "median error of the beginning": float(np.median(begins)) if begins else None,
    }


def false_alarms(numbers: Mapping[str, Numbers], defects: float, *, pool: bool) -> dict[str, Any]:
    """Return how many streams of good images, with defects among them, raise an alarm.

    `pool` draws references and stream from the same images, with repeats, where there are few.
    """
    good, defective = numbers["good"], numbers["defective"]
    count = len(good["score"])
    with_alarm, alarms = 0, 0
    for seed in range(NULL_STREAMS):
        random = np.random.default_rng([seed, 1])
        rows = random.integers(0, count, UNCHANGED) if pool else random.permutation(count)
        stream = {name: good[name][rows[:UNCHANGED]].copy() for name in SERIES}
        references = numbers["references"]
        if pool:
            drawn = random.integers(0, count, REFERENCES)
            references = {name: good[name][drawn] for name in SERIES}
        chosen = random.random(UNCHANGED) < defects
        others = random.integers(0, len(defective["score"]), int(chosen.sum()))
        for name in SERIES:
            stream[name][chosen] = defective[name][others]
        found = detect_changes(stream, references, seed=seed).changes
        with_alarm += bool(found)
        alarms += len(found)
    return _rate(with_alarm, alarms)


def ideal() -> dict[str, Any]:
    """Return the same of independent normal numbers, by our ranks and by conformal p-values.

    The p-values compare with the 200 references alone, as those of inspections do.
    """
    ours = fixed = alarms = 0
    limit = DEFAULT_IMAGES_PER_FALSE_ALARM * drift._table().shape[1]
    for seed in range(NULL_STREAMS):
        random = np.random.default_rng([seed, 2])
        references, values = random.normal(size=REFERENCES), random.normal(size=UNCHANGED)
        found = detect_changes({"score": values}, {"score": references}, seed=seed).changes
        ours += bool(found)
        alarms += len(found)
        below = np.searchsorted(np.sort(references), values)
        ranks = (below + random.random(UNCHANGED)) / (REFERENCES + 1)
        evidence = np.zeros(drift._table().shape[1])
        for odds in drift._odds(ranks):
            evidence = (1 + evidence) * odds
            if evidence.sum() >= limit:
                fixed += 1
                break
    return {**_rate(ours, alarms), "by conformal p-values": fixed / NULL_STREAMS}


def _rate(with_alarm: int, alarms: int) -> dict[str, Any]:
    images = NULL_STREAMS * UNCHANGED
    return {
        "streams with an alarm": with_alarm / NULL_STREAMS,
        "stated at most": UNCHANGED / DEFAULT_IMAGES_PER_FALSE_ALARM,
        "images per alarm": round(images / alarms) if alarms else None,
    }


def main() -> dict[str, Any]:
    """Measure, print the figures, and draw the picture of the documentation."""
    document: dict[str, Any] = {"ideal": ideal()}
    print(f"ideal: {document['ideal']}", flush=True)
    for name in (*CELLS, *SURFACES):
        numbers = measured(name)
        document[name] = {
            "changes": {change: delays(numbers, change) for change in CHANGES if change in numbers},
            "unchanged": {
                f"{share:.0%} defects": false_alarms(numbers, share, pool=name in CELLS)
                for share in DEFECT_SHARES
            },
            "spread": {
                series: round(float(values.std() / values.mean()), 3)
                for series, values in numbers["good"].items()
            },
        }
        print(f"{name}: {document[name]}", flush=True)
        sys.stdout.flush()
        if name == CELLS[0]:
            picture = ROOT / "docs" / "images" / "drift.png"
            picture.write_bytes(_picture(numbers))
    return document


def _picture(numbers: Mapping[str, Numbers]) -> bytes:
    """Return the evidence in a stream of cells that change in different ways, as PNG."""
    random = np.random.default_rng(0)
    before = random.choice(len(numbers["good"]["score"]), BEFORE + 60, replace=False)

    def draw_lines(axes: Axes) -> None:
        for change in ("good", "10 % brighter", "8 pixels up", "blur, sigma 1 pixel"):
            changed = numbers[change]
            stream = {
                name: np.concatenate(
                    [numbers["good"][name][before[:BEFORE]], changed[name][before[BEFORE:]]]
                )
                for name in SERIES
            }
            found = detect_changes(stream, numbers["references"], images_per_false_alarm=1e200)
            heights = found.log_evidence / np.log(10)
            label = "no change" if change == "good" else change
            axes.plot(np.arange(len(heights)) - BEFORE, heights, label=label, linewidth=1.6)
        limit = np.log10(DEFAULT_IMAGES_PER_FALSE_ALARM)
        axes.axhline(limit, color=LIGHT.threshold, linestyle="--", linewidth=1.3, label="alarm")
        axes.axvline(0, color=LIGHT.faint, linestyle=":", linewidth=1)
        axes.set_xlim(-50, 60)
        axes.set_ylim(-1, 9)
        axes.set_yticks(range(0, 9, 2), [f"{10**power:,}" for power in range(0, 9, 2)])
        axes.set_xlabel("images since the change")
        axes.set_ylabel("evidence of a change")

    return rendered(draw_lines, (7.2, 3.6), LIGHT, "png", "best")
