"""Photographs of 12 and 100 megapixels with small defects: what is found, time and memory, seams.

The photographs are those that scikit-image ships, enlarged; each picture is cut from one at another
position, in another light, with the noise of a sensor. Defects are synthetic: dots 12 pixels across
and scratches of 4 x 36 pixels. Every photograph is measured in a process of its own.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.apart import measured_apart
from benchmarks.memory import peak_bytes
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Judgement
from patchbank.inspection.workspace import Workspace
from patchbank.settings import usable_cores
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.synthetic import small_defect

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "stereo_motorcycle", "gravel")
SIZE = (4000, 3000)
LARGEST = (10_000, 10_000)
REFERENCES = 20
JUDGED = 10
DEFECT = 12
# Parts lie up to so many pixels beside each other.
_SHIFT = 40
_NOISE = 3.0
# Tiles of this share of the side begin elsewhere.
_OTHER_TILE = 3 / 4

Pixels = npt.NDArray[np.uint8]


def photograph(name: str, width: int, height: int) -> Pixels:
    """Return a photograph enlarged to somewhat more than a size, RGB."""
    from skimage import data

    found = getattr(data, name)()
    # Stereo pictures come in pairs, with their depth.
    found = found[0] if isinstance(found, tuple) else found
    image = Image.fromarray(found).convert("RGB")
    factor = max((width + _SHIFT) / image.width, (height + _SHIFT) / image.height)
    size = (round(image.width * factor) + 1, round(image.height * factor) + 1)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def picture(whole: Pixels, width: int, height: int, seed: int) -> Pixels:
    """Return a part of a photograph as a camera takes it: shifted, in another light, with noise."""
    random = np.random.default_rng(seed)
    top, left = random.integers(0, _SHIFT, 2)
    light = random.uniform(0.95, 1.05)
    part = whole[top : top + height, left : left + width]
    taken = np.empty_like(part)
    for row in range(0, height, 500):
        values = part[row : row + 500].astype(np.float32) * np.float32(light)
        values += _NOISE * random.standard_normal((*values.shape[:2], 1), dtype=np.float32)
        taken[row : row + 500] = np.clip(np.rint(values), 0, 255)
    return taken


def measure(
    name: str,
    size: tuple[int, int],
    precision: str,
    references: int = REFERENCES,
    judged: int = JUDGED,
) -> dict[str, Any]:
    """Learn pictures of a photograph with all defaults; judge others as they are and damaged."""
    width, height = size
    whole = photograph(name, width, height)
    with tempfile.TemporaryDirectory() as folder, Workspace(home=Path(folder)) as workspace:
        paths = []
        for number in range(references):
            paths.append(Path(folder) / f"{number}.png")
            taken = picture(whole, width, height, number)
            Image.fromarray(taken).save(paths[-1], compress_level=1)
        names = [path.name for path in paths]
        began = time.perf_counter()
        bank = learn(workspace, paths, make_fit_settings(precision=precision), names=names)
        fit_seconds = time.perf_counter() - began
        fit_peak = peak_bytes()
        judge = Judge(bank.features, bank.settings, bank.calibration)
        extractor = workspace.extractor(bank.settings.extractor, bank.quantised)
        elsewhere = workspace.extractor(_with_other_tiles(bank.settings.extractor))
        watch = Stopwatch()
        alarms, found, seams, network = 0, [], [], []
        for number in range(judged):
            good = picture(whole, width, height, 1000 + number)
            network.append(_network_seconds(extractor, good))
            clean = _judged(extractor, judge, good, watch)
            alarms += clean.verdict == "fail"
            seams.append(_seam(clean, _judged(elsewhere, judge, good, Stopwatch())))
            defect = small_defect(good, np.random.default_rng(2000 + number), DEFECT)
            found.append(_finds(_judged(extractor, judge, defect.pixels, watch), defect.box))
            del good, defect, clean
        whole_ms = 1e3 * sum(watch.seconds.values()) / (2 * judged)
        network_ms = 1e3 * float(np.median(network))
    return {
        "photograph": name,
        "size": [width, height],
        "precision": precision,
        "resolution": bank.settings.resolution,
        "references": references,
        "fit_seconds": round(fit_seconds, 1),
        "fit_peak_megabytes": round(fit_peak / 1e6),
        "judged": judged,
        "false_alarms": alarms,
        "promised": round(bank.threshold.guaranteed_rate, 4),
        "found": sum(found),
        "stages_ms": {key: round(1e3 * s / (2 * judged), 1) for key, s in watch.seconds.items()},
        "inspection_ms": round(whole_ms, 1),
        "network_ms": round(network_ms, 1),
        "times as long as the network alone": round(whole_ms / network_ms, 2),
        "seam_score": round(max(score for score, _ in seams), 5),
        "seam_map": round(max(change for _, change in seams), 5),
        "peak_megabytes": round(peak_bytes() / 1e6),
        "cores": usable_cores(),
    }


def _judged(extractor: Extractor, judge: Judge, pixels: Pixels, watch: Stopwatch) -> Judgement:
    found = extractor.extract_one(pixels)
    watch.add("features", (found.timings_ms["preprocess"] + found.timings_ms["network"]) / 1e3)
    return judge(found.patches, pixels.shape[1], pixels.shape[0], watch=watch)


def _with_other_tiles(extractor: ExtractorSettings) -> ExtractorSettings:
    grain = math.lcm(32, extractor.tiling.coarse)
    return replace(extractor, image_size=int(_OTHER_TILE * extractor.image_size) // grain * grain)


def _network_seconds(extractor: Extractor, pixels: Pixels) -> float:
    """Return how long the network alone takes for an image's tiles, which are cut before."""
    resized, tiling = extractor.preprocessing.apply(pixels), extractor.settings.tiling
    rows, columns = (tiling.spans(count) for count in tiling.grid(*resized.shape[:2]))
    tiles = [tiling.cut(resized, down.origin, across.origin) for down in rows for across in columns]
    graph, workers = extractor._many()

    def run(tile: Pixels) -> None:
        with graph.run(tile):
            pass

    began = time.perf_counter()
    list(workers.map(run, tiles))
    return time.perf_counter() - began


