"""Recorded inspections: listed, and written as CSV."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from io import StringIO
from itertools import islice
from typing import Any, TextIO

from patchbank.errors import ParameterError
from patchbank.inspection.keeping.moments import Moment, moment, zone_text
from patchbank.inspection.keeping.recorded import RecordedInspection, recorded
from patchbank.inspection.parts import checked_label
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted
from patchbank.spreadsheets import SafeWriter
from patchbank.store.inspections import (
    MOST_COUNTED,
    VERDICTS,
    BriefInspection,
    Receipt,
    Selected,
    Selection,
)

# Of CSV, written at a time.
_LINES = 1_000
_SAID = {"fail": "failed", "review": "to review", "pass": "passed"}
#: Of CSV.
CSV_COLUMNS = (
    "inspection_id",
    "inspected_at",
    "category",
    "image",
    "verdict",
    "score",
    "pass_below",
    "fail_above",
    "p_value",
    "bank_version",
    "sha256",
    "regions",
    "most_similar",
    "similarity",
    "part",
    "station",
    "review",
)


def make_selection(
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    verdicts: Sequence[str] = (),
    limit: int | None = None,
    part: str | None = None,
    station: str | None = None,
    inspection_id: int | None = None,
    reviewed: bool | None = None,
    before: RecordedInspection | None = None,
) -> Selection:
    """Return which inspections are meant.

    Parameters
    ----------
    since, until
        From this time on, and before that one; a day as `until` is included. See `moment`.
    verdicts
        By default all.
    limit
        Only the last ones, so many at most.
    part, station
        Of this part, and at this station.
    inspection_id
        Only this one.
    reviewed
        Only those that a person reviewed; with False, those that wait for review: they did not
        pass, and nobody has answered.
    before
        Recorded before this inspection, for page after page.

    Raises
    ------
    ParameterError
        If a value is out of range.
    """
    now = datetime.now().astimezone()
    for verdict in verdicts:
        if verdict not in VERDICTS:
            raise ParameterError(f"verdict {verdict!r}: must be one of {', '.join(VERDICTS)}")
    if reviewed is False:
        if "pass" in verdicts:
            raise ParameterError(
                "verdict pass: what passed waits for no review; leave the verdict out, or list "
                "what was reviewed and what was not"
            )
        verdicts = verdicts or ("review", "fail")
    if limit is not None and limit < 1:
        raise ParameterError(f"limit {limit}: must be at least 1")
    begin = None if since is None else moment(since, "since", now=now)
    end = None if until is None else moment(until, "until", now=now, end=True)
    if begin is not None and end is not None and begin >= end:
        raise ParameterError(
            f"since {since} is not before until {until}; no inspection can be in between"
        )
    return Selection(
        begin,
        end,
        tuple(verdicts) or VERDICTS,
        limit,
        None if part is None else checked_label(part, "part"),
        None if station is None else checked_label(station, "station"),
        inspection_id,
        reviewed,
        None if before is None else Receipt(before.inspection_id, before.inspected_at),
    )


def recorded_inspections(
    workspace: Workspace, category: str, selection: Selection
) -> list[RecordedInspection]:
    """Return the selected inspections of a category, oldest first.

    Raises
    ------
    UnknownCategoryError
        If there is no category of that name.
    """
    with open_inspections(workspace, category, selection) as found:
        return list(found.whole())


def count_verdicts(workspace: Workspace, category: str, selection: Selection) -> dict[str, int]:
    """Return how many of the selected inspections have each verdict.

    Raises
    ------
    UnknownCategoryError
        If there is no category of that name.
    """
    with workspace.database.inspections.selected(category, selection) as found:
        return {verdict: found.counts.get(verdict, 0) for verdict in VERDICTS}


def recent_stations(workspace: Workspace, category: str) -> list[str]:
    """Return the stations at which images were inspected lately, by name.

    Raises
    ------
    UnknownCategoryError
        If there is no category of that name.
    """
    return workspace.database.inspections.stations(category)


def newest(workspace: Workspace, category: str, selection: Selection) -> list[RecordedInspection]:
    """Return the last of the selected inspections of a category, newest first.

    Raises
    ------
    UnknownCategoryError
        If there is no category of that name.
    """
    page = workspace.database.inspections.page(category, selection)
    return [recorded(category, record) for record in page]


class InspectionList:
    """The selected inspections of a category, to print or to write; see `open_inspections`."""

    def __init__(self, category: str, selection: Selection, found: Selected) -> None:
        self._category, self._selection, self._found = category, selection, found

    def brief(self) -> Iterator[BriefInspection]:
        """Yield each in a line, oldest first, in local time."""
        for row in self._found.brief():
            yield row._replace(inspected_at=row.inspected_at.astimezone())

    def whole(self) -> Iterator[RecordedInspection]:
        """Yield all that is recorded of each, oldest first."""
        return (recorded(self._category, record) for record in self._found.whole())

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield each as a JSON object, oldest first."""
        return (inspection.to_json() for inspection in self.whole())

    def csv(self) -> Iterator[str]:
        """Yield CSV, some lines at a time: a heading and a line for each, oldest first."""
        text = StringIO()
        writer = SafeWriter(text)
        writer.writerow(CSV_COLUMNS)
        rows = self._found.texts()
        while True:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
            some = list(islice(rows, _LINES))
            if not some:
                return
            writer.writerows(
                (number, time.astimezone().isoformat(), self._category, *others)
                for number, time, *others in some
            )

    def write_csv(self, file: TextIO) -> None:
        """Write a heading and a line for each, oldest first."""
        file.writelines(self.csv())

    def summary(self) -> str:
        """Return in a sentence how many there are, how many failed, and the time zone."""
        counts, limit = self._found.counts, self._selection.limit
        count = sum(counts.values())
        if not count:
            return (
                "no inspections match; leave options such as --since and --verdict out to list all"
            )
        # With a limit, no more of a verdict are counted.
        most = MOST_COUNTED if limit is not None else count
        said = {name: min(counts[name], most) for name in _SAID if name in counts}
        more = {name: "more than " if counts[name] > most else "" for name in said}
        verdicts = ", ".join(f"{more[name]}{said[name]:,} {_SAID[name]}" for name in said)
        whole = f"{max(more.values())}{counted(sum(said.values()), 'inspection')}"
        capped = max(counts.values()) > most
        text = f"{whole}: {verdicts}; times are in {self.zone}"
        if limit is not None and (limit < count or capped):
            text = f"the last {limit:,} of {text}; --limit shows more"
        return text

    @property
    def zone(self) -> str:
        """The zone of the times."""
        return zone_text(datetime.now().astimezone())


@contextlib.contextmanager
def open_inspections(
    workspace: Workspace, category: str, selection: Selection
) -> Iterator[InspectionList]:
    """Yield the selected inspections of a category, to be read before the end.

    Raises
    ------
    UnknownCategoryError
        If there is no category of that name.
    """
    with workspace.database.inspections.selected(category, selection) as found:
        yield InspectionList(category, selection, found)
