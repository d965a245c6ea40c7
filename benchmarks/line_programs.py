"""The programs of a line that `benchmarks.line_kills` kills, and what works with them."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from PIL import Image

from patchbank.client import Client, ServiceAwayError, ServiceError
from patchbank.errors import PatchbankError
from patchbank.store.embedded.accounts import account_for, let_reach, name_of_current
from patchbank.store.embedded.processes import server_environment
from patchbank.store.embedded.programs import find_programs, initialise

CATEGORY = "noise"
SIDE = 96
_CLIENTS = 2
# Between two images of a client, and between two files.
_CLIENT_PAUSE, _FILE_PAUSE = 0.1, 0.2
PATIENCE_SECONDS = 120.0


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
            arguments = ["watch", CATEGORY, str(self.incoming), "--settle", "0.1"]
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

    def restart_ended(self) -> list[str]:
        """Start again what ended by itself; return what ended without an excuse."""
        unexcused = []
        for name, process in self.programs.items():
            if process.poll() is None:
                continue
            if process.pid not in self._excused:
                unexcused.append(f"the {name} ended by itself with {process.returncode}")
            self.start(name)
        return unexcused

    def is_ready(self) -> bool:
        """Return whether the service says that it can judge."""
        try:
            with Client(self.service_url, retry_seconds=0, timeout=5) as client:
                return bool(client.request("GET", "/health/ready")["status"] == "ready")
        except ServiceError as error:
            if error.status not in (None, 503):
                raise
            return False

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


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
        deadline = time.monotonic() + PATIENCE_SECONDS
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
    pixels = generator.integers(100, 140, (SIDE, SIDE, 3), dtype=np.uint8)
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
        with Client(self._line.service_url, retry_seconds=PATIENCE_SECONDS) as client:
            count = 0
            while not self._stopping.wait(_CLIENT_PAUSE):
                name, count = f"client-{number}-{count}", count + 1
                try:
                    answer = client.inspect(CATEGORY, picture(count), name=name, station="client")
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
