"""The command `patchbank inspect` from its start to its end, beside Python's own start.

Everything it reads has been read before: that a disk is slow is not measured.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.apart import measured_apart
from benchmarks.place import CATEGORY, Place, temporary_place
from benchmarks.timing import ratio, spread, spread_text
from patchbank.datasets.demo import demo_split
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import FitSettings

STARTS = 7
PYTHON, VERSION = "python -c pass", "patchbank --version"
STOPPED, RUNNING = "patchbank inspect, database stopped", "patchbank inspect, database running"


def measure(starts: int = STARTS) -> dict[str, Any]:
    """Return the document of ``python -m benchmarks cold``."""
    samples = demo_split("mono")
    image = next(sample.path for sample in samples.test if sample.label == "good")
    with temporary_place() as place:
        fit(place.workspace, CATEGORY, [sample.path for sample in samples.train], FitSettings())
        # This process is no client any more; the server waits ten minutes for the next.
        place.workspace.close()
        environment = {**os.environ, "PATCHBANK_HOME": str(place.home)}
        inspect = ["-m", "patchbank", "inspect", CATEGORY, str(image)]
        commands: dict[str, tuple[list[str], Callable[[], object]]] = {
            PYTHON: (["-c", "pass"], lambda: None),
            VERSION: (["-m", "patchbank", "--version"], lambda: None),
            STOPPED: (inspect, place.server.stop),
            RUNNING: (inspect, lambda: None),
        }
        wall: dict[str, list[float]] = {name: [] for name in commands}
        processor: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(starts + 1):
            for name, (arguments, prepare) in commands.items():
                prepare()
                seconds, used = _start(arguments, environment)
                if turn:
                    wall[name].append(seconds)
                    processor[name].append(used)
        first = _without_caches(place, inspect, environment)
    return {
        "starts": starts,
        "seconds": {name: spread(values, 3) for name, values in wall.items()},
        "processor_seconds": {
            name: round(statistics.median(values), 3) for name, values in processor.items()
        },
        "times as long": {
            f"{RUNNING} / {other}": ratio(wall[RUNNING], wall[other])
            for other in (PYTHON, VERSION)
        },
        "times as long with the database stopped": ratio(wall[STOPPED], wall[RUNNING]),
        "without caches, once": {
            "seconds": round(first[0], 2),
            "processor_seconds": round(first[1], 2),
            "times as long": round(first[0] / statistics.median(wall[RUNNING]), 1),
        },
    }  # fmt: skip


def _without_caches(
    place: Place, arguments: list[str], environment: Mapping[str, str]
) -> tuple[float, float]:
    """Start once without the compiled graph and with nothing that Numba has kept."""
    shutil.rmtree(place.home / "graphs")
    with tempfile.TemporaryDirectory() as empty:
        found = _start(arguments, {**environment, "NUMBA_CACHE_DIR": empty})
        if not any(Path(empty).rglob("*.nbi")):
            raise AssertionError("Numba kept its kernels elsewhere: this was no start without them")
    return found


def _start(arguments: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run Python to its end and return its wall and processor seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    # A verdict may be "fail", which is 1.
    if done.returncode not in (0, 1) or (done.returncode and not done.stdout):
        raise AssertionError(f"{' '.join(arguments)}: {done.stderr or done.returncode}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> dict[str, Any]:
    """Measure and print."""
    document: dict[str, Any] = measured_apart("cold")
    print(f"{document['starts']} starts each, in turns: seconds, median (least to most); processor")
    for name, figures in document["seconds"].items():
        used = document["processor_seconds"][name]
        print(f"  {name:<36} {spread_text(figures)}; {used} s")
    for name, figures in document["times as long"].items():
        print(f"  {name}: {spread_text(figures)} times as long")
    stopped = spread_text(document["times as long with the database stopped"])
    print(f"  with the database stopped: {stopped} times as long")
    once = document["without caches, once"]
    print(
        f"  without caches, once: {once['seconds']} s, processor {once['processor_seconds']} s;"
        f" {once['times as long']} times as long"
    )
    return document
