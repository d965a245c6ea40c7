"""The line while its programs are killed: ``python -m benchmarks.line_kills --rounds 30``.

Clients inspect, files come into a watched folder, and a webhook gets it all, while the service, the
watcher or PostgreSQL is killed at random (SIGKILL). Only what a service manager restarts is
restarted: what was killed itself, but not an embedded PostgreSQL; and a watcher that was still
starting when its database was killed.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psycopg

from benchmarks.line_programs import (
    CATEGORY,
    PATIENCE_SECONDS,
    SIDE,
    Line,
    Load,
    OwnServer,
    Receiver,
    picture,
)
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.line.sinks.configured import SinkOptions, add_sink
from patchbank.store.embedded.server import EmbeddedServer

# How soon a service manager restarts what died.
_RESTART_SECONDS = (0.1, 1.0)


@dataclass
class Figures:
    """What happened, and what must not have."""

    killed: Counter[str] = field(default_factory=Counter)
    back_seconds: dict[str, list[float]] = field(default_factory=dict)
    answered: int = 0
    not_answered: int = 0
    files: int = 0
    delivered: int = 0
    delivered_again: int = 0
    refused_by_receiver: int = 0
    lost: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the figures for people."""
        back = "; ".join(
            f"{name} {np.median(seconds):.1f} s (most {max(seconds):.1f} s)"
            for name, seconds in self.back_seconds.items()
        )
        killed = ", ".join(f"{name} {count}" for name, count in self.killed.items())
        return (
            f"killed: {killed}\n"
            f"ready again, median: {back}\n"
            f"answered inspections: {self.answered:,}, given up by their clients: "
            f"{self.not_answered}\n"
            f"watched files: {self.files:,}\n"
            f"webhooks delivered: {self.delivered:,}, of them again: {self.delivered_again}, "
            f"refused by the receiver on purpose: {self.refused_by_receiver}\n"
            f"violations: {len(self.lost)}" + "".join(f"\n  {each}" for each in self.lost[:20])
        )


def targets_of(rounds: int, seed: int) -> list[str]:
    """Return what is killed in each round: all about equally often, in any order."""
    chance = random.Random(seed)
    names = ("service", "database", "watcher")
    return [names[(number + chance.randrange(2)) % 3] for number in range(rounds)]


def play(
    folder: Path,
    *,
    targets: Sequence[str],
    external: bool,
    seed: int = 0,
    refused_share: float = 0.05,
) -> Figures:
    """Kill one target after the other; return what happened."""
    chance = random.Random(seed)
    figures = Figures()
    with ExitStack() as stack:
        own = OwnServer(folder / "own") if external else None
        if own is not None:
            stack.callback(own.stop)
        line = Line(folder, None if own is None else own.url)
        line.incoming.mkdir()
        if own is None:
            stack.callback(EmbeddedServer(line.home).stop)
        receiver = Receiver(refused_share)
        stack.callback(receiver.close)
        with Workspace(home=line.home, database_url=line.url) as workspace:
            images = [picture(3 * number + 1) for number in range(24)]
            names = [f"{number}.png" for number in range(24)]
            fit(workspace, CATEGORY, images, make_fit_settings(image_size=SIDE), names=names)
            add_sink(workspace, "receiver", receiver.url, SinkOptions())
        stack.callback(line.end)
        for name in ("service", "watcher"):
            line.start(name)
        _wait(line.is_ready, "the service was never ready")
        load = Load(line)
        load.begin()
        try:
            for target in targets:
                time.sleep(chance.uniform(0.3, 1.5))
                _kill(line, own, target, chance, figures)
        finally:
            load.end()
        _settle(line, figures)
        _check(line, load, receiver, figures)
    return figures


def _kill(
    line: Line, own: OwnServer | None, target: str, chance: random.Random, figures: Figures
) -> None:
    figures.killed[target] += 1
    begun = time.monotonic()
    if target != "database":
        line.kill(target)
        time.sleep(chance.uniform(*_RESTART_SECONDS))
        line.start(target)
    elif own is not None:
        line.excuse_a_start()
        own.kill()
        time.sleep(chance.uniform(*_RESTART_SECONDS))
        own.start()
    else:
        pid = EmbeddedServer(line.home).status().pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
    if target != "watcher":
        _wait(line.is_ready, f"the service was not ready again after the {target} was killed")
        figures.back_seconds.setdefault(target, []).append(time.monotonic() - begun)
    figures.lost += line.restart_ended()


