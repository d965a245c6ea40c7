"""What all tests share."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

# The fixtures are modules of the folder `tests`, however pytest was started.
sys.path.insert(0, str(Path(__file__).parent.parent))

# Kernels are compiled once, not once for every home that a test makes.
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "numba")
)

# The hundreds of programs that tests start compile their modules once, too.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell starts what it puts in the background with interrupts ignored, and children inherit that:
# those that tests interrupt would never notice.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    "tests.fixtures.browser",
    "tests.fixtures.commands",
    "tests.fixtures.database",
    "tests.fixtures.hub",
    "tests.fixtures.mosquitto",
    "tests.fixtures.receiver",
    "tests.fixtures.networks",
    "tests.fixtures.pgbouncer",
    "tests.fixtures.quantised",
    "tests.fixtures.surfaces",
    "tests.fixtures.workspaces",
    # It imports others of them, which must be known as plugins by then.
    "tests.fixtures.learned",
]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the kernels once, before all workers do at the same time."""
    if not session.config.getoption("numprocesses", default=None):
        return
    # The workers' NumPy: its threads wait in loops, which takes the cores from the other worker.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Numba reads the variable above when it is imported.
    import numpy as np

    from patchbank.compiled import kernel_folder
    from patchbank.memory.coreset import greedy_k_center
    from patchbank.memory.neighbours import NeighbourIndex

    folder = kernel_folder()
    if folder is None or not folder.exists():
        features = np.random.default_rng(0).normal(size=(600, 32)).astype(np.float32)
        NeighbourIndex(features[greedy_k_center(features, 60).indices]).nearest(features, 3)
