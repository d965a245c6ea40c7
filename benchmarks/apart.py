"""Measure in a process of its own: its memory, threads and caches are that measurement's alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

#: What a process ends with that was interrupted from the keyboard.
INTERRUPTED = 130

_CODE = f"""
import json, sys
from importlib import import_module
from benchmarks import apart
apart.end_when_terminated()
try:
    measure = import_module(sys.argv[1]).measure
    print(json.dumps(measure(**json.loads(sys.argv[2]))))
except KeyboardInterrupt:
    sys.exit({INTERRUPTED})
"""


class Terminated(KeyboardInterrupt):
    """SIGTERM came: to this process alone, where the keyboard tells its children too."""


def end_when_terminated() -> None:
    """Have SIGTERM end this process as the keyboard's interruption does: in good order."""

    def end(number: int, frame: object) -> NoReturn:
        raise Terminated

    signal.signal(signal.SIGTERM, end)


@contextmanager
def ended_with_us(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Wait for a process if we are interrupted: it has a database to stop."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        if isinstance(interruption, Terminated):
            process.terminate()
        process.wait()
        raise


def measured_apart(module: str, **arguments: Any) -> Any:
    """Return what `measure` of ``benchmarks.<module>`` returns, in JSON's types."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, f"benchmarks.{module}", json.dumps(arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with ended_with_us(process):
        output, _ = process.communicate()
    if process.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, f"measure() of benchmarks.{module}")
    return json.loads(output.splitlines()[-1])
