"""Requests that may come again: each is answered once, and what it changed is changed once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.types.json import Jsonb

from patchbank.store import queries

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions

#: For how long a request that comes again gets its first answer.
ANSWER_SECONDS = 24 * 3600.0
_FORGET_SECONDS = 60.0


class RequestKey(NamedTuple):
    """The hash of the key under which a client sends a request, and of all that it asks."""

    key_sha256: bytes
    request_sha256: bytes


class Answered(NamedTuple):
    """The hash of a request that was answered, and its answer as JSON."""

    request_sha256: bytes
    answer: dict[str, Any]


class AlreadyAnsweredError(Exception):
    """The request was answered before: what was done for it again must be undone."""


class AnsweredRequests:
    """The answers that were given; a base of `Inspections`."""

    _sessions: Sessions
    # When old answers of a category were forgotten last, here.
    _forgot_at: dict[int, float]

    def answered(self, category: str, key_sha256: bytes) -> Answered | None:
        """Return what was answered under a key within a day; None if nothing was."""
        parameters = {"category": category, "key_sha256": key_sha256, "seconds": ANSWER_SECONDS}
        with self._sessions.statement() as connection:
            row = connection.execute(
                queries.load("answered_requests")["find"], parameters
            ).fetchone()
        return None if row is None else Answered(*row)

    def keep_answer(
        self, connection: Connection, category_id: int, key: RequestKey, answer: dict[str, Any]
    ) -> None:
        """Keep the answer of a request in the transaction that does what it asks.

        Another transaction that answers it is waited for.

        Raises
        ------
        AlreadyAnsweredError
            If it has an answer.
        """
        statements = queries.load("answered_requests")
        parameters = {
            "category_id": category_id,
            **key._asdict(),
            "answer": Jsonb(answer),
            "seconds": ANSWER_SECONDS,
        }
        if connection.execute(statements["insert"], parameters).fetchone() is None:
            raise AlreadyAnsweredError
        now = time.monotonic()
        forgot_at = self._forgot_at.get(category_id)
        if forgot_at is None or now - forgot_at > _FORGET_SECONDS:
            self._forgot_at[category_id] = now
            connection.execute(statements["forget"], parameters)
