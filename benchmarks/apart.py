"""Measure in a process of its own: its memory, threads and caches are that measurement's alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

#: What a process ends with that was interrupted from the keyboard.
INTERRUPTED = 130

_CODE = f"""
import json, sys
from importlib import import_module
try:
    measure = import_module(sys.argv[1]).measure
    print(json.dumps(measure(**json.loads(sys.argv[2]))))
except KeyboardInterrupt:
    sys.exit({INTERRUPTED})
"""


def measured_apart(module: str, **arguments: Any) -> Any:
    """Return what `measure` of ``benchmarks.<module>`` returns, in JSON's types."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, f"benchmarks.{module}", json.dumps(arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        output = process.stdout.read()
    finally:
        # The keyboard interrupts both. `subprocess.run` would kill the other within a moment, and
        # its database would stay.
        code = process.wait()
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise subprocess.CalledProcessError(code, f"measure() of benchmarks.{module}")
    return json.loads(output.splitlines()[-1])
