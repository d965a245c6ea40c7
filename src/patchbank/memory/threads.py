"""Restrict numeric work to the calling thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

_local = threading.local()
_limiting = threading.Lock()


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


def on_cores(alone: bool) -> AbstractContextManager[None]:
    """Run this block's numeric work on all cores, or in this thread only: see `in_this_thread`.

    Parameters
    ----------
    alone
        Whether no other image is processed at the same time.
    """
    return nullcontext() if alone else in_this_thread()


def works_alone() -> bool:
    """Return whether the calling thread is in a block of `in_this_thread`."""
    return bool(getattr(_local, "alone", False))


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Have NumPy's BLAS use a single thread in this block.

    The limit is the process's: while one thread sets it, another's block does not.
    """
    if not _limiting.acquire(blocking=False):
        yield
        return
    try:
        with _blas().limit(limits=1):
            yield
    finally:
        _limiting.release()


@cache
def _blas() -> Any:
    # Imported here because no verdict needs it.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
