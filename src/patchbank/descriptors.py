"""Standard input, output and error, which the calling process may have closed."""

from __future__ import annotations

import fcntl
import os

_STANDARD = range(3)


def fill_standard_descriptors() -> None:
    """Open the null device for each of the descriptors 0 to 2 that is closed.

    Otherwise the next file opened would get that number: a child's standard streams would replace
    a lock, and anything a library prints would go into a connection.
    """
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number, unless another thread was faster.
            opened = os.open(os.devnull, os.O_RDWR)
            if opened in _STANDARD:
                os.set_inheritable(opened, True)  # children need standard streams too
            else:
                os.close(opened)


def above_standard(descriptor: int) -> int:
    """Return the descriptor itself if above 2; otherwise move it above 2 and return the new one."""
    if descriptor not in _STANDARD:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(_STANDARD))
    finally:
        os.close(descriptor)
