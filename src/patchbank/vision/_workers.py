"""Worker processes for work that may use too much or disturb this process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, BinaryIO, Final

_LONGEST_REASON: Final = 300


@contextmanager
def worker(module: str, stderr: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that runs a module, and end it after the ``with`` block.

    Parameters
    ----------
    module : str
        A module of this package with a `main`.
    stderr : file
        Receives its standard error.
    """
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        # Ctrl-C must only reach us; we end the process.
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
            with suppress(BrokenPipeError):
                # Unwritten data cannot be sent any more.
                assert process.stdin is not None
                process.stdin.close()


def last_line(stderr: IO[bytes]) -> str:
    """Return the last line written, where Python puts the reason for an exit."""
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:_LONGEST_REASON]


def take_standard_output() -> BinaryIO:
    """Return a worker's standard output for results; libraries then print to standard error."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output
