"""Who may use the service: keys, sessions of browsers, and how they were used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from patchbank.actors import current_actor
from patchbank.errors import LastAdminError
from patchbank.store import queries

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions

Role = Literal["operator", "engineer", "admin"]
#: Each may do what those before it may.
ROLES: tuple[Role, ...] = ("operator", "engineer", "admin")

#: The number under which requests without a valid key are counted.
NO_KEY = 0


class StoredKey(NamedTuple):
    """A key, without its secret."""

    key_id: int
    name: str
    role: Role
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    revoked_by: str | None
    last_used_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that commands and the service give."""
        return _document(self)


class KeyHolder(NamedTuple):
    """Whose secret or session it is."""

    key_id: int
    name: str
    role: Role
    secret_sha256: bytes
    revoked: bool


class KeyUse(NamedTuple):
    """How often a key was used in the hour of `last_at`; `outcome` is `allowed` or why not."""

    key_id: int
    address: str
    action: str
    outcome: str
    times: int
    last_at: datetime


class RecordedUse(NamedTuple):
    """A `KeyUse` as the database has it; the name is empty where there was no valid key."""

    hour: datetime
    name: str
    address: str
    action: str
    outcome: str
    times: int
    last_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that commands and the service give."""
        return _document(self)


class Access:
    """The keys of a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("access")

    def create(self, name: str, role: Role, secret_sha256: bytes) -> int | None:
        """Store a new key and return its number; None if a valid key has that name.

        Raises
        ------
        LastAdminError
            If there would be valid keys, and none of an admin.
        """
        parameters = {
            "name": name,
            "role": role,
            "secret_sha256": secret_sha256,
            "created_by": current_actor(),
        }
        with self._sessions.connection() as connection:
            connection.execute(self._queries["lock_admins"])
            row = connection.execute(self._queries["create"], parameters).fetchone()
            self._check_admin(connection)
        return None if row is None else int(row[0])

    def keys(self) -> list[StoredKey]:
        """Return all keys, valid ones first, by name."""
        with self._sessions.statement() as connection:
            rows = connection.execute(self._queries["list"]).fetchall()
        return [StoredKey(*row) for row in rows]

    def revoke(self, name: str) -> bool:
        """Revoke the valid key of a name; return whether there was one.

        Raises
        ------
        LastAdminError
            If other keys would be valid, and none of an admin.
        """
        parameters = {"name": name, "revoked_by": current_actor()}
        with self._sessions.connection() as connection:
            connection.execute(self._queries["lock_admins"])
            row = connection.execute(self._queries["revoke"], parameters).fetchone()
            if row is not None:
                self._check_admin(connection)
        return row is not None

    def _check_admin(self, connection: Connection) -> None:
        row = connection.execute(self._queries["without_admin"]).fetchone()
        if row == (True,):
            raise LastAdminError

    def any_key(self) -> bool:
        """Return whether there ever was a key: then the service asks for one."""
        with self._sessions.statement() as connection:
            row = connection.execute(self._queries["any_key"]).fetchone()
        return bool(row and row[0])

    def holder(self, secret_sha256: bytes, *, session: bool = False) -> KeyHolder | None:
        """Return whose secret has this hash, or whose session's token; revoked ones too."""
        statement = self._queries["by_session" if session else "by_secret"]
        with self._sessions.statement() as connection:
            row = connection.execute(statement, {"secret_sha256": secret_sha256}).fetchone()
        return None if row is None else KeyHolder(*row)

    def begin_session(self, token_sha256: bytes, key_id: int, seconds: float) -> None:
        """Store a session of a key's holder, valid for some seconds."""
        parameters = {"token_sha256": token_sha256, "key_id": key_id, "seconds": seconds}
        with self._sessions.connection() as connection:
            connection.execute(self._queries["end_old_sessions"])
            connection.execute(self._queries["begin_session"], parameters)

    def end_session(self, token_sha256: bytes) -> None:
        """Remove a session."""
        with self._sessions.statement() as connection:
            connection.execute(self._queries["end_session"], {"token_sha256": token_sha256})

    def count_uses(self, uses: Sequence[KeyUse], *, keep_days: int) -> None:
        """Add uses to those recorded, and forget those older than some days."""
        with self._sessions.connection() as connection:
            for use in uses:
                connection.execute(self._queries["use"], use._asdict())
            connection.execute(self._queries["forget_uses"], {"days": keep_days})

    def uses(self, name: str | None, limit: int) -> list[RecordedUse]:
        """Return the last recorded uses, of a key of this name or of all, newest first."""
        with self._sessions.statement() as connection:
            rows = connection.execute(
                self._queries["uses"], {"name": name, "limit": limit}
            ).fetchall()
        return [RecordedUse(*row) for row in rows]


def _document(row: StoredKey | RecordedUse) -> dict[str, Any]:
    return {
        name: value.astimezone().isoformat() if isinstance(value, datetime) else value
        for name, value in row._asdict().items()
    }
