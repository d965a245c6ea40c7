"""Mark the pictures that patchbank writes, so that they are not read as images of parts later.

The mark is the file's own note of the software that made it: a PNG's text, a JPEG's comment, a
TIFF's tag.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

from PIL.PngImagePlugin import PngInfo

from patchbank.files import open_regular

MAKER: Final = "patchbank picture"
# Bytes of a file's beginning or, of a TIFF, of its end: there Pillow writes the mark.
_SEARCHED: Final = 4096
_SOFTWARE_TAG: Final = 305
# With the length that stands before it, so that no longer text of these words is meant.
_PNG_MARK: Final = len(f"Software\0{MAKER}").to_bytes(4) + f"tEXtSoftware\0{MAKER}".encode()
_JPEG_MARK: Final = b"\xff\xfe" + (len(MAKER) + 2).to_bytes(2) + MAKER.encode()
_TIFF_MARK: Final = f"{MAKER}\0".encode()


def own_mark(suffix: str) -> dict[str, Any]:
    """Return what Pillow's `save` takes to mark a picture of a suffix as patchbank's own."""
    if suffix == ".png":
        text = PngInfo()
        text.add_text("Software", MAKER)
        return {"pnginfo": text}
    if suffix == ".jpg":
        return {"comment": MAKER.encode()}
    if suffix == ".tiff":
        return {"tiffinfo": {_SOFTWARE_TAG: MAKER}}
    raise ValueError(f"pictures of {suffix} have no mark")


def is_own_picture(file: Path) -> bool:
    """Whether patchbank wrote a picture itself; no where it cannot be read."""
    try:
        with open_regular(file, sys.maxsize) as opened:
            head = opened.read(_SEARCHED)
            if head.startswith((b"II*\0", b"MM\0*")):
                size = opened.seek(0, os.SEEK_END)
                opened.seek(max(0, size - _SEARCHED))
                return _TIFF_MARK in head + opened.read()
    except OSError:
        return False  # reported when it is decoded
    if head.startswith(b"\x89PNG"):
        return _PNG_MARK in head
    return head.startswith(b"\xff\xd8") and _JPEG_MARK in head
