"""wide_resnet50_2 as PatchCore uses it: a fit, a folder, one image beside the network alone.

The weights are random unless real ones are on this machine: the time is the same. 256 pixels,
cropped to 224; layer2 and layer3; 10 % of the patches.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.apart import measured_apart
from benchmarks.extractor import network_alone, usable_precisions
from benchmarks.memory import peak_bytes
from benchmarks.place import Place, temporary_place
from benchmarks.timing import in_blocks, spread_text
from patchbank.datasets.demo import demo_split
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.matching import matching_extractor
from patchbank.inspection.keeping.backbones import add_weights
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.learning.quantise import quantised_graph
from patchbank.inspection.settings import make_fit_settings
from patchbank.progress import silent
from patchbank.settings import get_settings, usable_cores
from patchbank.vision.backbones import get_backbone
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings

BACKBONE = "wide_resnet50_2"
IMAGES = 200
FOLDER_IMAGES = 100
QUANTISED_BY = 30
CALLS_A_BLOCK = 6
QUIET_BLOCKS = 8
FEWEST_QUIET_BLOCKS = 3
LONGEST_SECONDS = 40


def measure(images: int = IMAGES, seconds: float = LONGEST_SECONDS) -> dict[str, Any]:
    """Fit and inspect in each precision, in turns."""
    split = demo_split("mono")
    learned = [sample.path for sample in split.train[:images]]
    judged = [sample.path for sample in split.test]
    np.random.default_rng(0).shuffle(judged)
    with temporary_place() as place:
        weights = "the ones on this machine"
        if not get_backbone(BACKBONE).weights_installed():
            weights = "random"
            _add_random_weights(place)
        fits: dict[str, Any] = {}
        folders: dict[str, float] = {}
        works: dict[str, Callable[[int], object]] = {}
        if "int8" in usable_precisions():
            # Of int8 the network alone: the bank and the search are those of the others.
            works["int8 network"] = network_alone(_quantised(place, learned))
        for name in [precision for precision in usable_precisions() if precision != "int8"]:
            settings = make_fit_settings(
                backbone=BACKBONE, image_size=256, center_crop=224, precision=name
            )
            report = fit(place.workspace, name, learned, settings)
            fits[name] = {
                "seconds": {
                    stage: round(seconds, 1) for stage, seconds in report.timings_s.items()
                },
                "rows": len(report.bank.features),
                # Of the process so far: that of the first fit is its own.
                "peak_megabytes": round(peak_bytes() / 1e6),
            }
            bank = place.workspace.database.banks.active(name)
            works[f"{name} network"] = network_alone(matching_extractor(place.workspace, bank))
            inspector = Inspector(place.workspace, name)
            works[f"{name} whole"] = partial(_inspect, inspector, judged)
            folders[name] = _images_per_second(inspector, judged[:FOLDER_IMAGES])
        blocks = in_blocks(
            works,
            calls=CALLS_A_BLOCK,
            quiet=QUIET_BLOCKS,
            fewest=FEWEST_QUIET_BLOCKS,
            seconds=seconds,
            own=lambda: time.process_time() + place.database_seconds(),
        )
    return {
        "cores": usable_cores(),
        "weights": weights,
        "images": images,
        "fit": fits,
        "images_per_second": folders,
        "network_ms": {
            name: blocks.figures(f"{name} network")
            for name in usable_precisions()
            if f"{name} network" in works
        },
        "inspection_ms": {name: blocks.figures(f"{name} whole") for name in fits},
        "times as long as the network alone": {
            name: blocks.ratio(f"{name} whole", f"{name} network") for name in fits
        },
    }


def _quantised(place: Place, learned: list[Path]) -> Extractor:
    """Return the extractor in int8, quantised with some of the images."""
    settings = ExtractorSettings(
        backbone=BACKBONE, image_size=256, center_crop=224, precision="int8"
    )
    paths = learned[:QUANTISED_BY]
    graph = quantised_graph(place.workspace, settings, paths, [path.name for path in paths], silent)
    return Extractor(settings, quantised=graph)


def _images_per_second(inspector: Inspector, paths: list[Path]) -> float:
    """Return how many images of a folder are judged in a second, the first few aside."""
    list(inspector.inspect_many(paths[:8]))
    began = time.perf_counter()
    list(inspector.inspect_many(paths))
    return round(len(paths) / (time.perf_counter() - began), 2)


def _inspect(inspector: Inspector, paths: list[Path], number: int) -> dict[str, float]:
    return inspector.inspect(paths[number % len(paths)]).timings_ms


def _add_random_weights(place: Place) -> None:
    from tests.fixtures.networks import write_weights

    os.environ["PATCHBANK_BACKBONES"] = str(place.home / "backbones")
    get_settings.cache_clear()
    file = write_weights(BACKBONE, place.home / "model.safetensors")
    add_weights(BACKBONE, file)
    file.unlink()


def main() -> dict[str, Any]:
    """Measure in a fresh process and print."""
    document: dict[str, Any] = measured_apart("wide")
    print(f"{document['cores']} cores, weights: {document['weights']}; ms an image")
    for name, made in document["fit"].items():
        print(
            f"  {name:<5} fit of {document['images']} images: {made['seconds']} s, "
            f"{made['rows']:,} rows, peak {made['peak_megabytes']:,} MB; folder "
            f"{document['images_per_second'][name]} images/s"
        )
        for what, label in (("network_ms", "network alone"), ("inspection_ms", "whole inspection")):
            times = document[what][name]
            state = "quiet" if times["quiet"] else "disturbed"
            print(
                f"  {name:<5} {label:<17} {spread_text(times)}, processor {times['processor']}, "
                f"{times['blocks']} {state} blocks"
            )
        over = document["times as long as the network alone"][name]
        print(f"  {name:<5} inspection over network alone: {spread_text(over)} times")
    if "int8" in document["network_ms"]:
        print(f"  int8  network alone: {spread_text(document['network_ms']['int8'])}")
    return document
