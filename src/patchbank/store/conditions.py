"""The state in which images were inspected: what tells whether they change."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from patchbank.store import queries
from patchbank.store.bank_key import BankKey

if TYPE_CHECKING:
    from patchbank.store.sessions import Sessions


class Condition(NamedTuple):
    """What is recorded of the state of an inspected image; see `InspectionRecord`."""

    inspection_id: int
    inspected_at: datetime
    image_name: str
    sha256: str
    verdict: str
    score: float
    pass_below: float
    fail_above: float
    bank_version: int
    brightness: float | None
    sharpness: float | None
    grid_rows: int | None
    grid_columns: int | None
    outside: bytes | None


class Conditions:
    """The conditions of inspections in a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("inspections")

    def last(
        self,
        key: BankKey,
        *,
        limit: int,
        since: datetime | None = None,
        station: str | None = None,
    ) -> list[Condition]:
        """Return the last inspections, oldest first, by a bank's version and those it came from.

        Parameters
        ----------
        since
            Only from this time on.
        station
            Only of this one.
        """
        parameters = {**key.parameters(), "limit": limit, "since": since, "station": station}
        with self._sessions.connection(long=True) as connection:
            rows = connection.execute(
                self._queries["conditions"], parameters, binary=True
            ).fetchall()
        return [Condition(*row) for row in rows]

    def calibration_quartiles(
        self, key: BankKey, versions: list[int]
    ) -> dict[int, tuple[float, float, float]]:
        """Return the quartiles of the calibration scores of versions, where they are kept."""
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["calibration_spreads"], {**key.parameters(), "versions": versions}
            ).fetchall()
        return {version: (low, middle, high) for version, (low, middle, high) in rows}
