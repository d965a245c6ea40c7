"""HEIC, the format of phones, with the extra `heic`; AVIF if Pillow was built with it."""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Final

from PIL import features

from patchbank.environment import install_command
from patchbank.errors import ImageError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_HEIC_SUFFIXES: Final = frozenset({".heic", ".heif", ".hif"})
_AVIF_SUFFIXES: Final = frozenset({".avif"})
# Brands in the file header of still images.
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"hevc", b"hevx"})
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})


@cache
def can_read_heic() -> bool:
    """Return whether the extra is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


@cache
def can_read_avif() -> bool:
    """Return whether Pillow can decode AVIF."""
    return "avif" in features.modules and features.check_module("avif")


def heif_suffixes() -> frozenset[str]:
    """Return the suffixes of the formats readable on this machine."""
    heic = _HEIC_SUFFIXES if can_read_heic() else frozenset()
    return heic | (_AVIF_SUFFIXES if can_read_avif() else frozenset())


def remedy_for(suffixes: Iterable[str]) -> str | None:
    """Return the command that makes these suffixes readable; None if there is none."""
    present = set(suffixes)
    if present & _HEIC_SUFFIXES and not can_read_heic():
        return install_command("patchbank[heic]")
    if present & _AVIF_SUFFIXES and not can_read_avif():
        return install_command("--upgrade", "pillow")
    return None


def heif_format(content: bytes) -> str | None:
    """Return ``"HEIC"`` or ``"AVIF"`` by a file's signature, None for anything else."""
    if content[4:8] != b"ftyp":
        return None
    size = min(int.from_bytes(content[:4]), 256)
    # The main brand, a version (skipped), and the compatible brands.
    brands = {content[8:12], *(content[start : start + 4] for start in range(16, size, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else None


def open_heif(kind: str, content: bytes, name: str) -> ImageFile:
    """Open an image of `heif_format`; its decoder turns it upright.

    Raises
    ------
    ImageError
        If no decoder is installed.
    """
    if kind == "AVIF":
        if not can_read_avif():
            raise ImageError(f"{name}: AVIF is not supported by this Pillow; save it as PNG")
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile(io.BytesIO(content))
    if not can_read_heic():
        remedy = install_command("patchbank[heic]")
        raise ImageError(f"{name}: HEIC needs another package; run: {remedy}")
    image: ImageFile = importlib.import_module("pillow_heif").HeifImageFile(io.BytesIO(content))
    # The decoder has applied the file's own rotation, which overrides EXIF's.
    image.info.pop("exif", None)
    return image
