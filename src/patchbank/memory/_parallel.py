"""Run tiles of numeric work on all cores, from any thread.

The threads are our own, and the kernels release the GIL. Numba's parallel loops are not used: its
portable threading layer aborts the process when two threads enter it at once, as a server's
threads do. BLAS is not used in tiles either, unless limited to one thread (`one_blas_thread`): its
threads would compete with ours for the cores.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from patchbank.memory.threads import works_alone
from patchbank.settings import usable_cores

#: Processes the half-open range of rows ``start:stop``; each thread has its own.
TileWorker = Callable[[int, int], None]


@cache
def _executor(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=workers, thread_name_prefix="patchbank-memory")


# Threads do not survive a fork; the child starts its own.
os.register_at_fork(after_in_child=_executor.cache_clear)


def for_tiles(total: int, size: int, make_worker: Callable[[], TileWorker]) -> None:
    """Split `total` rows into tiles of `size` and process them with all threads.

    `make_worker` is called once in each thread, to allocate its buffers. After an error or an
    interruption no more tiles are started; it is raised here once the other threads have finished
    their tiles, so that none writes to the caller's arrays afterwards.
    """
    starts = range(0, total, size)
    # Advancing a shared iterator is atomic in CPython: every tile is processed once.
    pending = iter(starts)
    stopped = threading.Event()

    def work() -> None:
        tile = make_worker()
        try:
            for start in pending:
                if stopped.is_set():
                    return
                tile(start, min(start + size, total))
        except BaseException:  # an interrupt too
            stopped.set()
            raise

    helpers = 0 if works_alone() else min(usable_cores(), len(starts)) - 1
    # The calling thread works too, so that a single tile needs no other thread.
    futures = [_executor(usable_cores()).submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        for future in futures:
            future.exception()
    for future in futures:
        future.result()
