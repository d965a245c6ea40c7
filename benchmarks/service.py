"""Inspections over HTTP: one client beside the Python API, then many at once, and memory meanwhile.

The service runs as a program on the demo's good cells; clients keep their connection open.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

from benchmarks.apart import measured_apart
from benchmarks.place import CATEGORY, Place, temporary_place
from benchmarks.timing import Blocks, in_blocks, spread
from patchbank.datasets.demo import demo_split
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import FitSettings

CLIENTS = 8
SECONDS = 60.0
API = "Python API, one image after another"
MANY = "Python API, inspect_many"
ONE = "service, 1 client"

_PARTS = 10
_MANY = 100
_OK, _BUSY = 200, 503
_PATH = f"/v1/categories/{CATEGORY}/inspect?name=cell.png"


class Client:
    """A client that keeps its connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def inspect(self, content: bytes) -> int:
        """Have an image judged, and return the status of the answer."""
        self._connection.request("POST", _PATH, content)
        answer = self._connection.getresponse()
        document = json.loads(answer.read())
        if answer.status == _OK and not document["recorded"]:
            raise AssertionError("an inspection was answered and not recorded")
        return answer.status

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def served(place: Place) -> Iterator[tuple[str, psutil.Process]]:
    """Run `patchbank serve`; yield its URL when it is ready, and its process."""
    environment = {**os.environ, "PATCHBANK_HOME": str(place.home)}
    command = [sys.executable, "-m", "patchbank", "serve", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        url = process.stderr.readline().split()[-1]
        _wait_until_ready(url)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _wait_until_ready(url: str) -> None:
    while True:
        with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
            connection.request("GET", "/health/ready")
            answer = connection.getresponse()
            answer.read()
        if answer.status == _OK:
            return
        time.sleep(0.05)


def measure(seconds: float = SECONDS, clients: int = CLIENTS) -> dict[str, Any]:
    """Return the document of ``python -m benchmarks service``; the load takes `seconds`."""
    samples = demo_split("mono")
    contents = [sample.path.read_bytes() for sample in samples.test]
    np.random.default_rng(0).shuffle(contents)
    with temporary_place() as place:
        fit(place.workspace, CATEGORY, [sample.path for sample in samples.train], FitSettings())
        with served(place) as (url, process):
            return {
                "references": len(samples.train),
                "first inspection, ms": _first(url, contents[0]),
                "one client": _beside_the_api(place, url, process, contents, min(60.0, seconds)),
                MANY: _many(place, contents, min(10.0, seconds)),
                "load": _load(place, url, process, contents, clients, seconds),
            }


def _first(url: str, content: bytes) -> float:
    with closing(Client(url)) as client:
        start = time.perf_counter()
        client.inspect(content)
        return round(1e3 * (time.perf_counter() - start), 1)


def _beside_the_api(
    place: Place, url: str, process: psutil.Process, contents: Sequence[bytes], seconds: float
) -> dict[str, Any]:
    """One client, in turns with the Python API in this process, on the same images."""
    inspector = Inspector(place.workspace, CATEGORY)
    inspector.warm_up()
    with closing(Client(url)) as client:
        blocks = in_blocks(
            {
                API: lambda number: inspector.inspect(contents[number % len(contents)]),
                ONE: lambda number: client.inspect(contents[number % len(contents)]),
            },
            calls=20,
            quiet=30,
            fewest=5,
            seconds=seconds,
            own=lambda: _processor_seconds(place, process) + time.process_time(),
        )
    return {
        **{
            name: {**blocks.figures(name), **_percentiles(_calls(blocks, name))}
            for name in (API, ONE)
        },
        "times as long": blocks.ratio(ONE, API),
        "ms above": spread(
            service - api
            for service, api in zip(blocks.medians(ONE), blocks.medians(API), strict=True)
        ),
    }


def _calls(blocks: Blocks, name: str) -> list[float]:
    return [ms for index in blocks.chosen for ms in blocks.calls[name][index]]


def _many(place: Place, contents: Sequence[bytes], seconds: float) -> dict[str, Any]:
    """Return how many a second `inspect_many` judges and records."""
    inspector = Inspector(place.workspace, CATEGORY)
    names = [f"{number}.png" for number in range(_MANY)]
    count, start = 0, time.perf_counter()
    while (took := time.perf_counter() - start) < seconds:
        count += sum(1 for _ in inspector.inspect_many(contents[:_MANY], names=names))
    return {"inspections": count, "a second": round(count / took, 1)}


def _processor_seconds(place: Place, process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + place.database_seconds())


def _load(
    place: Place,
    url: str,
    process: psutil.Process,
    contents: Sequence[bytes],
    clients: int,
    seconds: float,
) -> dict[str, Any]:
    """Several clients, each of which posts its next image when it has its answer."""
    recorded = _recorded(place)
    before, own = _processor_seconds(place, process), time.process_time()
    start = time.perf_counter()
    results: list[tuple[int, float]] = []
    rates, megabytes = [], []
    for part in range(1, _PARTS + 1):
        end = start + seconds * part / _PARTS
        begin = time.perf_counter()
        found = _post_until(end, url, contents, clients)
        rates.append(sum(status == _OK for status, _ in found) / (time.perf_counter() - begin))
        megabytes.append(process.memory_info().rss / 1e6)
        results += found
    took = time.perf_counter() - start
    served_ms = [1e3 * passed for status, passed in results if status == _OK]
    used, own = _processor_seconds(place, process) - before, time.process_time() - own
    answers = Counter(status for status, _ in results)
    if set(answers) - {_OK, _BUSY}:
        raise AssertionError(f"answers of the service: {dict(answers)}")
    return {
        "clients": clients,
        "seconds": round(took, 1),
        "inspections": len(served_ms),
        "a second": round(len(served_ms) / took, 1),
        "a second, by tenths": spread(rates, 1),
        **_percentiles(served_ms),
        "answered and not in the database": len(served_ms) - (_recorded(place) - recorded),
        "refused as busy": answers[_BUSY],
        "processor ms an inspection": round(1e3 * used / len(served_ms), 2),
        "of the clients": round(1e3 * own / len(served_ms), 2),
        "megabytes after each tenth": [round(value) for value in megabytes],
        # The first tenth fills what is kept of the last inspections.
        "growth after the first tenth, percent": round(100 * (megabytes[-1] / megabytes[0] - 1), 2),
    }


def _recorded(place: Place) -> int:
    with place.workspace.database.connection() as connection:
        row = connection.execute("select count(*) from inspection").fetchone()
    assert row is not None
    return int(row[0])


def _post_until(
    end: float, url: str, contents: Sequence[bytes], clients: int
) -> list[tuple[int, float]]:
    """Return status and seconds of each answer."""
    numbers = itertools.count()
    results: list[tuple[int, float]] = []

    def post() -> None:
        with closing(Client(url)) as client:
            while (begin := time.perf_counter()) < end:
                status = client.inspect(contents[next(numbers) % len(contents)])
                results.append((status, time.perf_counter() - begin))

    threads = [threading.Thread(target=post) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {
        f"p{percent}": round(float(np.percentile(values, percent)), 1) for percent in (50, 95, 99)
    }


def main(seconds: float = SECONDS) -> dict[str, Any]:
    """Measure in a fresh process, and print."""
    document: dict[str, Any] = measured_apart("service", seconds=seconds)
    print(json.dumps(document, indent=2))
    return document
