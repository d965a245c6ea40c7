"""Reviews: what people answer to inspections that did not pass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from patchbank.actors import current_actor
from patchbank.errors import NotFoundError
from patchbank.store import queries
from patchbank.store.categories import add_event, find_category
from patchbank.store.queries import as_bigint

if TYPE_CHECKING:
    from patchbank.store.sessions import Sessions

Answer = Literal["good", "defect", "skip", "undone"]


@dataclass(frozen=True)
class OpenInspection:
    """A recorded inspection that did not pass; its attributes are those of `InspectionRecord`."""

    category_id: int
    inspection_id: int
    inspected_at: datetime
    image_name: str
    sha256: str
    verdict: str
    score: float
    pass_below: float
    fail_above: float
    p_value: float | None
    regions: list[dict[str, Any]]
    similar: list[dict[str, Any]]
    bank_version: int
    part: str | None
    station: str | None
    image_kept: bool


@dataclass(frozen=True)
class StoredReview:
    """The last answer to an inspection.

    Attributes
    ----------
    pending
        Whether the change that follows from it is still to be made.
    added, version
        What followed: the name of the reference or the defect that was added, and the version of
        the bank that the reference is in from then on.
    in_use
        Whether that is still in the active bank or the defect book; False if nothing was added.
    """

    inspection_id: int
    answer: Answer
    label: str | None
    actor: str
    reviewed_at: datetime
    pending: bool
    added: str | None
    version: int | None
    in_use: bool

    def describe(self) -> str:
        """Return the answer in words."""
        return self.answer if self.label is None else f"{self.answer} ({self.label})"


class Reviews:
    """The reviews of a database. Rows are only added: the last answer to an inspection counts."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("reviews")

    def queue(
        self, category: str, *, since: datetime | None = None, limit: int | None = None
    ) -> list[OpenInspection]:
        """Return the inspections that did not pass and have no answer yet, oldest first.

        Raises
        ------
        UnknownCategoryError
            When there is no such category.
        """
        with self._sessions.connection() as connection:
            key = {"category_id": find_category(connection, category)}
            rows = connection.execute(
                self._queries["queue"], {**key, "since": since, "limit": as_bigint(limit)}
            ).fetchall()
        return [OpenInspection(*row) for row in rows]

    def count(self, category: str, *, since: datetime | None = None) -> int:
        """Return how many inspections are in the queue.

        Raises
        ------
        UnknownCategoryError
            When there is no such category.
        """
        with self._sessions.connection() as connection:
            key = {"category_id": find_category(connection, category)}
            row = connection.execute(self._queries["count"], {**key, "since": since}).fetchone()
        assert row is not None
        return int(row[0])

    def inspection(self, category: str, inspection_id: int) -> OpenInspection:
        """Return an inspection, answered or not.

        Raises
        ------
        UnknownCategoryError, NotFoundError
            When there is no such category, or it has no such inspection.
        """
        with self._sessions.connection() as connection:
            key = {"category_id": find_category(connection, category)}
            row = connection.execute(
                self._queries["inspection"], {**key, "inspection_id": as_bigint(inspection_id)}
            ).fetchone()
        if row is None:
            raise NotFoundError(
                f"category {category!r} has no inspection {inspection_id}; `patchbank review "
                f"{category} --list` lists those to review"
            )
        return OpenInspection(*row)

    def add(
        self,
        category: str,
        inspection_id: int,
        answer: Answer,
        *,
        label: str | None = None,
        pending: bool = False,
        added: str | None = None,
        version: int | None = None,
    ) -> None:
        """Record an answer; see `StoredReview`.

        Raises
        ------
        UnknownCategoryError
            When there is no such category.
        """
        with self._sessions.connection() as connection:
            category_id = find_category(connection, category)
            given = {
                "category_id": category_id,
                "inspection_id": inspection_id,
                "answer": answer,
            }
            connection.execute(self._queries["mark"], given)
            connection.execute(
                self._queries["add"],
                given
                | {
                    "label": label,
                    "actor": current_actor(),
                    "pending": pending,
                    "added": added,
                    "version": version,
                },
            )
            detail = {"inspection": inspection_id, "answer": answer, "label": label}
            add_event(connection, category_id, "review", detail)

    def last(
        self,
        category: str,
        inspection_id: int | None = None,
        *,
        actor: str | None = None,
        pending: bool = False,
        limit: int | None = 1,
    ) -> list[StoredReview]:
        """Return the last answers that were not undone, newest first.

        Parameters
        ----------
        inspection_id
            Only to this inspection.
        actor
            Only those that this person gave.
        pending
            Only those whose change is still to be made.
        limit
            How many at most.

        Raises
        ------
        UnknownCategoryError
            When there is no such category.
        """
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["last"],
                {
                    "category_id": find_category(connection, category),
                    "inspection_id": as_bigint(inspection_id),
                    "actor": actor,
                    "pending": pending,
                    "limit": as_bigint(limit),
                },
            ).fetchall()
        return [StoredReview(*row) for row in rows]

    def labels(self, category: str) -> list[str]:
        """Return the labels of the category's defects and reviews, the most frequent first.

        Raises
        ------
        UnknownCategoryError
            When there is no such category.
        """
        with self._sessions.connection() as connection:
            key = {"category_id": find_category(connection, category)}
            rows = connection.execute(self._queries["labels"], key).fetchall()
        return [label for (label,) in rows]
