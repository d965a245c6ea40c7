"""What an image's features cost: network and whole, alone and in a stream, and the cold start.

Precisions are measured in turns, so that whatever else the machine does meets all of them.
Beside the wall time stands the processor's time, all cores added up: it depends little on the load.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.apart import measured_apart
from benchmarks.timing import Blocks, Lap, in_blocks, ratio, spread, spread_text
from patchbank.datasets.demo import demo_split
from patchbank.errors import ParameterError
from patchbank.inspection.learning.quantise import quantised_graph
from patchbank.inspection.workspace import Workspace
from patchbank.progress import silent
from patchbank.settings import usable_cores
from patchbank.vision.extraction import Extraction
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import PRECISIONS, ExtractorSettings
from patchbank.vision.runtime import CompiledGraph, check_precision, compile_graph

CALLS_A_BLOCK = 12
QUIET_BLOCKS = 15
FEWEST_QUIET_BLOCKS = 5
LONGEST_SECONDS = 30
STREAM_IMAGES = 400
STREAM_PASSES = 5
COLD_STARTS = 5
_COLD = """
import sys, time
from pathlib import Path
start = time.perf_counter(), time.process_time()
from patchbank.vision.extractor import Extractor
folder = None if sys.argv[1] == "none" else Path(sys.argv[1])
Extractor(cache_folder=folder)
print(time.perf_counter() - start[0], time.process_time() - start[1])
"""


def measure() -> dict[str, Any]:
    """Return the document of ``python -m benchmarks extractor``."""
    paths = [sample.path for sample in demo_split("mono").test[:STREAM_IMAGES]]
    extractors = {name: extractor_in(name) for name in usable_precisions()}
    works: dict[str, Callable[[int], object]] = {}
    for name, extractor in extractors.items():
        works[f"{name} network"] = network_alone(extractor)
        works[f"{name} whole"] = partial(_extract_one, extractor, paths)
    blocks = in_blocks(
        works,
        calls=CALLS_A_BLOCK,
        quiet=QUIET_BLOCKS,
        fewest=FEWEST_QUIET_BLOCKS,
        seconds=LONGEST_SECONDS,
    )
    document: dict[str, Any] = {
        "cores": usable_cores(),
        "network_ms": {name: blocks.figures(f"{name} network") for name in extractors},
        "extract_one_ms": {name: blocks.figures(f"{name} whole") for name in extractors},
        "times as long as the network alone": {
            name: blocks.ratio(f"{name} whole", f"{name} network") for name in extractors
        },
        "stages_ms": {name: _stages(blocks, f"{name} whole") for name in extractors},
        "extract_many": _streams(extractors, paths),
    }
    for extractor in extractors.values():
        extractor.close()
    document["cold_start_s"] = _cold_starts()
    return document


def extractor_in(precision: str) -> Extractor:
    """Return the default extractor in a precision; in int8, quantised with the demo set."""
    settings = ExtractorSettings(precision=precision)
    if not settings.is_quantised:
        return Extractor(settings)
    samples = demo_split("mono").train
    with tempfile.TemporaryDirectory() as home, Workspace(home=Path(home)) as workspace:
        graph = quantised_graph(
            workspace,
            settings,
            [sample.path for sample in samples],
            [sample.name for sample in samples],
            silent,
        )
    return Extractor(settings, quantised=graph)


def _extract_one(extractor: Extractor, paths: Sequence[Path], number: int) -> dict[str, float]:
    return extractor.extract_one(paths[number % len(paths)]).timings_ms


def _stages(blocks: Blocks, name: str) -> dict[str, float]:
    runs = [run for index in blocks.chosen for run in blocks.results[name][index]]
    return {stage: round(statistics.median(run[stage] for run in runs), 2) for stage in runs[0]}


def network_alone(extractor: Extractor) -> Callable[[int], object]:
    """Return what runs the compiled graph on an image that is in memory, decoded and resized."""
    graph = _compiled(extractor)
    image = np.zeros((extractor.preprocessing.side,) * 2 + (3,), np.uint8)

    def run(number: int) -> None:
        with graph.run(image):
            pass

    return run


def _compiled(extractor: Extractor) -> CompiledGraph:
    return compile_graph(
        extractor.write_graph,
        key="benchmark",
        precision=extractor.settings.precision,
        threads=usable_cores(),
        streams=1,
        cache_folder=None,
    )


def usable_precisions() -> list[str]:
    """Return the precisions this processor has."""
    usable = []
    for name in PRECISIONS:
        try:
            check_precision(name)
        except ParameterError:
            continue
        usable.append(name)
    return usable


def _streams(extractors: dict[str, Extractor], paths: list[Path]) -> dict[str, dict[str, Any]]:
    """Return images per second, in wall time and as the processor's time on all cores allows."""
    laps: dict[str, list[Lap]] = {name: [] for name in extractors}
    for extractor in extractors.values():
        list(extractor.extract_many(paths[:8]))
    for _ in range(STREAM_PASSES):
        for name, extractor in extractors.items():
            lap = Lap()
            done = sum(
                isinstance(extraction, Extraction) for extraction in extractor.extract_many(paths)
            )
            laps[name].append(lap.stop())
            if done != len(paths):
                raise AssertionError(f"{len(paths) - done} images were refused")
    walls = {name: [lap.wall for lap in each] for name, each in laps.items()}
    return {
        name: {
            "images": len(paths),
            "images_per_second": spread((len(paths) / wall for wall in walls[name]), 1),
            "processor_ms_per_image": spread(1e3 * lap.processor / len(paths) for lap in each),
            "times as long as f32": ratio(walls[name], walls["f32"]),
        }
        for name, each in laps.items()
    }


