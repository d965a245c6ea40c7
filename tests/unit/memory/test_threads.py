"""Numeric work that is restricted to a thread."""

from __future__ import annotations

import threading

import numpy as np  # noqa: F401 - loads its library
from threadpoolctl import ThreadpoolController

from patchbank.memory.threads import one_blas_thread


def _threads() -> set[int]:
    # NumPy's own library, whatever else is loaded.
    pools = [pool for pool in ThreadpoolController().info() if "numpy" in pool["filepath"]]
    assert pools
    return {pool["num_threads"] for pool in pools}


def test_blas_has_its_threads_again_after_blocks_of_several_threads() -> None:
    before = _threads()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with one_blas_thread():
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    with one_blas_thread():
        assert _threads() == {1}
        thread.start()
        inside.wait(60)
    leave.set()
    thread.join()
    assert _threads() == before
    with one_blas_thread(), one_blas_thread():
        assert _threads() == {1}
    assert _threads() == before
