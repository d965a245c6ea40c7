"""Connect to the database: start or wait for its server, and give up if it is silent."""

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
    """Time limits of a database, in seconds.

    Attributes
    ----------
    connect
        To accept a connection, and to return after it was lost.
    answer
        Silence while a query is running.
    """

    connect: int = 10
    answer: float = 30.0


DEFAULT_LIMITS = Limits()


def connect(place: Place, limits: Limits, *, patient: bool = False) -> LimitedConnection:
    """Connect, waiting for a server that is starting.

    If `patient`, also wait for a server that is down, because it was up before.
    """
    # A connection on a standard descriptor would receive what libraries print. A program may close
    # these long after it opened the database.
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
    """Open a connection with the time limits."""
    ours: dict[str, Any] = {
        "application_name": "patchbank",
        "connect_timeout": limits.connect,
        # Data that is not even acknowledged: the server or the network is down.
        "tcp_user_timeout": round(1e3 * limits.answer),
    }
    given = psycopg.conninfo.conninfo_to_dict(conninfo)
    connection = LimitedConnection.connect(
        conninfo,
        autocommit=True,
        # A pooler may send the next statement to another session, without prepared statements.
        prepare_threshold=None,
        # The server then converts to the encoding of the database, whatever it is.
        client_encoding="utf8",
        **{name: value for name, value in ours.items() if given.get(name) is None},
    )
    connection.limit = limits.answer
    let_go_in_children(connection)
    return connection


def lives(place: Place, limits: Limits) -> bool:
    """Return whether the server accepts new connections, while one waits for an answer."""
    fill_standard_descriptors()
    conninfo = place.server.conninfo() if place.server else place.conninfo
    try:
        with contextlib.closing(_new(conninfo, limits)) as connection:
            connection.execute(b"select 1")
    except psycopg.OperationalError:
        return False
    return True
