"""Two processes that change a bank beside four that judge by it.

The writers add and withdraw images at random for a minute. Afterwards every change that a writer
reported must be in the bank, once, and every recorded inspection must give the same score again by
the version that it names. Then: how long after a confirmation another process judges by it.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.place import CATEGORY, temporary_place
from benchmarks.timing import load, spread
from patchbank.datasets.demo import demo_split
from patchbank.errors import NoImagesError, ParameterError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.keeping.manage import url_for_clients
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.living.add import add
from patchbank.inspection.living.undo import undo
from patchbank.inspection.living.withdraw import withdraw
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace

SECONDS, WRITERS, READERS = 60.0, 2, 4
REFERENCES, POOL, JUDGED, CONFIRMED = 60, 24, 8, 10
# For which a process may take longer than it should, on a busy machine.
_MOST_SECONDS = 240
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Site:
    """A category of a database, for other processes."""

    home: Path
    database_url: str | None
    category: str

    def open(self) -> Workspace:
        """Open it in this process."""
        return Workspace(home=self.home, database_url=self.database_url)


@dataclass
class Report:
    """What a process did: changes by version, or inspections."""

    changes: dict[int, tuple[str, str]] = field(default_factory=dict)
    inspections: list[tuple[str, int, float, float, str]] = field(default_factory=list)
    refused: int = 0


def run(
    site: Site,
    pool: Sequence[Path],
    judged: Sequence[Path],
    *,
    seconds: float,
    least: int = 1,
    writers: int = WRITERS,
    readers: int = READERS,
) -> tuple[list[Report], list[Report]]:
    """Have processes change and judge by a bank; return what the writers and the readers did.

    Each writer goes on for so many seconds, and until it made `least` changes; the readers go on
    until all writers have ended.
    """
    queue: Queue[tuple[str, Report]] = _SPAWN.Queue()
    ready, ended = _SPAWN.Barrier(writers + readers), _SPAWN.Event()
    processes = [
        _SPAWN.Process(target=_write, args=(site, list(pool), seconds, least, seed, ready, queue))
        for seed in range(writers)
    ]
    processes += [
        _SPAWN.Process(target=_read, args=(site, list(judged), ended, ready, queue))
        for _ in range(readers)
    ]
    for process in processes:
        process.start()
    # A process that fails reports nothing, and the wait ends.
    found = [queue.get(timeout=seconds + _MOST_SECONDS) for _ in range(writers)]
    ended.set()
    found += [queue.get(timeout=_MOST_SECONDS) for _ in range(readers)]
    for process in processes:
        process.join()
    return (
        [report for kind, report in found if kind == "writer"],
        [report for kind, report in found if kind == "reader"],
    )


def _write(
    site: Site,
    pool: list[Path],
    seconds: float,
    least: int,
    seed: int,
    ready: Any,
    queue: Queue[Any],
) -> None:
    random, report = np.random.default_rng(seed), Report()
    with site.open() as workspace:
        workspace.database.banks.active_version(site.category)
        ready.wait()
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(report.changes) < least:
            path = pool[random.integers(len(pool))]
            content = workspace.database.banks.active(site.category, patches=False).content
            try:
                # The other writer may be faster: then there is nothing to add or to withdraw.
                if any(image.name == path.as_posix() for image in content.images):
                    gone = withdraw(workspace, site.category, [path.as_posix()])
                    report.changes[gone.bank_version] = ("withdraw", path.as_posix())
                else:
                    came = add(workspace, site.category, [path], force=True)
                    assert came.bank_version is not None
                    report.changes[came.bank_version] = ("add", path.as_posix())
            except (NoImagesError, ParameterError):
                report.refused += 1
    queue.put(("writer", report))


def _read(site: Site, judged: list[Path], ended: Any, ready: Any, queue: Queue[Any]) -> None:
    report = Report()
    with site.open() as workspace:
        inspector = Inspector(workspace, site.category)
        inspector.inspect(judged[0])
        ready.wait()
        while not ended.is_set():
            for path in judged:
                found = inspector.inspect(path)
                report.inspections.append(
                    (str(path), found.bank_version, found.score, found.p_value, found.verdict)
                )
    queue.put(("reader", report))


def check(site: Site, writers: Sequence[Report], readers: Sequence[Report]) -> dict[str, int]:
    """Raise AssertionError unless no change is lost and every inspection can be repeated."""
    changes: dict[int, tuple[str, str]] = {}
    for report in writers:
        assert not changes.keys() & report.changes.keys(), "two changes have one version"
        changes |= report.changes
    with site.open() as workspace:
        banks = workspace.database.banks
        versions = {entry.version: entry for entry in banks.history(site.category)}
        first = min(versions) if not changes else min(changes) - 1
        assert sorted(changes) == list(range(first + 1, max(versions) + 1)), "a change is lost"
        names = {
            image.name
            for image in banks.version(site.category, first, patches=False).content.images
        }
        for version in sorted(changes):
            kind, name = changes[version]
            assert (name in names) == (kind == "withdraw")
            names ^= {name}
            entry = versions[version]
            assert entry.cause == kind
            assert [*entry.came, *entry.went] == [name]
            assert entry.image_count == len(names)
        active = banks.active(site.category).content
        assert {image.name for image in active.images} == names
        seen = {found for report in readers for found in report.inspections}
        judges: dict[int, Inspector] = {}
        for path, version, score, p_value, verdict in sorted(seen):
            judge = judges.get(version) or Inspector(
                workspace, site.category, record=False, bank_version=version
            )
            judges = {version: judge}
            again = judge.inspect(path)
            assert (again.score, again.p_value, again.verdict) == (score, p_value, verdict), (
                f"{path} by version {version}"
            )
    return {
        "changes": len(changes),
        "refused, since the other writer was faster": sum(report.refused for report in writers),
        "inspections": sum(len(report.inspections) for report in readers),
        "versions that judged": len({version for _, version, *_ in seen}),
        "different inspections, repeated to the bit": len(seen),
    }


def confirmations(
    site: Site, paths: Sequence[Path], timeout: float = 60.0
) -> tuple[list[float], list[float]]:
    """Return seconds from a confirmation, and from its end, to another verdict elsewhere.

    Each of the images fails; one process judges it over and over, this one confirms it as good, and
    undoes that again.
    """
    from_call, from_end = [], []
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_follow, args=(site, theirs), daemon=True)
    process.start()
    with site.open() as workspace:
        for path in paths:
            ours.send(str(path))
            _, before = _next(ours, timeout)
            assert before[0] == "fail", before
            begun = time.time()
            add(workspace, site.category, [path], force=True)
            done = time.time()
            seen, now = _next(ours, timeout)
            assert now[0] == "pass", now
            from_call.append(seen - begun)
            from_end.append(max(0.0, seen - done))
            undo(workspace, site.category)
            _, again = _next(ours, timeout)
            assert again == before, "the undo brought another verdict"
            ours.send("next")
    ours.send("end")
    process.join()
    return from_call, from_end


def _next(connection: Connection, timeout: float) -> tuple[float, tuple[str, float, float]]:
    if not connection.poll(timeout):
        raise AssertionError("no other verdict in time")
    found: tuple[float, tuple[str, float, float]] = connection.recv()
    return found


def _follow(site: Site, connection: Connection) -> None:
    """Judge the image that is named over and over; tell each verdict that is new, and when."""
    with site.open() as workspace:
        inspector = Inspector(workspace, site.category, record=False)
        while (path := connection.recv()) != "end":
            last = None
            while not connection.poll():
                found = inspector.inspect(path)
                result = (found.verdict, found.score, found.p_value)
                if result != last:
                    connection.send((time.time(), result))
                    last = result
            connection.recv()


def main() -> dict[str, Any]:
    """Measure on solar cells, with an embedded database and with one by its URL."""
    split = demo_split("mono")
    good = [sample.path for sample in split.test if sample.label == "good"]
    bad = [sample.path for sample in split.test if sample.label == "anomalous"]
    references = [sample.path for sample in split.train]
    document: dict[str, Any] = {}
    with temporary_place() as place:
        site = Site(place.home, None, CATEGORY)
        fit(place.workspace, CATEGORY, references[:REFERENCES], FitSettings())
        print(f"{REFERENCES} references; {load()}")
        writers, readers = run(
            site, good[:POOL], [*good[-JUDGED // 2 :], *bad[: JUDGED // 2]], seconds=SECONDS
        )
        document["a minute"] = check(site, writers, readers)
        document["a minute"]["writers, readers"] = [WRITERS, READERS]
        print(document["a minute"])
        by_url = Site(place.home, url_for_clients(place.workspace), CATEGORY)
        inspector = Inspector(place.workspace, CATEGORY, record=False)
        failing = [path for path in bad if inspector.inspect(path).verdict == "fail"]
        for name, where in (("embedded", site), ("by its URL", by_url)):
            from_call, from_end = confirmations(where, failing[:CONFIRMED])
            document[name] = {
                "seconds from the confirmation to another verdict": spread(from_call, 3),
                "seconds from the end of the confirmation": spread(from_end, 3),
            }
            print(name, document[name])
    return document
