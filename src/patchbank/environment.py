"""The Python environment that patchbank is installed in."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from pathlib import Path


def install_command(*arguments: str) -> str:
    """Return the shell command that installs packages where patchbank finds them.

    The ``pip`` on the user's path is often another environment's, or the system's, which refuses.
    """
    pip = shutil.which("pip")
    if pip is not None and Path(pip).parent == Path(sys.executable).parent:
        command = ["pip", "install"]
    elif importlib.util.find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", "install"]
    else:
        # As in the environments that uv makes.
        command = ["uv", "pip", "install", "--python", sys.executable]
    return shlex.join([*command, *arguments])
