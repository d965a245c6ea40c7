"""The file that marks a folder as made by code, so that its figures are labelled synthetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MARKER = "patchbank-surfaces.json"


def is_synthetic(root: Path) -> bool:
    """Whether `patchbank make-surfaces` made the folder."""
    return (root / MARKER).is_file()


def write_marker(root: Path, content: dict[str, Any]) -> None:
    """Mark a folder as made by code, with what made it."""
    (root / MARKER).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
