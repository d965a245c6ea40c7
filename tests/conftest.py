"""What all tests share."""

from __future__ import annotations

import sys
from pathlib import Path

# The fixtures are modules of the folder `tests`, however pytest was started.
sys.path.insert(0, str(Path(__file__).parent.parent))

pytest_plugins = [
    "tests.fixtures.browser",
    "tests.fixtures.commands",
    "tests.fixtures.database",
    "tests.fixtures.hub",
    "tests.fixtures.networks",
    "tests.fixtures.quantised",
    "tests.fixtures.surfaces",
]
