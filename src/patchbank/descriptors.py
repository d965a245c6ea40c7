"""The descriptors of standard input, output and error, which a caller may have closed."""

from __future__ import annotations

import fcntl
import os

_STANDARD = range(3)


def fill_standard_descriptors() -> None:
    """Open the null device as each of the descriptors 0 to 2 that is closed.

    The next file to be opened would get such a number otherwise: a child's standard streams would
    take the place of a lock, and whatever a library prints would go into a connection.
    """
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is given; where another thread was quicker, a higher one.
            opened = os.open(os.devnull, os.O_RDWR)
            if opened in _STANDARD:
                # Standard streams are for children too.
                os.set_inheritable(opened, True)
            else:
                os.close(opened)


def above_standard(descriptor: int) -> int:
    """Return a copy of a descriptor that is none of 0 to 2, the given one closed; or itself."""
    if descriptor not in _STANDARD:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(_STANDARD))
    finally:
        os.close(descriptor)
