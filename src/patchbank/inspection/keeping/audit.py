"""The event log: listed, written as CSV, and verified."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from patchbank.errors import ParameterError
from patchbank.inspection.keeping.pages import Page, page_of
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted
from patchbank.spreadsheets import SafeWriter
from patchbank.store.events import FIRST, Event, EventLog, LoggedCategory

_COLUMNS = (
    "category",
    "position",
    "happened_at",
    "actor",
    "kind",
    "detail",
    "previous_hash",
    "hash",
)


@dataclass(frozen=True)
class LoggedEvent:
    """An event of a category; see `patchbank.store.events.Event`."""

    category: LoggedCategory
    event: Event

    @property
    def detail(self) -> str:
        """What else is known, in a line of JSON."""
        return json.dumps(self.event.detail, ensure_ascii=False)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {
            "category": self.category.name,
            "category_id": self.category.category_id,
            "position": self.event.position,
            "happened_at": self.event.happened_at.astimezone().isoformat(),
            "actor": self.event.actor,
            "kind": self.event.kind,
            "detail": self.event.detail,
            "previous_hash": self.event.previous_hash,
            "hash": self.event.hash,
        }


class Audit:
    """The events of a category or of all, to print or to write; see `open_audit`."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def events(self) -> Iterator[LoggedEvent]:
        """Yield the events, category by category, oldest first."""
        for category in self._log.categories:
            for event in self._log.events(category.category_id):
                yield LoggedEvent(category, event)

    def write_csv(self, file: TextIO) -> None:
        """Write a heading and a line for each event."""
        writer = SafeWriter(file)
        writer.writerow(_COLUMNS)
        for logged in self.events():
            document = {**logged.to_json(), "detail": logged.detail}
            writer.writerow([document[column] for column in _COLUMNS])


@contextlib.contextmanager
def open_audit(workspace: Workspace, category: str | None) -> Iterator[Audit]:
    """Yield the events of a category, or of all, removed ones too, to be read before the end.

    Raises
    ------
    UnknownCategoryError
        If there is no category of that name.
    """
    with workspace.database.events.opened(category) as log:
        yield Audit(log)


def list_logs(workspace: Workspace) -> list[LoggedCategory]:
    """Return the categories that have events, by name, those that were removed last."""
    with workspace.database.events.opened(None) as log:
        return sorted(log.categories, key=lambda found: found.removed)


def list_events(
    workspace: Workspace, category: str | int, *, limit: int, before: int | None = None
) -> Page:
    """Return the events of a category, the newest first.

    Parameters
    ----------
    category
        Its name, or its number, also of one that was removed.
    limit
        How many at most.
    before
        The position of the last event of the page before; None for the first page.

    Raises
    ------
    UnknownCategoryError
        If there is no category of that name.
    NotFoundError
        If there never was one with this number.
    """
    logged, events = workspace.database.events.page(category, limit=limit + 1, before=before)
    return page_of(
        events,
        limit,
        lambda event: LoggedEvent(logged, event).to_json(),
        lambda event: event.position,
    )


@dataclass(frozen=True)
class VerifiedLog:
    """What a verification found in a category's log.

    Attributes
    ----------
    events
        How many there are, up to the first problem.
    head
        The hash of the last of them, in hexadecimal: keep it elsewhere, to expect it later.
    problem
        The first event that was changed or is missing, in words; None if the log is intact.
    expected_found
        Whether one of them has the expected hash.
    """

    category: LoggedCategory
    events: int
    head: str
    problem: str | None
    expected_found: bool

    @property
    def text(self) -> str:
        """What was found, in a line."""
        name = self.category.name + (" (removed)" if self.category.removed else "")
        if self.problem is not None:
            return f"{name}: {self.problem}"
        return f"{name}: {counted(self.events, 'event')} as they were written, head {self.head}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {
            "category": self.category.name,
            "category_id": self.category.category_id,
            "removed": self.category.removed,
            "events": self.events,
            "head": self.head,
            "problem": self.problem,
        }


@dataclass(frozen=True)
class Verification:
    """What a verification found in all logs; `missing` is an expected hash that none has."""

    logs: tuple[VerifiedLog, ...]
    missing: str | None

    @property
    def passed(self) -> bool:
        """Whether all is as it was written."""
        return self.missing is None and all(log.problem is None for log in self.logs)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {
            "passed": self.passed,
            "missing": self.missing,
            "logs": [log.to_json() for log in self.logs],
        }


def verify_log(
    workspace: Workspace, category: str | None = None, *, expect: str | None = None
) -> Verification:
    """Compute the hashes of all events again.

    Parameters
    ----------
    category
        By default all, removed ones too.
    expect
        A head that an earlier verification gave: it must still be in a log, else events at the end
        were removed or written anew.

    Raises
    ------
    UnknownCategoryError
        If there is no category of that name.
    ParameterError
        If what is expected is not a hash.
    """
    if expect is not None:
        expect = expect.strip().lower()
        if re.fullmatch("[0-9a-f]{64}", expect) is None:
            raise ParameterError(
                f"expect {expect!r}: is not a hash; give the 64 digits that `patchbank audit "
                "verify` printed"
            )
    with workspace.database.events.opened(category) as log:
        logs = tuple(_verified(log, found, expect) for found in log.categories)
    seen = expect is None or any(verified.expected_found for verified in logs)
    return Verification(logs, None if seen else expect)


def _verified(log: EventLog, category: LoggedCategory, expect: str | None) -> VerifiedLog:
    count, head, seen, problem = 0, FIRST, False, None
    newest = 0
    for event in log.events(category.category_id):
        problem = _problem(event, count + 1, head)
        if problem is not None:
            break
        count, head = event.position, event.hash
        seen = seen or head == expect
        newest = max(newest, int(event.detail.get("version", 0)))
    # Who removes events from the end leaves what they tell of.
    if problem is None and category.newest_version is not None and category.newest_version > newest:
        problem = (
            f"no event tells of version {category.newest_version} of the bank: events after event "
            f"{count} were removed"
        )
    return VerifiedLog(category, count, head, problem, seen)


def _problem(event: Event, position: int, head: str) -> str | None:
    if event.position != position:
        return f"event {position} is missing; the next is event {event.position}"
    said = (
        f"event {position} ({event.kind}, {event.happened_at:%Y-%m-%d %H:%M:%S} UTC, {event.actor})"
    )
    if event.previous_hash != head:
        return f"{said} does not follow event {position - 1}: one of them was changed"
    if event.computed_hash() != event.hash:
        return f"{said} was changed: its hash does not belong to its content"
    return None
