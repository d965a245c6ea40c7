"""Measure things against each other on a machine that others may be using too."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

#: Long enough for the threads of a BLAS or OpenMP library to stop waiting for more work: they spin
#: for a while, on cores the next contender needs.
REST_SECONDS = 0.05


def spread(values: Iterable[float], digits: int = 2) -> dict[str, float]:
    """Return the median of values, the least and the most."""
    values = list(values)
    return {
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "most": round(max(values), digits),
    }


def spread_text(figures: Mapping[str, float], unit: str = "") -> str:
    """Return what `spread` gave as ``5.7 s (4.8 to 7.7)``, to three digits."""
    median, least, most = (three_digits(figures[name]) for name in ("median", "least", "most"))
    return f"{median}{unit} ({least} to {most})"


def three_digits(value: float) -> str:
    """Return a number to three digits, or all of those before its point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(
    values: Sequence[float], references: Sequence[float], digits: int = 2
) -> dict[str, float]:
    """Return the quotients of values and their paired references: median, least and most."""
    return spread(
        (value / reference for value, reference in zip(values, references, strict=True)), digits
    )


class Lap:
    """Wall and processor seconds from its making to `stop`, and whether the machine was quiet.

    It was while other processes than ours used less than an eighth of a core.

    Parameters
    ----------
    own
        Gives the processor seconds so far of all processes that are part of the measurement.
    """

    def __init__(self, own: Callable[[], float] = time.process_time) -> None:
        self._own = own
        self._busy, self._used, self._start = _busy_seconds(), own(), time.perf_counter()
        self.wall = self.processor = 0.0
        self.quiet = False

    def stop(self) -> Lap:
        """End it and return it."""
        self.wall = time.perf_counter() - self._start
        self.processor = self._own() - self._used
        self.quiet = _busy_seconds() - self._busy - self.processor < self.wall / 8
        return self


def _busy_seconds() -> float:
    """Return the seconds that the cores have worked, for whatever process."""
    times = psutil.cpu_times()
    # Linux counts a guest's time twice: as the guest's and as its user's.
    twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - twice)


@dataclass
class Blocks:
    """Blocks of calls of several contenders in turns, round after round."""

    calls: dict[str, list[list[float]]]  # milliseconds of each call
    processor: dict[str, list[float]]  # milliseconds a call
    results: dict[str, list[list[Any]]]
    fewest: int
    quiet: list[bool] = field(default_factory=list)

    @property
    def enough(self) -> bool:
        """Whether there were enough quiet rounds; otherwise all count."""
        return sum(self.quiet) >= self.fewest

    @property
    def chosen(self) -> list[int]:
        """The rounds that count."""
        return [index for index, still in enumerate(self.quiet) if still or not self.enough]

    def medians(self, name: str) -> list[float]:
        """Return the median milliseconds of a contender's calls, round by round."""
        return [statistics.median(self.calls[name][index]) for index in self.chosen]

    def figures(self, name: str) -> dict[str, float]:
        """Return a contender's milliseconds a call, over the blocks that count."""
        used = [self.processor[name][index] for index in self.chosen]
        return {
            **spread(self.medians(name)),
            "processor": round(statistics.median(used), 2),
            "blocks": len(self.chosen),
            "quiet": self.enough,
        }

    def ratio(self, name: str, reference: str) -> dict[str, float]:
        """Return how many times as long as `reference` a contender took, round by round."""
        return ratio(self.medians(name), self.medians(reference))


def in_blocks(
    works: Mapping[str, Callable[[int], object]],
    *,
    calls: int,
    quiet: int,
    fewest: int,
    seconds: float,
    own: Callable[[], float] = time.process_time,
) -> Blocks:
    """Run blocks of calls in turns until there are enough quiet rounds, or for so many seconds.

    Each block begins with a call that does not count: the caches are that contender's again. A
    work is called with a number that goes on from round to round.
    """
    blocks = Blocks(
        calls={name: [] for name in works},
        processor={name: [] for name in works},
        results={name: [] for name in works},
        fewest=fewest,
    )
    deadline = time.monotonic() + seconds
    while sum(blocks.quiet) < quiet and (time.monotonic() < deadline or len(blocks.quiet) < fewest):
        still, first = True, calls * len(blocks.quiet)
        for name, work in works.items():
            work(first)
            times, found = [], []
            lap = Lap(own)
            for number in range(first, first + calls):
                before = time.perf_counter()
                found.append(work(number))
                times.append(1e3 * (time.perf_counter() - before))
            lap.stop()
            still &= lap.quiet
            blocks.calls[name].append(times)
            blocks.results[name].append(found)
            blocks.processor[name].append(1e3 * lap.processor / calls)
        blocks.quiet.append(still)
    return blocks


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
        return ratio(self.wall[name], self.wall[reference])


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
