"""How many threads numeric work uses."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from patchbank.settings import get_settings

_local = threading.local()


def worker_count() -> int:
    """Return how many threads numeric work uses: the setting, or the cores this process has."""
    chosen = get_settings().threads
    if chosen:
        return chosen
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
