"""Keep Pillow and its decoders from writing to standard error."""

from __future__ import annotations

import ctypes
import logging
from contextlib import suppress

from PIL import _imaging


def quiet_decoders() -> None:
    """Silence Pillow's log if no handler is configured, and libtiff's messages.

    The error that refuses an image says what is wrong with it.
    """
    # Otherwise, if the program configures no handler, Python's last-resort handler shows the log.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    # Pillow silences libtiff's warnings but not its errors. The function is looked up through
    # Pillow's module; if libtiff is linked statically, it is not found.
    with suppress(AttributeError, OSError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
