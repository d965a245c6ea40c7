"""Memory that large images took, given back to the system."""

from __future__ import annotations

import ctypes
import logging
import threading

from patchbank.inspection.learning.memory_limit import resident_bytes

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
# What the process must have grown by: what is used again and again is left to the allocator.
_GROWTH = 32_000_000
# It ends when so many times in a row hardly anything was given back.
_ENOUGH, _LITTLE = 3, 4_000_000


class MemoryReturn:
    """Has the C library give back free memory when the process has grown.

    One image of 100 megapixels leaves 100 MB and more in the allocator's free lists otherwise, for
    ever. Where the library has no such function, nothing is done.
    """

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="patchbank-memory-return", daemon=True
        )

    def begin(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._closing.set()

    def _run(self) -> None:
        trim = _trim()
        if trim is None:
            return
        before, idle = resident_bytes(), _ENOUGH
        while not self._closing.wait(_LOOK_SECONDS):
            now = resident_bytes()
            if idle >= _ENOUGH:
                if now < before + _GROWTH:
                    before = min(before, now)
                    continue
                idle = 0
            trim(0)
            before = resident_bytes()
            # What is in use at the moment may be free at the next look.
            idle = idle + 1 if now - before < _LITTLE else 0
            _log.debug("gave back %.1f MB", (now - before) / 1e6)


def _trim() -> ctypes._NamedFuncPointer | None:
    """Return the C library's function; None if the library lacks it."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        # musl, macOS, Windows.
        return None
