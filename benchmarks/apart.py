"""Measure in a process of its own: its memory, threads and caches are that measurement's alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

_CODE = """
import json, sys
from importlib import import_module
measure = import_module(sys.argv[1]).measure
print(json.dumps(measure(**json.loads(sys.argv[2]))))
"""


def measured_apart(module: str, **arguments: Any) -> Any:
    """Return what `measure` of ``benchmarks.<module>`` returns, in JSON's types."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE, f"benchmarks.{module}", json.dumps(arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])