def _wait(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.1)


def _settle(line: Line, figures: Figures) -> None:
    """Wait until all files are judged and all is sent, as long as it goes on."""
    least, deadline = None, 0.0
    while True:
        figures.lost += line.restart_ended()
        files = sum(path.suffix == ".png" for path in line.incoming.iterdir())
        try:
            with _connected(line) as connection:
                row = connection.execute(
                    "select count(*), min(last_error), "
                    "(select min(last_error) from patchbank.sink) from patchbank.outbox"
                ).fetchone()
        except psycopg.OperationalError as error:
            row = (1, str(error), None)
        assert row is not None
        left = files + row[0]
        if left == 0:
            return
        if least is None or left < least:
            least, deadline = left, time.monotonic() + PATIENCE_SECONDS
        if time.monotonic() > deadline:
            raise RuntimeError(f"{files} files are not judged, webhooks not sent: {row}")
        time.sleep(0.2)


@contextmanager
def _connected(line: Line) -> Iterator[psycopg.Connection]:
    if line.url is not None:
        with psycopg.connect(line.url) as connection:
            yield connection
    else:
        server = EmbeddedServer(line.home)
        with server.connect(lambda conninfo: psycopg.connect(conninfo)) as embedded:
            yield embedded


def _check(line: Line, load: Load, receiver: Receiver, figures: Figures) -> None:
    with _connected(line) as connection:
        rows = connection.execute(
            "select inspection_id, image_name, score from patchbank.inspection"
        ).fetchall()
    recorded = {number: (name, score) for number, name, score in rows}
    lost = figures.lost
    lost += load.failures
    lost += [
        f"answered but not recorded: {name} ({number})"
        for number, name, score in load.answers
        if recorded.get(number) != (name, score)
    ]
    times = Counter(Path(name).name for name, _ in recorded.values())
    lost += [f"{name} judged {times[name]} times" for name in load.files if times[name] != 1]
    answered = {name for _, name, _ in load.answers}
    lost += [f"{name} recorded {times[name]} times" for name in answered if times[name] != 1]
    with (line.folder / "results.csv").open(encoding="utf-8", newline="") as file:
        lines = Counter(Path(row["image"]).name for row in csv.DictReader(file))
    lost += [f"{name} has {lines[name]} lines" for name in load.files if lines[name] != 1]
    moved = Counter(
        path.name for verdict in ("pass", "fail", "review")
        for path in (line.folder / verdict).glob("*.png")
    )  # fmt: skip
    lost += [f"{name} is there {moved[name]} times" for name in load.files if moved[name] != 1]
    lost += [f"inspection {number} was not sent" for number in recorded.keys() - receiver.taken]
    figures.answered, figures.not_answered = len(load.answers), len(load.not_answered)
    figures.files = len(load.files)
    figures.delivered = sum(receiver.taken.values())
    figures.delivered_again = figures.delivered - len(receiver.taken)
    figures.refused_by_receiver = receiver.refused


def main() -> int:
    """Print the figures of both kinds of servers; return 1 if something was lost or repeated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="of each kind of server")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("embedded", "external"))
    arguments = parser.parse_args()
    code = 0
    for kind in ("embedded", "external"):
        if arguments.only not in (None, kind):
            continue
        folder = Path(tempfile.mkdtemp(prefix="patchbank-line-"))
        begun = time.monotonic()
        # What failed stays, with the logs.
        print(f"{kind}: in {folder}", flush=True)
        targets = targets_of(arguments.rounds, arguments.seed)
        figures = play(folder, targets=targets, external=kind == "external", seed=arguments.seed)
        if not figures.lost:
            shutil.rmtree(folder)
        print(f"{kind}: {arguments.rounds} rounds in {time.monotonic() - begun:.0f} s")
        print(figures.text(), flush=True)
        code = max(code, int(bool(figures.lost)))
    return code


if __name__ == "__main__":
    sys.exit(main())
