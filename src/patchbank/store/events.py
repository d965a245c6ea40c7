"""The event log: who changed what, each event chained to the one before by its hash."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from patchbank.errors import NotFoundError
from patchbank.store import queries
from patchbank.store.categories import find_category

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions

#: What the first event of a category has as the hash before it, in hexadecimal.
FIRST = "0" * 64
# Rows that a cursor fetches at a time.
_ROWS = 1_000


class LoggedCategory(NamedTuple):
    """A category that has events, perhaps removed since, and the newest version of its bank."""

    category_id: int
    name: str
    removed: bool
    newest_version: int | None


@dataclass(frozen=True)
class Event:
    """A change of a category.

    Attributes
    ----------
    position
        Its number in the category, from 1 without a gap.
    kind, actor, happened_at, detail
        What was done, by which user, when, and what else is known.
    hash, previous_hash
        SHA-256 in hexadecimal, of this event and of the one before it.
    content
        What the hash is computed of, after the previous hash: a JSON text.
    """

    position: int
    kind: str
    actor: str
    happened_at: datetime
    detail: dict[str, Any]
    hash: str
    previous_hash: str
    content: str

    def computed_hash(self) -> str:
        """Return the hash that belongs to its content."""
        return hashlib.sha256(bytes.fromhex(self.previous_hash) + self.content.encode()).hexdigest()


class EventLog:
    """The events of categories, as of one moment."""

    def __init__(self, connection: Connection, categories: list[LoggedCategory]) -> None:
        self._connection = connection
        #: Those that have events or a bank, by name.
        self.categories = categories

    def events(self, category_id: int) -> Iterator[Event]:
        """Yield the events of a category, oldest first."""
        with self._connection.cursor(name="events") as cursor:
            cursor.itersize = _ROWS
            cursor.execute(queries.load("events")["list"], {"category_id": category_id})
            for row in cursor:
                yield Event(*row)


class Events:
    """The event log of a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def page(
        self, category: str | int, *, limit: int, before: int | None = None
    ) -> tuple[LoggedCategory, list[Event]]:
        """Return a category, and its last events, the newest first.

        Parameters
        ----------
        category
            Its name, or its number, also of one that was removed.
        limit
            How many at most.
        before
            Only those with a lower position.

        Raises
        ------
        UnknownCategoryError
            When there is no such category now.
        NotFoundError
            When there never was one with this number.
        """
        with self._sessions.connection() as connection:
            if isinstance(category, str):
                number = find_category(connection, category)
                logged = LoggedCategory(number, category, removed=False, newest_version=None)
            else:
                found = {"category_id": category}
                row = connection.execute(queries.load("events")["names"], found).fetchone()
                if row is None:
                    raise NotFoundError(f"there is no log of changes with the number {category}")
                logged = LoggedCategory(*row)
            rows = connection.execute(
                queries.load("events")["page"],
                {"category_id": logged.category_id, "limit": limit, "before": before},
            ).fetchall()
        return logged, [Event(*row) for row in rows]

    @contextlib.contextmanager
    def opened(self, category: str | None) -> Iterator[EventLog]:
        """Yield the log of a category, or of all, removed ones too, to be read before the end.

        Raises
        ------
        UnknownCategoryError
            When there is no such category now.
        """
        with self._sessions.connection(long=True, snapshot=True) as connection:
            number = None if category is None else find_category(connection, category)
            rows = connection.execute(queries.load("events")["names"], {"category_id": number})
            yield EventLog(connection, [LoggedCategory(*row) for row in rows])
