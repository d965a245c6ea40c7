"""Keys of the service: made, listed, revoked, checked, and their use recorded."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from patchbank.errors import (
    AccessError,
    DatabaseError,
    ForbiddenError,
    LastAdminError,
    NotFoundError,
    ParameterError,
)
from patchbank.inspection.parts import checked_label
from patchbank.inspection.workspace import Workspace
from patchbank.store.access import NO_KEY, ROLES, KeyHolder, KeyUse, RecordedUse, Role, StoredKey

_log = logging.getLogger(__name__)

# What a secret begins with, so that people and scanners of leaked secrets know it.
_PREFIX = "pbk_"
# How long a check holds: a revoked key is refused after that at the latest.
_CHECK_SECONDS = 1.0
_MOST_CHECKED = 1_000
SESSION_SECONDS = 12 * 3600
_WRITE_SECONDS = 1.0
# Of one write; what is beyond is counted under one address.
_MOST_USES = 1_000
# Without a valid key, in an hour; somebody who tries keys may have any number of addresses.
_MOST_STRANGERS = 100
_KEEP_DAYS = 400


@dataclass(frozen=True)
class NewKey:
    """A key that was made; its secret is shown once and not stored."""

    name: str
    role: Role
    secret: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {"name": self.name, "role": self.role, "secret": self.secret}


def create_key(workspace: Workspace, name: str, role: str) -> NewKey:
    """Make a key for the service.

    Raises
    ------
    ParameterError
        If the name is not printable or a valid key has it, there is no such role, or it is another
        than admin while no valid key is an admin's: from the first key on, the service asks for
        one, and nobody could make another there.
    """
    name = checked_label(name, "name")
    if role not in ROLES:
        raise ParameterError(f"role {role!r}: must be one of {', '.join(ROLES)}")
    secret = _PREFIX + secrets.token_urlsafe(32)
    try:
        number = workspace.database.access.create(name, role, _digest(secret))
    except LastAdminError as error:
        raise ParameterError(
            f"role {role!r}: no key of an admin is valid, and without one nobody can manage the "
            "service; make one with the role admin first"
        ) from error
    if number is None:
        raise ParameterError(f"name {name!r}: a valid key has it; revoke that, or give another")
    return NewKey(name, role, secret)


def list_keys(workspace: Workspace) -> list[StoredKey]:
    """Return all keys, valid ones first, by name; never their secrets."""
    return workspace.database.access.keys()


def revoke_key(workspace: Workspace, name: str) -> None:
    """Revoke a key; running services refuse it after a second at the latest.

    Raises
    ------
    ParameterError
        If no valid key has that name.
    LastAdminError
        If it is the last of an admin, and others are valid: nobody could manage the service. The
        last key of all can be revoked.
    """
    name = name.strip()
    try:
        revoked = workspace.database.access.revoke(name)
    except LastAdminError as error:
        raise LastAdminError(
            f"name {name!r}: the last valid key of an admin, and without one nobody can manage the "
            "service; make another admin's key first, or revoke all others first"
        ) from error
    if not revoked:
        raise ParameterError(
            f"name {name!r}: no valid key has this name; `patchbank keys list` shows them"
        )


def revoke_key_number(workspace: Workspace, key_id: int) -> StoredKey:
    """Revoke a key by its number, and return it; see `revoke_key`.

    Raises
    ------
    NotFoundError
        If no valid key has that number.
    """
    valid = {key.key_id: key for key in list_keys(workspace) if key.revoked_at is None}
    if key_id not in valid:
        raise NotFoundError(f"there is no valid key with the number {key_id}")
    revoke_key(workspace, valid[key_id].name)
    return next(key for key in list_keys(workspace) if key.key_id == key_id)


def key_uses(
    workspace: Workspace, name: str | None = None, *, limit: int = 100
) -> list[RecordedUse]:
    """Return how keys were used, hour by hour, newest first; of one key, or of all.

    Requests without a valid key are among them, under an empty name.
    """
    if limit < 1:
        raise ParameterError(f"limit {limit}: must be at least 1")
    return workspace.database.access.uses(None if name is None else name.strip(), limit)


class Caller(NamedTuple):
    """Who uses the service: the name that changes are recorded under, and what it may do."""

    key_id: int
    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Return whether it has a role, or one that includes it."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Keyring:
    """Checks keys and sessions against the database, and records their use there. Thread-safe.

    A check holds for a second. Uses are written by a thread, together, once a second.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._checked: dict[tuple[bytes, bool], tuple[float, KeyHolder | None]] = {}
        self._uses: Counter[tuple[int, str, str, str]] = Counter()
        self._hour, self._strangers = 0.0, set[tuple[str, str]]()
        self._wanted: tuple[float, bool] | None = None
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="patchbank-uses", daemon=True)
        self._writer.start()

    @property
    def wanted(self) -> bool:
        """Whether a key is needed: from the first key on that was made."""
        now = time.monotonic()
        if self._wanted is None or (not self._wanted[1] and now - self._wanted[0] > _CHECK_SECONDS):
            self._wanted = now, self._workspace.database.access.any_key()
        return self._wanted[1]

    def remembers(self, secret: str | None, *, session: bool = False) -> bool:
        """Return whether `caller`, or without a secret `wanted`, will not ask the database."""
        now = time.monotonic()
        if secret is None:
            found = self._wanted
            return found is not None and (found[1] or now - found[0] <= _CHECK_SECONDS)
        with self._lock:
            checked = self._checked.get((_digest(secret), session))
        return checked is not None and now - checked[0] <= _CHECK_SECONDS

    def caller(self, secret: str, *, session: bool = False) -> Caller:
        """Return whose key this is, or whose session.

        Raises
        ------
        AccessError
            If there is no such key or session, or it was revoked or has ended.
        """
        digest = _digest(secret)
        holder = self._holder(digest, session)
        # The database found it by its hash; nobody can guess a secret by how long that takes.
        if holder is None or not hmac.compare_digest(holder.secret_sha256, digest):
            raise AccessError(
                "the session has ended; log in again" if session else "the key is not valid"
            )
        if holder.revoked:
            raise AccessError(f"the key {holder.name!r} was revoked; ask for another")
        return Caller(holder.key_id, holder.name, holder.role)

    def begin_session(self, caller: Caller) -> str:
        """Return the token of a new session of a key's holder."""
        token = secrets.token_urlsafe(32)
        self._workspace.database.access.begin_session(
            _digest(token), caller.key_id, SESSION_SECONDS
        )
        return token

    def end_session(self, token: str) -> None:
        """End a session at once, here, and elsewhere after a second at the latest."""
        digest = _digest(token)
        self._workspace.database.access.end_session(digest)
        with self._lock:
            self._checked.pop((digest, True), None)

    def count(self, caller: Caller | None, address: str, action: str, outcome: str) -> None:
        """Record a use, or a request that was refused."""
        key = NO_KEY if caller is None else caller.key_id
        with self._lock:
            if len(self._uses) >= _MOST_USES or (caller is None and self._crowd(address, action)):
                address = "others"
            self._uses[key, address, action, outcome] += 1

    def _crowd(self, address: str, action: str) -> bool:
        """Return whether so many asked without a key in this hour that another is not recorded."""
        hour = time.time() // 3600
        if hour != self._hour:
            self._hour, self._strangers = hour, set()
        if (address, action) not in self._strangers and len(self._strangers) >= _MOST_STRANGERS:
            return True
        self._strangers.add((address, action))
        return False

    def close(self) -> None:
        """Write what is counted, and end the thread."""
        self._closing.set()
        self._writer.join()

    def _holder(self, digest: bytes, session: bool) -> KeyHolder | None:
        now = time.monotonic()
        key = digest, session
        with self._lock:
            checked = self._checked.get(key)
        if checked is not None and now - checked[0] <= _CHECK_SECONDS:
            return checked[1]
        holder = self._workspace.database.access.holder(digest, session=session)
        with self._lock:
            if len(self._checked) >= _MOST_CHECKED:
                self._checked.clear()
            self._checked[key] = now, holder
        return holder

    def _write_on(self) -> None:
        while not self._closing.wait(_WRITE_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        with self._lock:
            uses, self._uses = self._uses, Counter()
        if not uses:
            return
        now = datetime.now(UTC)
        try:
            self._workspace.database.access.count_uses(
                [KeyUse(*key, count, now) for key, count in sorted(uses.items())],
                keep_days=_KEEP_DAYS,
            )
        except DatabaseError as error:
            _log.warning("the use of keys is recorded later: %s", error)
            with self._lock:
                self._uses.update(uses)


def check_role(caller: Caller, role: Role) -> None:
    """Raise `ForbiddenError` if a caller may not do what needs a role."""
    if not caller.may(role):
        raise ForbiddenError(
            f"the key {caller.name!r} has the role {caller.role}; this needs the role {role}"
        )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
