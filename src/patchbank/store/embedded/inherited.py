"""Detach forked children from the connections they inherit."""

from __future__ import annotations

import os
from typing import Any
from weakref import WeakSet

import psycopg

_connections: WeakSet[psycopg.Connection[Any]] = WeakSet()


def let_go_in_children(connection: psycopg.Connection[Any]) -> None:
    """Make forked children let go of their copy of this connection.

    Otherwise closing it there would end the parent's session, and the session would outlive the
    parent.
    """
    _connections.add(connection)


def _let_go() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for connection in list(_connections):
        try:
            # Replaced, not closed: the driver may close the descriptor later.
            os.dup2(nothing, connection.fileno(), inheritable=False)
        except psycopg.OperationalError:
            continue  # already closed
    os.close(nothing)
    _connections.clear()


os.register_at_fork(after_in_child=_let_go)
