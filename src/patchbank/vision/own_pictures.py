"""Mark the pictures that patchbank writes, so that they are not later read as images of parts.

The mark names the software that made the file: in a PNG's text, a JPEG's comment or a TIFF's tag.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

from PIL.PngImagePlugin import PngInfo

from patchbank.files import open_regular

MAKER: Final = "patchbank picture"
# Bytes searched at a file's start and, in a TIFF, at its end, where Pillow writes the mark.
_SEARCHED: Final = 4096
_SOFTWARE_TAG: Final = 305
# Includes the length, so that a longer text that starts the same does not match.
_PNG_MARK: Final = len(f"Software\0{MAKER}").to_bytes(4) + f"tEXtSoftware\0{MAKER}".encode()
_JPEG_MARK: Final = b"\xff\xfe" + (len(MAKER) + 2).to_bytes(2) + MAKER.encode()
_TIFF_MARK: Final = f"{MAKER}\0".encode()


def own_mark(suffix: str) -> dict[str, Any]:
    """Return the arguments for Pillow's `save` that mark a picture as patchbank's."""
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
    """Return whether patchbank wrote a picture; False if it cannot be read."""
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
