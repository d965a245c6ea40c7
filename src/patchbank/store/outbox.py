"""Sinks, to which inspections are sent, and the outbox: what is still to be sent to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID

from patchbank.actors import current_actor
from patchbank.store import queries
from patchbank.store.categories import add_event

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions

SinkKind = Literal["webhook", "mqtt", "csv"]


class StoredSink(NamedTuple):
    """Where inspections are sent to.

    Attributes
    ----------
    target
        A URL, or the path of a file.
    secret, user_name
        What signs, or logs in; None where there is nothing of the kind.
    topic
        What MQTT topics begin with.
    categories
        The names of those whose inspections are sent; None for all.
    verdicts
        With these verdicts.
    """

    sink_id: int
    name: str
    kind: SinkKind
    target: str
    secret: str | None
    user_name: str | None
    topic: str | None
    categories: list[str] | None
    verdicts: list[str]


class SinkState(NamedTuple):
    """A sink, and how it fares.

    Attributes
    ----------
    delivered, delivered_at
        How many inspections were sent, and when the last one was.
    failures, last_error
        How often in a row nothing could be sent, and why; None if the last try succeeded.
    waiting, waiting_since
        How many are still to be sent, and when the oldest of them was inspected.
    refused
        Why the receiver did not take one of them, if it did not.
    """

    sink: StoredSink
    created_at: datetime
    created_by: str
    delivered: int
    delivered_at: datetime | None
    failures: int
    last_error: str | None
    waiting: int
    waiting_since: datetime | None
    refused: str | None


class DueInspection(NamedTuple):
    """An inspection that is to be sent now, and how often that was tried in vain."""

    category_id: int
    category: str
    inspection_id: int
    inspected_at: datetime
    attempts: int


class Refusal(NamedTuple):
    """An inspection that the receiver did not take, why, and after how many seconds to retry."""

    due: DueInspection
    error: str
    seconds: float


class Outbox:
    """The sinks of a database, and what is to be sent to them."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("outbox")

    def add(self, sink: StoredSink, detail: dict[str, Any]) -> int | None:
        """Store a new sink and return its number; None if another has its name.

        The logs of the categories whose inspections it gets have an event with the `detail`.
        """
        parameters = {**sink._asdict(), "created_by": current_actor()}
        with self._sessions.connection() as connection:
            row = connection.execute(self._queries["add"], parameters).fetchone()
            if row is None:
                return None
            self._log(connection, sink, "add sink", detail)
        return int(row[0])

    def remove(self, sink: StoredSink, detail: dict[str, Any]) -> int | None:
        """Remove a sink; return how many inspections were still to be sent, None without it."""
        with self._sessions.connection() as connection:
            row = connection.execute(self._queries["remove"], {"name": sink.name}).fetchone()
            if row is None:
                return None
            self._log(connection, sink, "remove sink", {**detail, "not_sent": int(row[0])})
        return int(row[0])

    def get(self, name: str) -> StoredSink | None:
        """Return a sink by its name."""
        with self._sessions.statement() as connection:
            row = connection.execute(self._queries["get"], {"name": name}).fetchone()
        return None if row is None else StoredSink(*row)

    def _log(
        self, connection: Connection, sink: StoredSink, kind: str, detail: dict[str, Any]
    ) -> None:
        concerned = connection.execute(
            self._queries["concerned"], {"categories": sink.categories}
        ).fetchall()
        for (category_id,) in concerned:
            add_event(connection, category_id, kind, detail)

    def sinks(self) -> list[SinkState]:
        """Return all sinks by name."""
        width = len(StoredSink._fields)
        with self._sessions.statement() as connection:
            rows = connection.execute(self._queries["list"]).fetchall()
        return [SinkState(StoredSink(*row[:width]), *row[width:]) for row in rows]

    def hold(self, holder: UUID, busy: Sequence[int], seconds: float) -> list[StoredSink]:
        """Take the sinks that have something to send, for some seconds; keep the busy ones.

        Returns
        -------
        list of StoredSink
            Those that the holder has now; a busy one that is missing is another's, or was removed.
        """
        parameters = {"holder": holder, "busy": list(busy), "seconds": seconds}
        with self._sessions.statement() as connection:
            rows = connection.execute(self._queries["hold"], parameters).fetchall()
        return [StoredSink(*row) for row in rows]

    def let_go(self, holder: UUID) -> None:
        """Let others have the sinks of a holder at once."""
        with self._sessions.statement() as connection:
            connection.execute(self._queries["let_go"], {"holder": holder})

    def due(self, sink_id: int, limit: int) -> list[DueInspection]:
        """Return what is to be sent to a sink now, oldest first."""
        with self._sessions.statement() as connection:
            rows = connection.execute(
                self._queries["due"], {"sink_id": sink_id, "limit": limit}
            ).fetchall()
        return [DueInspection(*row) for row in rows]

    def settle(
        self, sink_id: int, delivered: Sequence[DueInspection], refused: Sequence[Refusal]
    ) -> None:
        """Record what was sent, and what the receiver did not take."""
        with self._sessions.connection() as connection:
            connection.execute(
                self._queries["delivered"],
                {
                    "sink_id": sink_id,
                    "category_ids": [due.category_id for due in delivered],
                    "inspection_ids": [due.inspection_id for due in delivered],
                },
            )
            for due, error, seconds in refused:
                connection.execute(
                    self._queries["refused"],
                    {
                        "sink_id": sink_id,
                        "category_id": due.category_id,
                        "inspection_id": due.inspection_id,
                        "error": error,
                        "seconds": seconds,
                    },
                )
            if delivered:
                connection.execute(
                    self._queries["succeeded"], {"sink_id": sink_id, "count": len(delivered)}
                )

    def fail(self, sink_id: int, error: str, *, seconds: float, most: float) -> None:
        """Record that nothing can be sent at the moment.

        It is tried again after 1 s, then 2, 4, ... and at most `most` seconds; not before
        `seconds`.
        """
        with self._sessions.statement() as connection:
            connection.execute(
                self._queries["failed"],
                {"sink_id": sink_id, "error": error, "seconds": seconds, "most": most},
            )
