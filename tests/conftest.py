"""What all tests share."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

# The fixtures are modules of the folder `tests`, however pytest was started.
sys.path.insert(0, str(Path(__file__).parent.parent))

# Kernels are compiled once, not once for every home that a test makes.
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "numba")
)

# A shell starts what it puts in the background with interrupts ignored, and children inherit that:
# those that tests interrupt would never notice.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    "tests.fixtures.browser",
    "tests.fixtures.commands",
    "tests.fixtures.database",
    "tests.fixtures.hub",
    "tests.fixtures.networks",
    "tests.fixtures.pgbouncer",
    "tests.fixtures.quantised",
    "tests.fixtures.surfaces",
]
