"""Measure things against each other on a machine that others may be using too."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

#: Long enough for the threads of a BLAS or OpenMP library to stop waiting for more work: they spin
#: for a while, on cores the next contender needs.
REST_SECONDS = 0.05


@dataclass(frozen=True)
class Runs:
    """Paired runs of several contenders: of each, wall and processor seconds, run after run."""

    wall: dict[str, list[float]]
    processor: dict[str, list[float]]

    def figures(self, name: str) -> dict[str, float]:
        """Return a contender's times in milliseconds."""
        wall = [1000 * seconds for seconds in self.wall[name]]
        return {
            "wall_ms": round(statistics.median(wall), 2),
            "wall_ms_least": round(min(wall), 2),
            "wall_ms_most": round(max(wall), 2),
            "processor_ms": round(1000 * statistics.median(self.processor[name]), 2),
        }

    def ratio(self, name: str, reference: str) -> dict[str, float]:
        """Return how many times as long as `reference` a contender took, run by run."""
        pairs = zip(self.wall[name], self.wall[reference], strict=True)
        ratios = [one / other for one, other in pairs]
        return {
            "median": round(statistics.median(ratios), 2),
            "least": round(min(ratios), 2),
            "most": round(max(ratios), 2),
        }


def paired(contenders: Mapping[str, Callable[[], object]], runs: int) -> Runs:
    """Run all contenders in turn, `runs` times after one that does not count."""
    result = Runs({name: [] for name in contenders}, {name: [] for name in contenders})
    for turn in range(runs + 1):
        for name, contender in contenders.items():
            time.sleep(REST_SECONDS)
            wall, processor = time.perf_counter(), time.process_time()
            contender()
            if turn:
                result.wall[name].append(time.perf_counter() - wall)
                result.processor[name].append(time.process_time() - processor)
    return result


def sgemm_peak() -> float:
    """Return the most float32 GFLOP/s that NumPy's BLAS reaches here in large products."""
    side, best = 2048, 0.0
    left = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
    output = np.empty_like(left)
    for _ in range(8):
        start = time.perf_counter()
        np.matmul(left, left, out=output)
        best = max(best, 2 * side**3 / (time.perf_counter() - start) / 1e9)
    return best


def load() -> str:
    """Return how busy the machine was, to be printed beside figures."""
    if not hasattr(os, "getloadavg"):
        return "load unknown"
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
