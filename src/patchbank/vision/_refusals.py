"""What decoders raise, as one line about the image."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image, UnidentifiedImageError

from patchbank.errors import ImageError

# What Pillow's decoders raise on damaged files. Warnings are among them because Pillow warns of
# some damage, which is an exception where warnings are errors.
DAMAGE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)
# Those whose words are Python's, about code, not the file's.
_INTERNAL: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    UnicodeError,
    struct.error,
)


@contextmanager
def refusals(label: str, kind: str) -> Iterator[None]:
    """Turn what decoders raise inside into an ImageError about the image."""
    try:
        yield
    except Image.DecompressionBombError as error:
        # Pillow's own limit, which some of its decoders check before we know the size.
        raise ImageError(f"{label}: has far too many pixels; use a smaller image") from error
    except MemoryError as error:
        raise ImageError(f"{label}: does not fit into memory; use a smaller image") from error
    except DAMAGE as error:
        raise ImageError(
            f"{label}: is damaged or of an unsupported kind of {kind} ({reason_of(error)}); "
            "save it again"
        ) from error


def reason_of(error: BaseException) -> str:
    """Return what is wrong with an image, in words about the image."""
    if isinstance(error, UnidentifiedImageError):
        return "unknown content"
    # Pillow may wrap one of Python's with its words.
    cause = error.__cause__ if str(error) == str(error.__cause__) else error
    if isinstance(cause, _INTERNAL):
        return "cut off, or with fields that make no sense"
    return " ".join(str(error).split())[:120] or type(error).__name__
