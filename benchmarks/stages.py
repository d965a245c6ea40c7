"""Where the time goes: a fit of 200 images with its peak memory, and one image inspected warm."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from benchmarks.apart import measured_apart
from benchmarks.extractor import extractor_in, network_alone
from benchmarks.memory import peak_bytes
from benchmarks.place import CATEGORY, Place, temporary_place
from benchmarks.timing import in_blocks, ratio, spread, spread_text
from patchbank.datasets.demo import demo_split
from patchbank.datasets.samples import CategorySamples
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import FitSettings
from patchbank.vision.extraction import Extraction

FITS = 5
IMAGES_A_BLOCK = 20
# 200 images.
QUIET_BLOCKS = 10
FEWEST_QUIET_BLOCKS = 5
LONGEST_SECONDS = 90


def measure(fits: int = FITS, seconds: float = LONGEST_SECONDS) -> dict[str, Any]:
    """Fit and inspect in this process; its peak memory is the process's."""
    samples = demo_split("mono")
    with temporary_place() as place:
        return {"fit": _fits(place, samples, fits), "inspect": _inspect(place, samples, seconds)}


def _fits(place: Place, samples: CategorySamples, fits: int) -> dict[str, Any]:
    """Fit the same images again and again, in turns with their features alone."""
    paths = [sample.path for sample in samples.train]
    settings = FitSettings()
    before = peak_bytes()
    # The first one reads what is cached; its peak is the one that counts.
    bank = fit(place.workspace, CATEGORY, paths, settings).bank
    peak = peak_bytes()
    patches = bank.patches
    features_bytes = patches * bank.features[0].nbytes
    del bank
    extractor = place.workspace.extractor(settings.extractor)
    features: list[float] = []
    timings: list[dict[str, float]] = []
    for _ in range(fits):
        start = time.perf_counter()
        for extraction in extractor.extract_many(paths):
            if not isinstance(extraction, Extraction):
                raise extraction.error
        features.append(time.perf_counter() - start)
        timings.append(fit(place.workspace, CATEGORY, paths, settings).timings_s)
    totals = [timing["total"] for timing in timings]
    return {
        "images": len(paths),
        "fits": fits,
        "seconds": {name: spread(timing[name] for timing in timings) for name in timings[0]},
        "features alone, seconds": spread(features),
        "times as long as features alone": ratio(totals, features),
        "peak_megabytes": round(peak / 1e6),
        "peak_megabytes before the fit": round(before / 1e6),
        "patch features, megabytes": round(features_bytes / 1e6),
        "peak over patch features": round(peak / features_bytes, 2),
    }


def _inspect(place: Place, samples: CategorySamples, seconds: float) -> dict[str, Any]:
    """Inspect one image after another, in turns with the network alone."""
    inspector = Inspector(place.workspace, CATEGORY)
    # Every block has good and defective cells, as many as there are of them.
    paths = [sample.path for sample in samples.test]
    np.random.default_rng(0).shuffle(paths)

    def inspect(number: int) -> dict[str, float]:
        return inspector.inspect(paths[number % len(paths)]).timings_ms

    blocks = in_blocks(
        {"network": network_alone(extractor_in("f32")), "inspection": inspect},
        calls=IMAGES_A_BLOCK,
        quiet=QUIET_BLOCKS,
        fewest=FEWEST_QUIET_BLOCKS,
        seconds=seconds,
        own=lambda: time.process_time() + place.database_seconds(),
    )
    runs = [run for index in blocks.chosen for run in blocks.results["inspection"][index]]
    totals = [call for index in blocks.chosen for call in blocks.calls["inspection"][index]]
    stages = {name: [run[name] for run in runs] for name in runs[0] if name != "total"}
    return {
        "images": len(runs),
        "quiet": blocks.enough,
        "stages_ms": {
            name: {"p50": _percentile(values, 50), "p95": _percentile(values, 95)}
            for name, values in {**stages, "total": totals}.items()
        },
        "p50 of blocks, ms": spread(blocks.medians("inspection")),
        "processor_ms with the database": blocks.figures("inspection")["processor"],
        "network alone, ms": blocks.figures("network"),
        "times as long as the network alone": blocks.ratio("inspection", "network"),
        "p95 over the network's median": round(
            float(np.percentile(totals, 95)) / statistics.median(blocks.medians("network")), 2
        ),
    }


def _percentile(values: list[float], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 2)


def main() -> dict[str, Any]:
    """Measure in a fresh process, so that the peak memory is that of this work alone."""
    measured_apart("place")
    document: dict[str, Any] = measured_apart("stages")
    fitted = document["fit"]
    print(
        f"fit of {fitted['images']} images, {fitted['fits']} times: seconds, median (least to most)"
    )
    for name, figures in fitted["seconds"].items():
        print(f"  {name:<12} {spread_text(figures)}")
    over = spread_text(fitted["times as long as features alone"])
    print(f"  {over} times as long as extract_many alone, in turns")
    print(
        f"peak memory of the fit: {fitted['peak_megabytes']:,} MB, "
        f"{fitted['peak over patch features']} times the patch features"
        f" ({fitted['patch features, megabytes']} MB, float32);"
        f" {fitted['peak_megabytes before the fit']} MB before it"
    )
    inspection = document["inspect"]
    state = "quiet" if inspection["quiet"] else "disturbed"
    print(f"one image, warm, {inspection['images']} images in {state} blocks: p50 and p95 in ms")
    for name, figures in inspection["stages_ms"].items():
        print(f"  {name:<12} {figures['p50']:7.2f} {figures['p95']:7.2f}")
    network = inspection["network alone, ms"]
    print(f"  network alone in turns with it: {spread_text(network)} ms")
    over = spread_text(inspection["times as long as the network alone"])
    print(f"  one inspection over the network alone, medians of blocks: {over} times")
    return document
