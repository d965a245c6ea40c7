"""On whose behalf something is done."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Iterator
from contextvars import ContextVar

_actor: ContextVar[str | None] = ContextVar("patchbank_actor", default=None)


def current_actor() -> str:
    """Return who is asking: the name set by `acting_as`, else the user who runs this process."""
    actor = _actor.get()
    if actor is not None:
        return actor
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return "unknown"


def act_as(name: str) -> None:
    """Record changes under this name, in this context and those copied from it from now on."""
    _actor.set(name)


@contextlib.contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Record the changes of this block under this name; threads started in it copy no context."""
    token = _actor.set(name)
    try:
        yield
    finally:
        _actor.reset(token)