def _cold_starts() -> dict[str, dict[str, float]]:
    """Return seconds from Python's start to a usable extractor, imports included."""
    with tempfile.TemporaryDirectory() as folder:
        Extractor(cache_folder=Path(folder)).close()
        found: dict[str, list[tuple[float, float]]] = {"with cache": [], "without cache": []}
        for _ in range(COLD_STARTS):
            for name, argument in (("with cache", folder), ("without cache", "none")):
                done = subprocess.run(
                    [sys.executable, "-c", _COLD, argument],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                wall, processor = (float(part) for part in done.stdout.split())
                found[name].append((wall, processor))
    return {
        name: {
            "wall": round(statistics.median(wall for wall, _ in runs), 3),
            "processor": round(statistics.median(used for _, used in runs), 3),
        }
        for name, runs in found.items()
    }


def main() -> dict[str, Any]:
    """Measure in a fresh process, whose threads do nothing else, and print."""
    document: dict[str, Any] = measured_apart("extractor")
    print(f"{document['cores']} cores; ms an image: wall median (least to most), processor")
    for name in document["network_ms"]:
        for what, label in (("network_ms", "network alone"), ("extract_one_ms", "extract_one")):
            times = document[what][name]
            print(
                f"  {name:<5} {label:<14} {times['median']:6.2f} ({times['least']:.2f} to"
                f" {times['most']:.2f}) {times['processor']:6.2f}, {times['blocks']} "
                f"{'quiet' if times['quiet'] else 'disturbed'} blocks"
            )
        over = document["times as long as the network alone"][name]
        print(f"  {name:<5} extract_one over network alone: {spread_text(over)} times")
        stages = ", ".join(f"{k} {v:.2f}" for k, v in document["stages_ms"][name].items())
        stream = document["extract_many"][name]
        print(f"  {name:<5} stages: {stages}")
        print(
            f"  {name:<5} extract_many: {spread_text(stream['images_per_second'])} images/s,"
            f" processor {spread_text(stream['processor_ms_per_image'])} ms an image;"
            f" {spread_text(stream['times as long as f32'])} times as long as f32"
        )
    for name, figures in document["cold_start_s"].items():
        print(f"extractor, {name}: {figures['wall']:.2f} s, processor {figures['processor']:.2f} s")
    return document
