"""Turn decoder errors into one-line messages."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image, UnidentifiedImageError

from patchbank.errors import ImageError

# What Pillow's decoders raise on damaged files. Of some damage Pillow only warns, which raises if
# warnings are errors.
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
# Errors whose messages are about code rather than the file.
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
    """Turn decoder errors raised inside into an ImageError about the image."""
    try:
        yield
    except Image.DecompressionBombError as error:
        # Pillow's own limit, which some decoders check before the size is known here.
        raise ImageError(f"{label}: has far too many pixels; use a smaller image") from error
    except MemoryError as error:
        raise ImageError(f"{label}: does not fit into memory; use a smaller image") from error
    except DAMAGE as error:
        raise ImageError(
            f"{label}: is damaged or an unsupported kind of {kind} ({reason_of(error)}); "
            "save it again"
        ) from error


def reason_of(error: BaseException) -> str:
    """Return what is wrong with the image."""
    if isinstance(error, UnidentifiedImageError):
        return "unknown content"
    # Pillow may wrap a Python error and copy its message.
    cause = error.__cause__ if str(error) == str(error.__cause__) else error
    if isinstance(cause, _INTERNAL):
        return "truncated, or with invalid fields"
    return " ".join(str(error).split())[:120] or type(error).__name__
