"""Processes of our own for work that may take or spoil too much; they end when we do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, BinaryIO, Final

_LONGEST_REASON: Final = 300


@contextmanager
def worker(module: str, talk: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Lend a process that runs a module; whatever happens, it has ended afterwards.

    Parameters
    ----------
    module : str
        A module of this package with a `main`.
    talk : file
        Where its standard error goes.
    """
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=talk,
        # Ctrl-C is for us, who end it.
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
            with suppress(BrokenPipeError):
                # Nobody reads what is not written yet.
                assert process.stdin is not None
                process.stdin.close()


def last_line(talk: IO[bytes]) -> str:
    """Return the last line somebody wrote, where Python puts the reason for its end."""
    talk.seek(0)
    lines = talk.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:_LONGEST_REASON]


def take_standard_output() -> BinaryIO:
    """Return a worker's standard output for its answers; what libraries print goes elsewhere."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers
