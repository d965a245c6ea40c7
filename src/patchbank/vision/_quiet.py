"""Keeps Pillow and its decoders from writing to standard error on their own."""

from __future__ import annotations

import ctypes
import logging
from contextlib import suppress

from PIL import _imaging


def quiet_decoders() -> None:
    """Silence Pillow's log where nobody listens, and libtiff, which writes without asking.

    What is wrong with an image is said by the error that refuses it.
    """
    # Otherwise Python's handler of last resort shows the log of a program that set up none.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    # Pillow silences libtiff's warnings, not its errors. Looked up as Pillow's code was linked;
    # where libtiff is no library of its own there is nothing to find.
    with suppress(AttributeError, OSError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