def _finds(judgement: Judgement, box: tuple[int, int, int, int]) -> bool:
    """Return whether the image fails, and a region touches the defect."""
    x0, y0, x1, y1 = box
    return judgement.verdict == "fail" and any(
        left < x1 and x0 < right and top < y1 and y0 < bottom
        for left, top, right, bottom in (region.box_xyxy for region in judgement.regions)
    )


def _seam(first: Judgement, other: Judgement) -> tuple[float, float]:
    """Return the largest changes by other tiles, as shares of the thresholds: score and map."""
    change = np.abs(first.anomaly_map - other.anomaly_map).max()
    score = abs(first.score - other.score) / first.thresholds.fail_above
    return score, float(change) / first.map_threshold


def main() -> dict[str, Any]:
    """Measure each photograph in a fresh process and print."""
    runs = [(name, SIZE, "f32", REFERENCES, JUDGED) for name in PHOTOGRAPHS]
    runs.append(("coffee", SIZE, "bf16", REFERENCES, JUDGED))
    runs.append(("coffee", LARGEST, "f32", 5, 2))
    figures = {}
    for name, size, precision, references, judged in runs:
        label = f"{name}, {size[0]} x {size[1]}, {precision}"
        found = measured_apart(
            "large_images",
            name=name,
            size=size,
            precision=precision,
            references=references,
            judged=judged,
        )
        figures[label] = found
        print(f"{label}: {found['resolution']}")
        print(
            f"  found {found['found']} of {found['judged']}, false alarms {found['false_alarms']} "
            f"(promised {100 * found['promised']:.2g} %); fit of {found['references']} "
            f"{found['fit_seconds']} s, {found['fit_peak_megabytes']:,} MB; inspection "
            f"{found['inspection_ms']:,} ms {found['stages_ms']}, network alone "
            f"{found['network_ms']:,} ms, {found['times as long as the network alone']} times; "
            f"peak {found['peak_megabytes']:,} MB; other tiles change a score by "
            f"{found['seam_score']:.2%} and the map by {found['seam_map']:.2%} of the threshold",
            flush=True,
        )
    return figures
