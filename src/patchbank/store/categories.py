"""Categories of inspected parts."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from patchbank.actors import current_actor
from patchbank.errors import BankInMakingError, ParameterError, UnknownCategoryError
from patchbank.spelling import composed, nearest
from patchbank.store import queries
from patchbank.store.indexes import Indexes
from patchbank.store.jobs import MAKE_BANKS, SILENCE_SECONDS
from patchbank.store.notices import announce

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions

_log = logging.getLogger(__name__)

MAX_NAME_LENGTH = 100
#: More inspections of a category than these are not counted: their number is estimated.
MOST_COUNTED = 100_000
# Children before parents.
_REMOVED_TABLES = (
    "patches",
    "changes_of_patches",
    "references",
    "changes_of_references",
    "scores",
    "features",
    "neighbours",
    "graphs",
    "likeness",
    "quarantine",
    "defects",
    "reviews",
    "watched_files",
    "answered_requests",
    "outbox",
    "inspections",
    "inspection_images",
    "images",
    "banks",
    "category",
)


# What is told of a removal.
_COUNTED_TABLES = ("banks", "images", "patches", "inspections", "defects")


@dataclass(frozen=True)
class Category:
    """A category with a summary of its active bank; the bank's fields are None without one.

    Above `MOST_COUNTED` the number of inspections is the estimate of the server's statistics.
    """

    name: str
    created_at: datetime
    bank_version: int | None
    image_count: int | None
    patch_count: int | None
    fitted_at: datetime | None
    inspection_count: int
    inspections_estimated: bool = False


@dataclass(frozen=True)
class RemovedRows:
    """Numbers of removed rows."""

    banks: int
    images: int
    patches: int
    inspections: int
    defects: int


class Categories:
    """The categories of a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._indexes = Indexes(sessions)
        self._queries = queries.load("categories")

    def list(self) -> list[Category]:
        """Return all categories by name."""
        with self._sessions.connection() as connection:
            return [*self._found(connection, None)]

    def names(self) -> tuple[str, ...]:
        """Return the names of all categories in order, without counting what they have."""
        with self._sessions.statement() as connection:
            return tuple(name for (name,) in connection.execute(self._queries["names"]))

    def check(self, name: str) -> None:
        """Raise UnknownCategoryError if a category does not exist."""
        with self._sessions.connection() as connection:
            find_category(connection, name)

    def get(self, name: str) -> Category:
        """Return a category.

        Raises
        ------
        UnknownCategoryError
            When it does not exist.
        """
        with self._sessions.connection() as connection:
            found = self._found(connection, composed(name))
            if not found:
                raise unknown_category(connection, name)
        return found[0]

    def _found(self, connection: Connection, name: str | None) -> Sequence[Category]:
        parameters = {"name": name, "most": MOST_COUNTED + 1}
        found = []
        for category_id, *fields in connection.execute(self._queries["list"], parameters):
            category = Category(*fields)
            if category.inspection_count > MOST_COUNTED:
                statement = queries.compose(
                    self._queries["estimate_inspections"], category_id=category_id
                )
                row = connection.execute(statement).fetchone()
                assert row is not None
                count = max(category.inspection_count, int(row[0][0]["Plan"]["Plan Rows"]))
                category = replace(category, inspection_count=count, inspections_estimated=True)
            found.append(category)
        return found

    def remove(self, name: str) -> RemovedRows:
        """Remove a category and all its data for good, in one transaction; its events stay.

        Raises
        ------
        UnknownCategoryError
            When it does not exist.
        BankInMakingError
            When a job is making a bank of it, which would make the category again.
        """
        category_id, removed = self._sessions.removing(lambda: self._remove(name))
        self._sessions.removing(lambda: self._indexes.drop_retired(category_id, None))
        return removed

    def _remove(self, name: str) -> tuple[int, RemovedRows]:
        with self._sessions.connection(long=True) as connection:
            name = composed(name)
            found = connection.execute(self._queries["lock_to_remove"], {"name": name}).fetchone()
            if found is None:
                raise unknown_category(connection, name)
            self._check_no_job(connection, name)
            connection.execute(self._queries["lock_banks_to_remove"], {"category_id": found[0]})
            removed = {
                table: connection.execute(
                    self._queries[f"remove_{table}"], {"category_id": found[0]}
                ).rowcount
                for table in _REMOVED_TABLES
            }
            detail = {"category": name, **{table: removed[table] for table in _COUNTED_TABLES}}
            add_event(connection, found[0], "remove", detail)
            announce(connection, name, None)
        _log.info("category %r: removed with all its data", name)
        return found[0], RemovedRows(**{table: removed[table] for table in _COUNTED_TABLES})

    def _check_no_job(self, connection: Connection, name: str) -> None:
        job = connection.execute(
            self._queries["bank_in_making"],
            {"name": name, "kinds": list(MAKE_BANKS), "silence": SILENCE_SECONDS},
        ).fetchone()
        if job is not None:
            job_id, kind, state = job
            raise BankInMakingError(
                f"category {name!r}: job {job_id}, which makes a bank of it ({kind}), is {state}; "
                f"cancel it (`POST /v1/jobs/{job_id}/cancel`) or wait until it has ended, then "
                "remove the category"
            )


def checked_category_name(name: str) -> str:
    """Return a category's name as it is stored, `composed`, or raise ParameterError."""
    name = composed(name)
    if not name.strip():
        raise ParameterError("the category name must not be empty")
    if name != name.strip():
        raise ParameterError(f"the category name {name!r} must not begin or end with a space")
    if len(name) > MAX_NAME_LENGTH:
        raise ParameterError(
            f"the category name {name[:20]!r}... has {len(name)} characters; "
            f"use at most {MAX_NAME_LENGTH}"
        )
    # Names are used in report paths, in URLs and on terminals.
    if "/" in name or "\\" in name or name in (".", ".."):
        raise ParameterError(f"the category name {name!r} must not contain a slash or be a dot")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise ParameterError(f"the category name {name!r} must not contain control characters")
    return name


def lock_category(connection: Connection, name: str) -> int:
    """Lock the category's banks and return its id; create the category if missing."""
    name = composed(name)
    statements = queries.load("categories")
    while True:
        connection.execute(statements["ensure"], {"name": name})
        row = connection.execute(statements["lock"], {"name": name}).fetchone()
        if row is not None:
            return int(row[0])
        # It was removed while we waited for the lock: try again.


def find_category(connection: Connection, name: str) -> int:
    """Return the category's id or raise UnknownCategoryError."""
    row = connection.execute(
        queries.load("categories")["find"], {"name": composed(name)}
    ).fetchone()
    if row is None:
        raise unknown_category(connection, name)
    return int(row[0])


def add_event(connection: Connection, category_id: int, kind: str, detail: dict[str, Any]) -> None:
    """Record who changed what."""
    connection.execute(
        queries.load("categories")["add_event"],
        {
            "category_id": category_id,
            "kind": kind,
            "actor": current_actor(),
            "detail": Jsonb(detail),
        },
    )


def unknown_category(connection: Connection, name: str) -> UnknownCategoryError:
    """Return the error for a category that does not exist, with the closest name."""
    rows = connection.execute(queries.load("categories")["names"]).fetchall()
    close = nearest(composed(name), (stored for (stored,) in rows))
    meant = f"; did you mean {close!r}?" if close else ";"
    return UnknownCategoryError(
        f"there is no category {name!r}{meant} `patchbank categories` lists all categories"
    )
