"""The line while its programs are killed: ``python -m benchmarks.line_kills --rounds 30``.

Clients inspect, files come into a watched folder, and a webhook gets it all, while the service, the
watcher or PostgreSQL is killed at random (SIGKILL). Only what a service manager restarts is
restarted: what was killed itself, but not an embedded PostgreSQL; and a watcher that was still
starting when its database was killed.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from PIL import Image

from patchbank.client import Client, ServiceAwayError, ServiceError
from patchbank.errors import PatchbankError
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.line.sinks.configured import SinkOptions, add_sink
from patchbank.store.embedded.accounts import account_for, let_reach, name_of_current
from patchbank.store.embedded.processes import server_environment
from patchbank.store.embedded.programs import find_programs, initialise
from patchbank.store.embedded.server import EmbeddedServer

_CATEGORY = "noise"
_SIDE = 96
_CLIENTS = 2
# Between two images of a client, and between two files.
_CLIENT_PAUSE, _FILE_PAUSE = 0.1, 0.2
_PATIENCE_SECONDS = 120.0
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


class Line:
    """The programs of a line, started and killed."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.folder, self.url = folder, url
        self.home = folder / "home"
        self.incoming = folder / "in"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.service_url = f"http://127.0.0.1:{self.port}"
        self.programs: dict[str, subprocess.Popen[bytes]] = {}
        self._log_begins: dict[str, int] = {}
        # Those that were still starting when their database was killed.
        self._excused: set[int] = set()

    def start(self, name: str) -> None:
        """Start the service or the watcher."""
        arguments = ["serve", "--port", str(self.port)]
        if name == "watcher":
            arguments = ["watch", _CATEGORY, str(self.incoming), "--settle", "0.1"]
            arguments += ["--results", str(self.folder / "results.csv")]
            for verdict in ("pass", "fail", "review"):
                arguments += [f"--{verdict}", str(self.folder / verdict)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PATCHBANK_")}
        environment["PATCHBANK_HOME"] = str(self.home)
        if self.url is not None:
            environment["PATCHBANK_DATABASE_URL"] = self.url
        with self._log(name).open("ab") as log:
            self._log_begins[name] = log.tell()
            self.programs[name] = subprocess.Popen(
                [sys.executable, "-m", "patchbank", *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
            )  # fmt: skip

    def kill(self, name: str) -> None:
        """Kill the service or the watcher."""
        self.programs[name].kill()
        self.programs[name].wait()

    def end(self) -> None:
        """Stop all, as a service manager does."""
        for process in self.programs.values():
            process.send_signal(signal.SIGTERM)
        for process in self.programs.values():
            process.wait(timeout=60)

    def excuse_a_start(self) -> None:
        """Let the watcher end if it is still starting: it says that its database is away."""
        log = self._log("watcher").read_bytes()[self._log_begins["watcher"] :]
        if b"watching " not in log:
            self._excused.add(self.programs["watcher"].pid)

    def restart_ended(self, figures: Figures) -> None:
        """Start again what ended by itself, which is a violation unless it was excused."""
        for name, process in self.programs.items():
            if process.poll() is None:
                continue
            if process.pid not in self._excused:
                figures.lost.append(f"the {name} ended by itself with {process.returncode}")
            self.start(name)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def is_ready(self) -> bool:
        """Return whether the service says that it can judge."""
        try:
            with Client(self.service_url, retry_seconds=0, timeout=5) as client:
                return bool(client.request("GET", "/health/ready")["status"] == "ready")
        except ServiceError as error:
            if error.status not in (None, 503):
                raise
            return False


class OwnServer:
    """A separate PostgreSQL server, with a port, that is killed and started again."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "data"
        self._folder.mkdir(mode=0o700, parents=True)
        self._account = account_for(home)
        if self._account.owner is not None:
            os.chown(self._folder, *self._account.owner)
        self._programs = find_programs(None, home)
        let_reach(self._account, [self._programs / "postgres"])
        made = initialise(self._programs, self._folder, role="owner", account=self._account)
        assert made.returncode == 0, made.stderr
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._log = home / "log"
        self.url = f"postgresql://owner@127.0.0.1:{self._port}/postgres"
        self.start()

    def start(self) -> None:
        """Start it; its last processes may still be ending."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            self._process = self._started()
            while self._process.poll() is None:
                try:
                    psycopg.connect(self.url, connect_timeout=2).close()
                except psycopg.OperationalError:
                    time.sleep(0.05)
                else:
                    return
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill its first process."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop it in order."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=60)

    def _started(self) -> subprocess.Popen[bytes]:
        account = self._account
        command = [
            str(self._programs / "postgres"), "-D", name_of_current(self._folder, account),
            "-p", str(self._port), "-k", "", "-h", "127.0.0.1",
        ]  # fmt: skip
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=account.uid if account.switch else None,
                group=account.gid if account.switch else None,
                extra_groups=[] if account.switch else None,
                cwd=self._folder,
                start_new_session=True,
                env=server_environment(),
            )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of senders that were killed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Receiver:
    """Takes webhooks, and refuses a share of them."""

    def __init__(self, refused_share: float) -> None:
        self._share = refused_share
        self.taken: Counter[int] = Counter()
        self.refused = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805 (the handler has a self)
        chance = random.Random(0)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with receiver._lock:
                    refused = chance.random() < receiver._share
                    if refused:
                        receiver.refused += 1
                    else:
                        receiver.taken[document["data"]["inspection_id"]] += 1
                self.send_response(500 if refused else 204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


def picture(seed: int) -> bytes:
    """Return a PNG of noise; of every third with a bright square."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(100, 140, (_SIDE, _SIDE, 3), dtype=np.uint8)
    if seed % 3 == 0:
        pixels[20:50, 30:60] = 250
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


class Load:
    """Clients and a camera that work until they are stopped."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._stopping = threading.Event()
        self.answers: list[tuple[int, str, float]] = []
        self.not_answered: list[str] = []
        self.files: list[str] = []
        self.failures: list[str] = []
        self._threads = [
            *(threading.Thread(target=self._inspect, args=(each,)) for each in range(_CLIENTS)),
            threading.Thread(target=self._photograph),
        ]

    def begin(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop, after what was begun."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _inspect(self, number: int) -> None:
        with Client(self._line.service_url, retry_seconds=_PATIENCE_SECONDS) as client:
            count = 0
            while not self._stopping.wait(_CLIENT_PAUSE):
                name, count = f"client-{number}-{count}", count + 1
                try:
                    answer = client.inspect(_CATEGORY, picture(count), name=name, station="client")
                except ServiceAwayError:
                    self.not_answered.append(name)
                except PatchbankError as error:
                    self.failures.append(f"{name}: {error!r}")
                else:
                    if answer.inspection_id is None:
                        self.failures.append(f"{name} was answered without a record")
                    else:
                        self.answers.append((answer.inspection_id, name, answer.score))

    def _photograph(self) -> None:
        while not self._stopping.wait(_FILE_PAUSE):
            name = f"{len(self.files):06}.png"
            draft = self._line.incoming / f".{name}"
            draft.write_bytes(picture(len(self.files)))
            draft.rename(self._line.incoming / name)
            self.files.append(name)


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
            fit(workspace, _CATEGORY, images, make_fit_settings(image_size=_SIDE), names=names)
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
    line.restart_ended(figures)


def _wait(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.1)


def _settle(line: Line, figures: Figures) -> None:
    """Wait until all files are judged and all is sent, as long as it goes on."""
    least, deadline = None, 0.0
    while True:
        line.restart_ended(figures)
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
            least, deadline = left, time.monotonic() + _PATIENCE_SECONDS
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
