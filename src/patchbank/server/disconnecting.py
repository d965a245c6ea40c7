"""Work that ends when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

from fastapi import Request

from patchbank.errors import BusyError
from patchbank.progress import Progress

_LOOK_SECONDS = 0.3


@contextlib.asynccontextmanager
async def until_gone(request: Request) -> AsyncIterator[Progress]:
    """Give a progress that ends the work that calls it once the client has gone."""
    gone = threading.Event()

    async def watch() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(_LOOK_SECONDS)
        gone.set()

    def go_on(stage: str, done: int, total: int) -> None:
        if gone.is_set():
            raise BusyError("nobody waits for the answer any more")

    watching = asyncio.create_task(watch())
    try:
        yield go_on
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
