"""Restrict numeric work to the calling thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_local = threading.local()


@contextmanager
def in_this_thread() -> Iterator[None]:
    """Run the numeric work of this block in the calling thread only.

    For callers that process several images at once: one thread per image is more efficient than all
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
