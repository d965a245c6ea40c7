"""What an image's features cost: network and whole, alone and in a stream, and the cold start.

Precisions are measured in turns, so that whatever else the machine does meets all of them.
Beside the wall time stands the processor's time, all cores added up: it depends little on the load.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from patchbank.datasets.demo import demo_split
from patchbank.errors import ParameterError
from patchbank.inspection.quantise import quantised_graph
from patchbank.inspection.workspace import Workspace
from patchbank.progress import silent
from patchbank.settings import usable_cores
from patchbank.vision.extractor import Extraction, Extractor, ExtractorSettings
from patchbank.vision.extractor_settings import PRECISIONS
from patchbank.vision.images import ImageSource
from patchbank.vision.runtime import CompiledGraph, check_precision, compile_graph

CALLS_A_BLOCK = 12
QUIET_BLOCKS = 15
FEWEST_QUIET_BLOCKS = 5
LONGEST_SECONDS = 30
STREAM_IMAGES = 400
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
    extractors = {name: _extractor(name) for name in usable_precisions()}
    image = np.zeros((extractors["f32"].preprocessing.side,) * 2 + (3,), np.uint8)
    graphs = {name: _compiled(one) for name, one in extractors.items()}

    def network(name: str) -> Callable[[int], None]:
        def run(index: int) -> None:
            with graphs[name].run(image):
                pass

        return run

    stages: dict[str, list[dict[str, float]]] = {name: [] for name in graphs}

    def whole(name: str) -> Callable[[int], None]:
        def run(index: int) -> None:
            stages[name].append(extractors[name].extract_one(paths[index]).timings_ms)

        return run

    document: dict[str, Any] = {
        "cores": usable_cores(),
        "network_ms": _in_turns({name: network(name) for name in graphs}),
        "extract_one_ms": _in_turns({name: whole(name) for name in graphs}),
        "stages_ms": {
            name: {
                stage: round(statistics.median(run[stage] for run in runs), 2) for stage in runs[0]
            }
            for name, runs in stages.items()
        },
        "extract_many": {name: _stream(one, paths) for name, one in extractors.items()},
    }
    for one in extractors.values():
        one.close()
    document["cold_start_s"] = _cold_starts()
    return document


def _extractor(precision: str) -> Extractor:
    settings = ExtractorSettings(precision=precision)
    if not settings.is_quantised:
        return Extractor(settings)
    paths: list[ImageSource] = [sample.path for sample in demo_split("mono").train]
    names = [Path(str(path)).name for path in paths]
    with tempfile.TemporaryDirectory() as home, Workspace(home=Path(home)) as workspace:
        graph = quantised_graph(workspace, settings, paths, names, silent)
    return Extractor(settings, quantised=graph)


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


def _in_turns(works: dict[str, Callable[[int], None]]) -> dict[str, dict[str, float]]:
    """Return wall and processor milliseconds of one call, medians over quiet blocks of calls.

    A block is quiet while other processes use less than an eighth of a core; where the machine has
    too few such moments, all blocks count and ``quiet`` says so.
    """
    wall: dict[str, list[float]] = {name: [] for name in works}
    processor: dict[str, list[float]] = {name: [] for name in works}
    quiet: dict[str, list[bool]] = {name: [] for name in works}
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline and min(sum(one) for one in quiet.values()) < QUIET_BLOCKS:
        for name, work in works.items():
            work(0)  # the caches are this one's again
            calls = []
            busy, used, start = _busy_seconds(), time.process_time(), time.perf_counter()
            for index in range(CALLS_A_BLOCK):
                before = time.perf_counter()
                work(index)
                calls.append(1e3 * (time.perf_counter() - before))
            seconds, own = time.perf_counter() - start, time.process_time() - used
            quiet[name].append(_busy_seconds() - busy - own < seconds / 8)
            wall[name].append(statistics.median(calls))
            processor[name].append(1e3 * own / CALLS_A_BLOCK)
    found = {}
    for name in works:
        enough = sum(quiet[name]) >= FEWEST_QUIET_BLOCKS
        chosen = [index for index, still in enumerate(quiet[name]) if still or not enough]
        walls = [wall[name][index] for index in chosen]
        found[name] = {
            "median": round(statistics.median(walls), 2),
            "least": round(min(walls), 2),
            "most": round(max(walls), 2),
            "processor": round(statistics.median(processor[name][index] for index in chosen), 2),
            "blocks": len(chosen),
            "quiet": enough,
        }
    return found


def _busy_seconds() -> float:
    """Return the seconds that the cores have worked, for whatever process."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


def _stream(extractor: Extractor, paths: list[Path]) -> dict[str, float]:
    """Return images per second, in wall time and as the processor's time on all cores allows."""
    list(extractor.extract_many(paths[:8]))
    start, used = time.perf_counter(), time.process_time()
    done = sum(isinstance(one, Extraction) for one in extractor.extract_many(paths))
    wall, processor = time.perf_counter() - start, time.process_time() - used
    return {
        "images": done,
        "images_per_second": round(done / wall, 1),
        "processor_ms_per_image": round(1e3 * processor / done, 2),
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
                wall, processor = (float(one) for one in done.stdout.split())
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
    code = "import json; from benchmarks import extractor; print(json.dumps(extractor.measure()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{document['cores']} cores; ms an image: wall median (least to most), processor")
    for name in document["network_ms"]:
        for what, label in (("network_ms", "network alone"), ("extract_one_ms", "extract_one")):
            one = document[what][name]
            print(
                f"  {name:<5} {label:<14} {one['median']:6.2f} ({one['least']:.2f} to"
                f" {one['most']:.2f}) {one['processor']:6.2f}, {one['blocks']} "
                f"{'quiet' if one['quiet'] else 'disturbed'} blocks"
            )
        stages = ", ".join(f"{k} {v:.2f}" for k, v in document["stages_ms"][name].items())
        stream = document["extract_many"][name]
        print(f"  {name:<5} stages: {stages}")
        print(
            f"  {name:<5} extract_many: {stream['images_per_second']:.0f} images/s, processor "
            f"{stream['processor_ms_per_image']:.2f} ms an image"
        )
    for name, figures in document["cold_start_s"].items():
        print(f"extractor, {name}: {figures['wall']:.2f} s, processor {figures['processor']:.2f} s")
    return document
