"""Connect to the database: its server started or waited for, and given up when it is silent."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Any

import psycopg

from patchbank.descriptors import fill_standard_descriptors
from patchbank.store.embedded.inherited import let_go_in_children
from patchbank.store.failures import Place, explain_connecting, first_line
from patchbank.store.pool import LimitedConnection

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.05


@dataclass(frozen=True)
class Limits:
    """How long a database may take, in seconds.

    Attributes
    ----------
    connect
        To let a connection in, and to be back after it was lost.
    answer
        Without a word while a question is open.
    """

    connect: int = 10
    answer: float = 30.0


DEFAULT_LIMITS = Limits()


def connect(place: Place, limits: Limits, *, patient: bool = False) -> LimitedConnection:
    """Connect, waiting a little for a server that is just starting.

    If `patient`, for one that is away too: it was there before.
    """
    # A connection with such a number would be sent whatever a library prints. A program may close
    # them long after it opened the database.
    fill_standard_descriptors()
    deadline = time.monotonic() + limits.connect
    waiting = False
    while True:
        try:
            if place.server is not None:
                connection = place.server.connect(lambda conninfo: _new(conninfo, limits))
            else:
                connection = _new(place.conninfo, limits)
            _log.debug("connected to %s", place)
            return connection
        except psycopg.OperationalError as error:
            starting = "the database system is" in str(error)
            if not (starting or patient) or time.monotonic() > deadline:
                raise explain_connecting(error, place) from error
            if not waiting:
                _log.warning("waiting for %s: %s", place, first_line(error))
                waiting = True
        time.sleep(_RETRY_SECONDS)


def _new(conninfo: str, limits: Limits) -> LimitedConnection:
    """Make a connection of which the server may say nothing for so long."""
    ours: dict[str, Any] = {
        "application_name": "patchbank",
        "connect_timeout": limits.connect,
        # What is sent and not even received: the other end, or the way to it, is gone.
        "tcp_user_timeout": round(1e3 * limits.answer),
    }
    given = psycopg.conninfo.conninfo_to_dict(conninfo)
    connection = LimitedConnection.connect(
        conninfo,
        autocommit=True,
        # A pooler gives the next statement to another session, which knows none of this one's.
        prepare_threshold=None,
        # Whatever the database's encoding is, it then understands all that it can store.
        client_encoding="utf8",
        **{name: value for name, value in ours.items() if given.get(name) is None},
    )
    connection.limit = limits.answer
    let_go_in_children(connection)
    return connection


def lives(place: Place, limits: Limits) -> bool:
    """Return whether the server answers others, while one of us waits for it."""
    fill_standard_descriptors()
    conninfo = place.server.conninfo() if place.server else place.conninfo
    try:
        with contextlib.closing(_new(conninfo, limits)) as connection:
            connection.execute(b"select 1")
    except psycopg.OperationalError:
        return False
    return True
