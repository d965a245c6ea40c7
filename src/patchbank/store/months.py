"""Months of the inspections: partitions, made ahead by whoever records."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from patchbank.errors import DatabaseError, DiskFullError
from patchbank.store import queries

if TYPE_CHECKING:
    from patchbank.store.sessions import Sessions

_log = logging.getLogger(__name__)

_SECONDS = 3600.0


class Months:
    """The monthly partitions of the inspections of a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("inspections")
        self._due = 0.0

    def make_ahead(self) -> None:
        """Make the partitions of this month and the next two, at most once an hour.

        It does not wait for who uses the tables, and a failure is only logged: what is recorded
        goes to the default partition, until a later call moves it.
        """
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _SECONDS
        try:
            with self._sessions.statement() as connection:
                connection.execute(self._queries["make_months"])
        except (DatabaseError, DiskFullError) as error:
            _log.info("the partitions of the next months are made later: %s", error)
