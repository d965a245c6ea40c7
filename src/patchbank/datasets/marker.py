"""The mark of images made by code, so that their results are labelled synthetic.

A file marks the folder. Each image is marked as well, because the file is lost when a category is
copied or a manifest lists its images.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from PIL.PngImagePlugin import PngInfo

from patchbank.files import open_regular

MARKER = "patchbank-surfaces.json"
_KEYWORD: Final = "Software"
_MAKER: Final = "patchbank make-surfaces"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
# The text of a PNG comes before its pixels, within this number of bytes.
_HEAD: Final = 4096


def is_synthetic(root: Path, images: Iterable[Path] = ()) -> bool:
    """Return whether `patchbank make-surfaces` made the folder or any of the images."""
    return (root / MARKER).is_file() or any(_is_marked(image) for image in images)


def write_marker(root: Path, content: dict[str, Any]) -> None:
    """Mark a folder as made by code; `content` says how."""
    (root / MARKER).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def image_marker() -> PngInfo:
    """Return the text that marks a PNG file as made by code, without changing its pixels."""
    text = PngInfo()
    text.add_text(_KEYWORD, f"{_MAKER}, synthetic")
    return text


def _is_marked(image: Path) -> bool:
    try:
        with open_regular(image, sys.maxsize) as file:
            head = file.read(_HEAD)
    except OSError:
        return False  # reported when the image is decoded
    return head.startswith(_PNG) and f"{_KEYWORD}\0{_MAKER}".encode() in head
