"""Work of minutes, done one after another in processes of their own."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from patchbank.actors import current_actor
from patchbank.errors import BusyError, PatchbankError
from patchbank.inspection.workspace import Workspace
from patchbank.store.jobs import MAKE_BANKS, JobKind, State

_log = logging.getLogger(__name__)

_MOST_WAITING = 20
_TICK_SECONDS = 0.5
_STOP_SECONDS = 5.0
_LONGEST_REASON = 300
# What a service that was killed has left.
_LEFTOVER_SECONDS = 24 * 3600.0
_FINISH_TRIES = 30


class JobRequest(NamedTuple):
    """What a job is made of.

    Attributes
    ----------
    settings
        For `make_fit_settings`; of a calibration its rates, of an import its options.
    folder
        Of this machine, with the images, or the file of an import; None if images were sent.
    dataset
        How the folder of an evaluation is laid out.
    part_from
        How the parts of a study are told; see `read_study`.
    uploaded
        The folder of the images that were sent; it is removed when the job ends.
    paths, names
        The images that were sent, and how they are called.
    """

    kind: JobKind
    category: str
    settings: dict[str, Any]
    group_by: str | None = None
    screen: bool = False
    folder: Path | None = None
    dataset: str | None = None
    part_from: str | None = None
    uploaded: Path | None = None
    paths: Sequence[Path] = ()
    names: Sequence[str] = ()


class _Waiting(NamedTuple):
    job_id: int
    actor: str
    request: JobRequest


class _End(NamedTuple):
    """How a job ended."""

    state: State
    error: str | None = None
    result: dict[str, Any] | None = None


class JobRunner:
    """Runs jobs in the order in which they were asked for.

    Parameters
    ----------
    on_bank
        Called with the category of a new bank.
    """

    def __init__(self, workspace: Workspace, on_bank: Callable[[str], None]) -> None:
        self._workspace, self._on_bank = workspace, on_bank
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run_on, name="patchbank-jobs", daemon=True)

    @property
    def _uploads(self) -> Path:
        return self._workspace.home / "uploads"

    def begin(self) -> None:
        """Run jobs from now on."""
        self._thread.start()

    def new_folder(self) -> Path:
        """Return a new folder for images that a client sends."""
        self._uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self._uploads))

    @property
    def count(self) -> int:
        """How many run or wait."""
        return len(self._waiting)

    def check_room(self) -> None:
        """Raise `BusyError` if too many jobs wait."""
        if len(self._waiting) >= _MOST_WAITING:
            raise BusyError(f"{len(self._waiting)} jobs wait already; try again when one has ended")

    def add(self, request: JobRequest) -> int:
        """Return the number of a new job.

        Raises
        ------
        BusyError
            If too many jobs wait.
        """
        self.check_room()
        job_id = self._workspace.database.jobs.create(request.kind, request.category)
        with self._changed:
            self._waiting.append(_Waiting(job_id, current_actor(), request))
            self._changed.notify()
        return job_id

    def close(self) -> None:
        """End the job that runs, and those that wait."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run_on(self) -> None:
        self._remove_leftovers()
        while not self._closing:
            with self._changed:
                if not self._waiting:
                    self._changed.wait()
                    continue
                job = self._waiting[0]
            end = self._run(job)
            if job.request.uploaded is not None:
                shutil.rmtree(job.request.uploaded, ignore_errors=True)
            self._finish(job, end)
            with self._changed:
                self._waiting.popleft()
            if end.state == "done" and job.request.kind in MAKE_BANKS:
                self._on_bank(job.request.category)
        for job in self._waiting:
            self._finish(job, _End("interrupted"))

    def _run(self, job: _Waiting) -> _End:
        """Run a job, and return how it ended."""
        if self._cancelled(job):
            return _End("cancelled")
        # Where the database is away, the fit itself finds it out.
        with contextlib.suppress(PatchbankError):
            self._workspace.database.jobs.begin(job.job_id)
        try:
            with tempfile.TemporaryFile() as complaints, self._process(job, complaints) as process:
                end = self._followed(job, process)
                if end is not None:
                    return end
                code = process.wait()
                complaints.seek(0)
                said = complaints.read().decode(errors="replace").strip().rpartition("\n")[2]
        except OSError as error:
            return _End("failed", f"its process could not be started: {error.strerror or error}")
        return _End("failed", f"its process ended with {code}: {said[:_LONGEST_REASON]}")

    @contextlib.contextmanager
    def _process(self, job: _Waiting, complaints: IO[bytes]) -> Any:
        """Lend the process of a job; it ends with the block."""
        request = job.request
        asked = {
            **request._asdict(),
            "folder": None if request.folder is None else str(request.folder),
            "uploaded": None if request.uploaded is None else str(request.uploaded),
            "paths": [str(path) for path in request.paths],
            "actor": job.actor,
            "home": str(self._workspace.home),
            "database_url": self._workspace.database_url,
        }
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "patchbank.server.job_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            # Ctrl-C must only reach us; we end the process.
            start_new_session=True,
        )
        with process:
            try:
                assert process.stdin is not None
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                process.stdin.flush()
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()

    def _followed(self, job: _Waiting, process: subprocess.Popen[bytes]) -> _End | None:
        """Return how a job ended; None if its process ended without a word."""
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(process, lines), daemon=True).start()
        progress: list[Any] | None = None
        looked = time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                line = lines.get(timeout=_TICK_SECONDS)
                if not line.endswith(b"\n"):
                    # Its end, or in the middle of a word.
                    return None
                said = json.loads(line)
                if "progress" not in said:
                    # What came since the last look: else a job that is done would seem half done.
                    self._report(job, progress)
                    if "error" in said:
                        return _End("failed", said["error"])
                    return _End("done", result=said["result"])
                progress = said["progress"]
            if time.monotonic() - looked < _TICK_SECONDS:
                continue
            looked = time.monotonic()
            if self._closing:
                return _End("interrupted")
            if self._cancelled(job):
                return _End("cancelled")
            self._report(job, progress)
            progress = None

    def _report(self, job: _Waiting, progress: list[Any] | None) -> None:
        """Record how far a job is; where the database is away, the next time."""
        if progress is not None:
            with contextlib.suppress(PatchbankError):
                self._workspace.database.jobs.report(job.job_id, *progress)

    def _cancelled(self, job: _Waiting) -> bool:
        """Say of all jobs here that they are alive; return whether this one is to be cancelled."""
        with self._changed:
            alive = [each.job_id for each in self._waiting]
        try:
            return job.job_id in self._workspace.database.jobs.keep_alive(alive)
        except PatchbankError:
            return False

    def _finish(self, job: _Waiting, end: _End) -> None:
        """Record how a job ended; where the database is away, when it is back."""
        _log.info("job %d, %s: %s", job.job_id, job.request.category, end.error or end.state)
        for tried in range(_FINISH_TRIES):
            try:
                self._workspace.database.jobs.finish(job.job_id, *end)
            except PatchbankError as failure:
                if self._closing or tried == _FINISH_TRIES - 1:
                    _log.error("how job %d ended could not be recorded: %s", job.job_id, failure)
                    return
                time.sleep(1)
            else:
                return

    def _remove_leftovers(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for folder in self._uploads.iterdir():
                if time.time() - folder.stat().st_mtime > _LEFTOVER_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)


def _read(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(b"")
