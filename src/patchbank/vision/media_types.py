"""The media type of an image's content, for what shows it."""

from __future__ import annotations

from typing import Final

from patchbank.vision._formats import format_of
from patchbank.vision.heif import heif_format

#: Of content that is no image by its signature.
UNKNOWN: Final = "application/octet-stream"

_TYPES: Final = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "WebP": "image/webp",
    "HEIC": "image/heic",
    "AVIF": "image/avif",
}


def media_type(content: bytes) -> str:
    """Return the media type by the signature of an image that can be read, else `UNKNOWN`."""
    return _TYPES.get(format_of(content) or heif_format(content) or "", UNKNOWN)
