"""Inspections: judged images, recorded for traceability."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg import errors

from patchbank.errors import BankGoneError, NotFoundError
from patchbank.store import queries
from patchbank.store.answered_requests import AnsweredRequests
from patchbank.store.categories import find_category
from patchbank.store.inspection_images import ImageContent, InspectionImages, insert_images
from patchbank.store.inspection_rows import parameters_of
from patchbank.store.months import Months
from patchbank.store.queries import as_bigint
from patchbank.store.retention import InspectionRetention, RetainedInspections
from patchbank.store.watched_files import WatchedFile, insert_watched

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions

VERDICTS = ("pass", "review", "fail")
# A list of the last ones counts no more of a verdict.
MOST_COUNTED = 5_000
# Rows that a cursor fetches at a time.
_ROWS = 5_000


@dataclass(frozen=True)
class InspectionRecord:
    """A judged image as stored in the database.

    Attributes
    ----------
    category_id, bank_version
        The bank that judged it, by id, because the category name may since have been reused.
    image_name
        As the user named it.
    sha256
        Of the image's content, in hexadecimal.
    verdict
        ``pass``, ``review`` or ``fail``.
    score, pass_below, fail_above, p_value
        The basis of the verdict.
    regions, similar, timings_ms
        As JSON values.
    inspection_id, inspected_at
        Set by the database; None until recorded.
    part, station
        The inspected part and where it was inspected, as the user named them, if so.
    brightness, sharpness
        Of the image; None where not measured.
    grid_rows, grid_columns, outside
        Of each patch of the grid, row by row, a bit (the first is the highest of a byte): whether
        it is farther from the bank than the covering radius; None where not measured.
    width, height
        Of the image, in pixels; this and the following are None, or empty, in inspections recorded
        before they were kept.
    calibration_images, independent_references
        How many images of good parts the p-value compares with, and how many are independent.
    actor
        On whose behalf it was judged.
    likeness, similar_defects, probable_defect
        As JSON values: what likeness to recorded defects did to the score, the most similar ones,
        and what the strongest region probably is.
    remarks
        What one should know of it.
    extractor
        As JSON values: ``fingerprint``, ``backbone``, ``layers``, ``image_size``, ``center_crop``,
        ``scale`` and ``precision`` of the bank's extractor. Read only.
    review
        The last answer of a person, its label, who gave it and when; None without. Read only.
    image_kept
        Whether the image is in the database too. Read only.
    watched
        The file of a watched folder that was judged, if it was one. Write only.
    """

    category_id: int
    bank_version: int
    image_name: str
    sha256: str
    verdict: str
    score: float
    pass_below: float
    fail_above: float
    p_value: float | None = None
    regions: Sequence[dict[str, Any]] = ()
    similar: Sequence[dict[str, Any]] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
    inspection_id: int | None = None
    inspected_at: datetime | None = None
    part: str | None = None
    station: str | None = None
    brightness: float | None = None
    sharpness: float | None = None
    grid_rows: int | None = None
    grid_columns: int | None = None
    outside: bytes | None = None
    width: int | None = None
    height: int | None = None
    calibration_images: int | None = None
    independent_references: int | None = None
    actor: str | None = None
    likeness: dict[str, Any] | None = None
    similar_defects: Sequence[dict[str, Any]] = ()
    probable_defect: dict[str, Any] | None = None
    remarks: Sequence[str] = ()
    extractor: dict[str, Any] | None = None
    review: dict[str, Any] | None = None
    image_kept: bool = False
    watched: WatchedFile | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict is {self.verdict!r}, expected one of {VERDICTS}")
        if len(bytes.fromhex(self.sha256)) != 32:
            raise ValueError(f"sha256 is {self.sha256!r}, expected 64 hexadecimal digits")

    @property
    def share_outside(self) -> float | None:
        """The share of patches of the grid that are outside; None where not measured."""
        if self.outside is None or not self.grid_rows or not self.grid_columns:
            return None
        return int.from_bytes(self.outside).bit_count() / (self.grid_rows * self.grid_columns)


class _MonthMadeError(Exception):
    """A row was bound for the default partition when another session made that of its month."""


class Receipt(NamedTuple):
    """The number and the time that the database gave to an inspection."""

    inspection_id: int
    inspected_at: datetime


class BriefInspection(NamedTuple):
    """A recorded inspection in a line."""

    inspected_at: datetime
    image: str
    verdict: str
    score: float
    fail_above: float
    p_value: float | None
    bank_version: int
    inspection_id: int
    part: str | None
    station: str | None
    review: str | None


@dataclass(frozen=True)
class Selection:
    """Which of a category's inspections.

    Attributes
    ----------
    since, until
        From this time on, and before that one.
    verdicts
        With these verdicts.
    limit
        Only the last ones, so many at most.
    part, station
        Of this part, and at this station.
    inspection_id
        Only this one.
    reviewed
        Only those that a person answered; with False, only those that wait for an answer: they did
        not pass, and have none.
    before
        Recorded before this one: a page ends where the page before it begins.
    """

    since: datetime | None = None
    until: datetime | None = None
    verdicts: Sequence[str] = VERDICTS
    limit: int | None = None
    part: str | None = None
    station: str | None = None
    inspection_id: int | None = None
    reviewed: bool | None = None
    before: Receipt | None = None

    def parameters(self, category_id: int) -> dict[str, Any]:
        """Return the parameters of the queries."""
        return {
            "category_id": category_id,
            "since": self.since,
            "first_id": 0,
            "until": self.until,
            "verdicts": list(self.verdicts),
            "limit": as_bigint(self.limit),
            "part": self.part,
            "station": self.station,
            "inspection_id": as_bigint(self.inspection_id),
            "reviewed": self.reviewed,
            "before": None if self.before is None else self.before.inspected_at,
            "before_id": None if self.before is None else self.before.inspection_id,
        }


class Selected:
    """The selected inspections, oldest first, as of one moment."""

    def __init__(self, connection: Connection, category_id: int, selection: Selection) -> None:
        self._connection = connection
        self._queries = queries.load("inspections")
        self._parameters = selection.parameters(category_id)
        # All are read anyway where there is no limit.
        most = None if selection.limit is None else MOST_COUNTED + 1
        counts = connection.execute(self._queries["counts"], {**self._parameters, "most": most})
        #: How many there are of each verdict, whatever the limit. With one, no more are counted
        #: than show that there are more than `MOST_COUNTED`.
        self.counts: dict[str, int] = dict(counts.fetchall())
        if selection.limit is not None:
            oldest = connection.execute(self._queries["oldest"], self._parameters).fetchone()
            if oldest is not None:
                self._parameters["since"], self._parameters["first_id"] = oldest

    def whole(self) -> Iterator[InspectionRecord]:
        """Yield all that is recorded of each."""
        return (InspectionRecord(*row) for row in self._rows("whole"))

    def brief(self) -> Iterator[BriefInspection]:
        """Yield each in a line."""
        return (BriefInspection(*row) for row in self._rows("brief"))

    def texts(self) -> Iterator[tuple[Any, ...]]:
        """Yield each as a tuple of texts and, second, its time; of the similar only the first."""
        return self._rows("csv")

    def _rows(self, name: str) -> Iterator[tuple[Any, ...]]:
        with self._connection.cursor(name=name) as cursor:
            cursor.itersize = _ROWS
            cursor.execute(self._queries[name], self._parameters)
            yield from cursor


class Inspections(InspectionImages, AnsweredRequests):
    """The inspections of a database."""

    def __init__(self, sessions: Sessions, retention: InspectionRetention) -> None:
        self._sessions = sessions
        self._forgot_at: dict[int, float] = {}
        self._queries = queries.load("inspections")
        self._months = Months(sessions)
        #: Removes those that are not kept any longer.
        self.retained = RetainedInspections(sessions, retention)

    def record_many(
        self,
        inspections: Sequence[InspectionRecord],
        images: Callable[[], Iterable[tuple[int, ImageContent]]] | None = None,
        beside: Callable[[Connection, list[Receipt]], None] | None = None,
        *,
        deliver: bool = False,
    ) -> list[Receipt]:
        """Record inspections in one transaction, all or none; return a receipt for each.

        Parameters
        ----------
        images
            Yields the images to keep, each with the position of its inspection; None for none.
        beside
            Does more in the same transaction; if it fails, nothing is recorded.
        deliver
            Whether sinks get them.

        Raises
        ------
        BankGoneError
            If one of the banks was removed in the meantime.
        JudgedElsewhereError
            If a file of a watched folder was judged already.
        """
        if not inspections:
            return []
        parameters = {**parameters_of(inspections), "deliver": deliver}
        try:
            receipts = self._insert(inspections, parameters, images, beside)
        except _MonthMadeError:
            receipts = self._insert(inspections, parameters, images, beside, again=True)
        self._months.make_ahead()
        self.retained.enforce()
        return receipts

    def _insert(
        self,
        inspections: Sequence[InspectionRecord],
        parameters: dict[str, Any],
        images: Callable[[], Iterable[tuple[int, ImageContent]]] | None,
        beside: Callable[[Connection, list[Receipt]], None] | None,
        *,
        again: bool = False,
    ) -> list[Receipt]:
        # A single statement takes one round trip, a transaction three.
        alone = images is None and beside is None and all(i.watched is None for i in inspections)
        lent = self._sessions.statement() if alone else self._sessions.connection()
        with lent as connection:
            try:
                rows = connection.execute(self._queries["record"], parameters).fetchall()
                if len(rows) != len(inspections):
                    raise BankGoneError
                # Numbered in the order in which they were inserted.
                receipts = [Receipt(*row) for row in sorted(rows)]
                if images is not None:
                    insert_images(connection, inspections, receipts, images())
                insert_watched(connection, inspections, receipts)
                if beside is not None:
                    beside(connection, receipts)
            except errors.ForeignKeyViolation as error:
                # It was being removed just then.
                raise BankGoneError from error
            except errors.CheckViolation as error:
                # The bounds of a partition are a constraint without a name.
                if again or error.diag.constraint_name is not None:
                    raise
                raise _MonthMadeError from error
        return receipts

    def recent(self, category: str, limit: int = 100) -> list[InspectionRecord]:
        """Return a category's last inspections, newest first.

        Raises
        ------
        UnknownCategoryError
            When the category does not exist.
        """
        return self.page(category, Selection(limit=limit))

    def several(self, category_id: int, receipts: Sequence[Receipt]) -> dict[int, InspectionRecord]:
        """Return those of these inspections of a category that there are, by number."""
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["several"],
                {
                    "category_id": category_id,
                    "inspection_ids": [receipt.inspection_id for receipt in receipts],
                    "times": [receipt.inspected_at for receipt in receipts],
                },
            ).fetchall()
        records = [InspectionRecord(*row) for row in rows]
        return {record.inspection_id: record for record in records if record.inspection_id}

    def get(self, category: str, inspection_id: int) -> InspectionRecord:
        """Return an inspection by its number.

        Raises
        ------
        UnknownCategoryError, NotFoundError
            When there is no such category, or it has no such inspection.
        """
        with self._sessions.connection() as connection:
            row = connection.execute(
                self._queries["get"],
                {
                    "category_id": find_category(connection, category),
                    "inspection_id": as_bigint(inspection_id),
                },
            ).fetchone()
        if row is None:
            raise NotFoundError(
                f"category {category!r} has no inspection {inspection_id}; `patchbank inspections "
                f"{category}` lists them"
            )
        return InspectionRecord(*row)

    def page(self, category: str, selection: Selection) -> list[InspectionRecord]:
        """Return the last of the selected inspections, newest first.

        For the next page, select those before the last one of this page.

        Raises
        ------
        UnknownCategoryError
            When the category does not exist.
        """
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["page"],
                selection.parameters(find_category(connection, category)),
            ).fetchall()
        return [InspectionRecord(*row) for row in rows]

    def stations(self, category: str) -> list[str]:
        """Return the stations of the last thousand inspections, by name.

        Raises
        ------
        UnknownCategoryError
            When the category does not exist.
        """
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["stations"], {"category_id": find_category(connection, category)}
            ).fetchall()
        return [station for (station,) in rows]

    @contextlib.contextmanager
    def selected(self, category: str, selection: Selection) -> Iterator[Selected]:
        """Yield the selected inspections, to be read before the end.

        Raises
        ------
        UnknownCategoryError
            When the category does not exist.
        """
        with self._sessions.connection(long=True, snapshot=True) as connection:
            yield Selected(connection, find_category(connection, category), selection)
