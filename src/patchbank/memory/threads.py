"""Which threads numeric work uses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_local = threading.local()


@contextmanager
def in_this_thread() -> Iterator[None]:
    """Keep the numeric work of this block in the calling thread.

    For a caller that works on several images at once: a thread for each image wastes less than all
    threads on one image after another.
    """
    before = works_alone()
    _local.alone = True
    try:
        yield
    finally:
        _local.alone = before


def works_alone() -> bool:
    """Return whether the calling thread is in a block of `in_this_thread`."""
    return bool(getattr(_local, "alone", False))
