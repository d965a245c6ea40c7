"""How long inspections are kept, and the removal of older ones: whole months where possible."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from psycopg import errors

from patchbank.errors import DatabaseError, DiskFullError
from patchbank.store import queries
from patchbank.store.categories import add_event

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions

_log = logging.getLogger(__name__)

# Between two looks of a process.
_SECONDS = 3600.0
# Rows that one transaction deletes.
_ROWS = 10_000
# Below the limit by this much after a removal, so that not every hour removes a little.
_FILLED = 0.95
# A month waits that long for who uses the tables, and meanwhile makes recorders wait.
_LOCK_MILLISECONDS = 100
_BEGINNING = datetime(1, 1, 2, tzinfo=UTC)
# So often the command tries a month, a second apart.
_ATTEMPTS = 30


@dataclass(frozen=True)
class InspectionRetention:
    """How long inspections are kept: days, and bytes on the disk; None for no limit."""

    days: float | None = None
    bytes: int | None = None


KEEP_ALL = InspectionRetention()


@dataclass(frozen=True)
class PrunedMonth:
    """A month whose inspections go all together: its first day in UTC, and what it has."""

    first: datetime
    inspections: int
    size_bytes: int

    @property
    def next(self) -> datetime:
        """The first day of the next month."""
        return (self.first + timedelta(days=32)).replace(day=1)


@dataclass(frozen=True)
class RetentionPlan:
    """What is not kept any longer.

    Attributes
    ----------
    months
        Those that go as a whole.
    before
        In other months, inspections before this time; None for none.
    inspections
        How many these are.
    size_bytes
        What all inspections and their images take on the disk now.
    """

    months: tuple[PrunedMonth, ...]
    before: datetime | None
    inspections: int
    size_bytes: int

    @property
    def empty(self) -> bool:
        """Whether all is kept."""
        return not self.months and not self.inspections


class RetainedInspections:
    """Removes inspections that are not kept any longer, with their images."""

    def __init__(self, sessions: Sessions, retention: InspectionRetention) -> None:
        self._sessions = sessions
        self._retention = retention
        self._queries = queries.load("retention")
        self._due = 0.0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def enforce(self) -> None:
        """Remove what is not kept any longer in the background, at most once an hour.

        A role that does not own the tables removes nothing. What fails is only logged, and done
        an hour later.
        """
        if time.monotonic() < self._due or self._retention == KEEP_ALL:
            return
        self._due = time.monotonic() + _SECONDS
        self._thread = threading.Thread(
            target=self._enforce, name="patchbank-retention", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Let a removal in the background end after its current transaction, and wait for that."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def plan(self) -> RetentionPlan:
        """Return what is not kept any longer."""
        with self._sessions.connection(long=True, snapshot=True) as connection:
            now = self._now(connection)
            sizes = {
                None if month is None else month.replace(tzinfo=UTC): size
                for month, size in connection.execute(self._queries["months"])
            }
            current = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            past = [first for first in sizes if first is not None and first < current]
            before = None
            if self._retention.days is not None:
                # A day at a time: a little every hour would fill the log of events.
                before = (now - timedelta(days=self._retention.days)).replace(
                    hour=0, minute=0, second=0, microsecond=0
                )
            leaving = [first for first in past if before is not None and _next(first) <= before]
            if self._retention.bytes is not None:
                left = sum(sizes.values()) - sum(sizes[first] for first in leaving)
                for first in past:
                    if left > self._retention.bytes and first not in leaving:
                        leaving.append(first)
                        left -= sizes[first]
                if left > self._retention.bytes:
                    cut = self._cut(connection, current, self._retention.bytes)
                    before = max(filter(None, (before, cut)), default=None)
            months = tuple(
                PrunedMonth(first, self._count(connection, first, _next(first)), sizes[first])
                for first in leaving
            )
            # The others are later than the months that go.
            first = max((month.next for month in months), default=_BEGINNING)
            count = 0
            if before is not None and first < before:
                count = self._count(connection, first, before)
        return RetentionPlan(months, before if count else None, count, sum(sizes.values()))

    def remove(self, plan: RetentionPlan, *, attempts: int = _ATTEMPTS) -> None:
        """Remove what a plan says, in many short transactions.

        Raises
        ------
        DatabaseError
            If this role does not own the tables, or they were in use all the time.
        """
        if not self._may_prune():
            raise DatabaseError(
                "this role may not remove inspections; use the role that owns the tables"
            )
        for month in plan.months:
            if not self._closing.is_set():
                self._remove_month(month, attempts)
        while plan.before is not None and not self._closing.is_set():
            if self._delete_some(plan.before) < _ROWS:
                break

    def _now(self, connection: Connection) -> datetime:
        # By the clock that dated the inspections: that of a station may be years ahead.
        row = connection.execute(self._queries["now"]).fetchone()
        assert row is not None
        found: datetime = row[0]
        return found.astimezone(UTC)

    def _enforce(self) -> None:
        try:
            if self._may_prune():
                self.remove(self.plan(), attempts=1)
        except (DatabaseError, DiskFullError) as error:
            _log.info("old inspections are removed later: %s", error)

    def _may_prune(self) -> bool:
        with self._sessions.statement() as connection:
            row = connection.execute(self._queries["may_prune"]).fetchone()
        return row is not None and bool(row[0])

    def _cut(self, connection: Connection, first: datetime, limit: int) -> datetime | None:
        """Return from when on the inspections of this month fit; None if all do.

        The size on the disk does not say: it does not shrink when rows are deleted, because others
        take their place.
        """
        hours = connection.execute(self._queries["by_hour"], {"first": first}).fetchall()
        if sum(size for _, size in hours) <= limit:
            return None
        kept: datetime = hours[0][0]
        taken = 0
        for hour, size in hours:
            taken += size
            if taken > _FILLED * limit:
                break
            kept = hour
        return kept.astimezone(UTC)

    def _count(self, connection: Connection, first: datetime, following: datetime) -> int:
        row = connection.execute(
            self._queries["count"], {"first": first, "next": following}
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _remove_month(self, month: PrunedMonth, attempts: int) -> None:
        name = f"{month.first:%Y_%m}"
        statement = queries.compose(
            self._queries["drop_month"],
            inspections=f"inspection_{name}",
            images=f"inspection_image_{name}",
        )
        for attempt in range(attempts):
            if attempt:
                time.sleep(1)
            with self._sessions.connection(long=True) as connection:
                if not self._locked(connection):
                    return
                try:
                    bounds = {"first": month.first, "next": month.next}
                    counts = connection.execute(self._queries["count_by_category"], bounds)
                    removed = counts.fetchall()
                    with connection.transaction():
                        # First, as it waits for who changes the category.
                        self._log_events(connection, removed, {"month": f"{month.first:%Y-%m}"})
                        wait = f"set local lock_timeout to {_LOCK_MILLISECONDS}"
                        connection.execute(wait.encode())
                        connection.execute(statement)
                except errors.LockNotAvailable:
                    continue
                except errors.UndefinedTable:
                    # Another process was faster.
                    return
            _log.info("removed the inspections of %s", name)
            return
        raise DatabaseError(
            f"the inspections of {name} cannot be removed while other sessions use the tables; "
            "try again later"
        )

    def _delete_some(self, before: datetime) -> int:
        with self._sessions.connection(long=True) as connection:
            if not self._locked(connection):
                return 0
            removed = connection.execute(
                self._queries["delete_some"], {"before": before, "most": _ROWS}
            ).fetchall()
            self._log_events(connection, removed, {"before": before.isoformat()})
        return sum(count for _, count in removed)

    def _locked(self, connection: Connection) -> bool:
        row = connection.execute(self._queries["lock"]).fetchone()
        return row is not None and bool(row[0])

    def _log_events(
        self, connection: Connection, removed: Sequence[tuple[Any, ...]], detail: dict[str, Any]
    ) -> None:
        for category_id, count in sorted(removed):
            add_event(
                connection, category_id, "remove inspections", {**detail, "inspections": count}
            )


def _next(first: datetime) -> datetime:
    return PrunedMonth(first, 0, 0).next
