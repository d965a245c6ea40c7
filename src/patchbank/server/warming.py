"""Banks read into memory before they are asked for, so that the first inspection is quick too."""

from __future__ import annotations

import logging
import threading
import time

from patchbank.errors import NotFittedError, PatchbankError, UnknownCategoryError
from patchbank.inspection.workspace import Workspace
from patchbank.server.judging import Inspectors
from patchbank.server.teaching import Teaching

_log = logging.getLogger(__name__)

# Between two tries of a bank that cannot judge.
_AGAIN_SECONDS = 30.0


class Warming:
    """Has each bank judge an image, in the background, and tries again those that cannot."""

    def __init__(self, workspace: Workspace, inspectors: Inspectors, teaching: Teaching) -> None:
        self._workspace, self._inspectors, self._teaching = workspace, inspectors, teaching
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._begun = float("-inf")
        self._done = self._closing = False

    @property
    def done(self) -> bool:
        """Whether every bank that has room in memory was tried once."""
        return self._done

    def begin(self) -> None:
        """Try in the background what was not tried, or cannot judge; at most every 30 s."""
        with self._lock:
            alive = self._thread is not None and self._thread.is_alive()
            late = time.monotonic() - self._begun > _AGAIN_SECONDS
            if alive or self._closing or not late or (self._done and not self._inspectors.unusable):
                return
            self._begun = time.monotonic()
            self._thread = threading.Thread(
                target=self._warm, name="patchbank-warming", daemon=True
            )
            self._thread.start()

    def join(self) -> None:
        """Wait for what was begun."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Begin nothing more, and wait: the process must not end inside the network's code."""
        with self._lock:
            self._closing = True
        self.join()

    def warm_up(self, category: str) -> None:
        """Have the bank of a category judge an image."""
        try:
            self._inspectors.judge(category, lambda inspector: inspector.warm_up())
        except (NotFittedError, UnknownCategoryError):
            pass
        except PatchbankError as error:
            _log.warning("category %r cannot be judged by: %s", category, error)

    def _warm(self) -> None:
        if self._done:
            for name in self._inspectors.unusable:
                if not self._closing:
                    self.warm_up(name)
            return
        try:
            names = self._workspace.database.categories.names()
        except PatchbankError as error:
            _log.warning("the banks are read later: %s", error)
            return
        for name in names:
            self._teaching.keep_promises(name)
        most = self._workspace.settings.serve_banks
        for name in names:
            if self._closing or len(self._inspectors.ready) >= most:
                break
            self.warm_up(name)
        self._done = True
