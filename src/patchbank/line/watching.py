"""Judge the images that come into a folder, each exactly once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from patchbank.errors import JudgedElsewhereError, OutputError, ParameterError
from patchbank.files import UnfitFileError, open_regular
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.recording import LOSSES
from patchbank.inspection.parts import checked_label, part_expression, part_in
from patchbank.inspection.sources import source_name
from patchbank.inspection.verdicts import Inspection, Refused
from patchbank.inspection.workspace import Workspace
from patchbank.line.folders import (
    Arrivals,
    FoundFile,
    OtherFolderError,
    WatchedFolder,
    state_of,
    watching_lock,
)
from patchbank.line.moving import Mover
from patchbank.line.results_file import REFUSED, ResultsFile
from patchbank.line.settling import Settler
from patchbank.store.inspections import VERDICTS
from patchbank.store.watched_files import WatchedFile, WatchedFiles

DEFAULT_SETTLE = 1.0
# What cannot be decoded may still be written to, by somebody who pauses. By this machine's clock:
# that of a camera or a drive may be wrong.
_PATIENCE = 10.0
# Judged together; of large files fewer.
_MOST_FILES = 64
_MOST_BYTES = 128_000_000
# What fails is tried again after the first wait, then less and less often.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_SETTLE_AGAIN = 5.0
# Looking may take this share of the time, on a slow network drive.
_SHARE_OF_LOOKING = 0.2


@dataclass(frozen=True)
class WatchOptions:
    """How a folder is watched.

    Attributes
    ----------
    targets
        Folders to move files to, by verdict or ``refused``; the files of others stay.
    results
        CSV file that gets a line for each file.
    station, part_from
        As of `inspect_paths`.
    settle
        Seconds for which a file must not change until it is judged.
    once
        Stop when all that is there is judged.
    """

    targets: Mapping[str, Path] = field(default_factory=dict)
    results: Path | None = None
    station: str | None = None
    part_from: str | None = None
    settle: float = DEFAULT_SETTLE
    once: bool = False


class _Read(NamedTuple):
    """A file that was read, in the state in which it was found."""

    found: FoundFile
    content: bytes
    part: str | None


class Watcher:
    """Judges the images that come into a folder until it is stopped.

    Which files were judged is recorded in the transaction of their inspections: when a process is
    killed, the next one goes on where it was. What is left to do with judged files, to move them
    and to write their lines, is done before others are judged.

    Parameters
    ----------
    on_result
        Called with each inspection once it is recorded, and with each file that cannot be judged.
    on_remark
        Called with what a person should know, such as that the database is away.

    Raises
    ------
    ParameterError
        If the folder or an option cannot be used.
    OutputError
        If the results cannot be written.
    PatchbankError
        As of `Inspector`.
    """

    def __init__(
        self,
        workspace: Workspace,
        category: str,
        folder: Path,
        options: WatchOptions,
        *,
        on_result: Callable[[Inspection | Refused], None],
        on_remark: Callable[[str], None],
    ) -> None:
        unknown = set(options.targets) - {*VERDICTS, REFUSED}
        if unknown:
            raise ParameterError(f"targets: there is no verdict {min(unknown)!r}")
        if not options.settle >= 0:
            raise ParameterError(f"settle {options.settle}: must be at least 0 seconds")
        pattern = options.part_from
        self._expression = None if pattern is None else part_expression(pattern)
        if options.station is not None:
            checked_label(options.station, "station")
        self._inspector = Inspector(workspace, category, deliver=True)
        self._workspace, self._category, self._options = workspace, category, options
        self._folder = WatchedFolder(folder)
        results = None
        if options.results is not None:
            results = ResultsFile(options.results, category, folder)
        self._settler = Settler(
            category, self._folder, Mover(folder, options.targets), results, self._say
        )
        self._arrivals = Arrivals(options.settle)
        self._on_result, self._on_remark = on_result, on_remark
        # How long it took last.
        self._looking = 0.0
        # Since when.
        self._unusable: dict[WatchedFile, float] = {}
        # Of which that was said.
        self._unreadable: set[WatchedFile] = set()
        self._known: set[WatchedFile] | None = None
        self._settled, self._stuck, self._settle_at = False, False, 0.0
        self._said: set[str] = set()
        self._stop = threading.Event()

    def stop(self) -> None:
        """Let `run` end after the images that are being judged; may be called from anywhere."""
        self._stop.set()

    def run(self) -> None:
        """Judge what is there and what comes, until stopped, or until all is done with ``once``.

        While the database or the folder is away, or another process watches the folder, it waits;
        with ``once``, it raises their errors.
        """
        while not self._stop.is_set():
            lock = watching_lock(self._workspace.home, self._category, self._folder.id)
            # A file that another has judged and moved would be judged again from memory.
            while lock is not None and not lock.try_acquire():
                other = f"another process watches {self._folder.path} for {self._category!r}"
                if self._options.once:
                    raise ParameterError(f"{other}; stop that one, or leave the folder to it")
                self._say(f"{other}; this one goes on when that one ends")
                if self._stop.wait(_FIRST_WAIT):
                    return
            try:
                self._run()
                return
            except OtherFolderError as error:
                # A drive was mounted there, or is away and left a folder that was watched once.
                self._say(f"{error}; from now on, that one is watched")
                self._begin_anew()
            finally:
                if lock is not None:
                    lock.release()

    def _run(self) -> None:
        wait = _FIRST_WAIT
        while not self._stop.is_set():
            begun = time.monotonic()
            failure = None
            try:
                left = self._round(begun)
            except JudgedElsewhereError as error:
                self._say(str(error))
                self._begin_anew()
                continue
            except LOSSES as error:
                if self._options.once:
                    raise
                failure = str(error)
                self._begin_anew()
            except OSError as error:
                if self._options.once:
                    raise
                reason = (error.strerror or str(error)).lower()
                failure = f"{error.filename or self._folder.path}: {reason}"
            else:
                if self._options.once and not left:
                    return
            if failure is not None:
                self._say(f"{failure}; tried again until it works")
                self._stop.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
                continue
            if wait > _FIRST_WAIT:
                self._on_remark("it works again")
                self._said.clear()
            wait = _FIRST_WAIT
            self._stop.wait(self._pause())

    def _pause(self) -> float:
        """Return how long to wait until the folder is looked at again."""
        pause = min(0.5, max(0.05, self._options.settle / 2))
        return max(pause, min(self._looking / _SHARE_OF_LOOKING, _LONGEST_WAIT))

    def _round(self, now: float) -> bool:
        """Judge what is complete; return whether something is left to do."""
        known = self._known
        if known is None:
            known = self._known = self._files.known(self._category, self._folder.id)
        if not self._settled and now >= self._settle_at:
            self._settle(known)
        begun = time.monotonic()
        found = self._folder.look()
        self._looking = time.monotonic() - begun
        gone = [file for file in known if file not in found]
        # An empty folder without a mark may be the mount point of a drive that is away.
        if gone and self._settled and (found or self._folder.marked):
            self._files.forget(self._category, gone)
            known.difference_update(gone)
        new = {file: found[file] for file in found if file not in known}
        self._unusable = {file: at for file, at in self._unusable.items() if file in new}
        self._unreadable.intersection_update(new)
        for images in self._read(self._arrivals.complete(new, now), known, now):
            self._judge(images, known, now)
            self._settle(known)
            if self._stop.is_set():
                break
        return not (self._unreadable.issuperset(new) and self._settled)

    def _settle(self, known: set[WatchedFile]) -> None:
        self._settled = False
        gone, self._settled = self._settler.settle(self._files)
        known.difference_update(gone)
        if self._settled:
            if self._stuck:
                self._on_remark("all judged files are moved and written down again")
                self._said.clear()
            self._stuck = False
        else:
            self._stuck = True
            self._settle_at = time.monotonic() + _SETTLE_AGAIN
            if self._options.once:
                raise OutputError("files were judged that are still to be moved; run it again")

    def _read(
        self, complete: Sequence[FoundFile], known: set[WatchedFile], now: float
    ) -> Iterator[list[_Read]]:
        """Yield the contents of complete files, some at a time."""
        some: list[_Read] = []
        size = 0
        for found in complete:
            try:
                content = self._content(found)
                part = None
                if self._expression is not None:
                    part = part_in(source_name(found.path), self._expression)
            except FileNotFoundError:
                continue
            except (UnfitFileError, ParameterError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                self._refuse(found, f"{found.path}: {reason}", known, now)
                continue
            except OSError as error:
                self._cannot_read(found, (error.strerror or str(error)).lower(), now)
                continue
            if content is None:
                continue
            if some and (len(some) == _MOST_FILES or size + len(content) > _MOST_BYTES):
                yield some
                some, size = [], 0
            some.append(_Read(found, content, part))
            size += len(content)
        if some:
            yield some

    def _content(self, found: FoundFile) -> bytes | None:
        """Return the content of a file; None if it is no longer as it was found."""
        with open_regular(found.path, self._workspace.limits.max_bytes) as file:
            content = file.read(found.file.size + 1)
            status = os.fstat(file.fileno())
        state = state_of(self._folder.id, found.path.name, status)
        return content if state == found.file and len(content) == status.st_size else None

    def _judge(self, images: Sequence[_Read], known: set[WatchedFile], now: float) -> None:
        stream = self._inspector.inspect_many(
            [image.content for image in images],
            names=[source_name(image.found.path) for image in images],
            parts=[image.part for image in images],
            watched=[image.found.file for image in images],
            station=self._options.station,
        )
        for image, result in zip(images, stream, strict=True):
            if isinstance(result, Refused):
                self._refuse(image.found, result.error, known, now)
            else:
                known.add(image.found.file)
                self._on_result(result)
            if self._stop.is_set():
                return

    def _refuse(self, found: FoundFile, reason: str, known: set[WatchedFile], now: float) -> None:
        """Put a file aside that cannot be judged, unless it may still be written to."""
        if self._is_patient(found, now):
            return
        self._files.refuse(self._category, found.file, reason)
        known.add(found.file)
        self._settled = False
        self._on_result(Refused(source_name(found.path), reason))

    def _cannot_read(self, found: FoundFile, reason: str, now: float) -> None:
        """Say that a file cannot be read; it is judged when it can be."""
        if found.file not in self._unreadable and not self._is_patient(found, now):
            self._unreadable.add(found.file)
            reason = f"{found.path}: {reason}; tried again until it can be read"
            self._on_result(Refused(source_name(found.path), reason))

    def _is_patient(self, found: FoundFile, now: float) -> bool:
        return now - self._unusable.setdefault(found.file, now) < _PATIENCE

    @property
    def _files(self) -> WatchedFiles:
        return self._workspace.database.watched_files

    def _begin_anew(self) -> None:
        """Ask the database again what was judged: a commit may have arrived or not."""
        self._known, self._settled = None, False

    def _say(self, text: str) -> None:
        """Make a remark, once until things work again."""
        if text not in self._said:
            self._said.add(text)
            self._on_remark(text)
