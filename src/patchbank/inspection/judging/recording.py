"""Whether what was judged is recorded, and what happens while the database is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from patchbank.errors import (
    DatabaseError,
    DiskFullError,
    ParameterError,
    PatchbankError,
)
from patchbank.inspection.verdicts import Inspection, region_to_json
from patchbank.store.inspections import InspectionRecord

_log = logging.getLogger(__name__)

# Whatever a database does instead of what it was asked: it may be gone, silent, full, locked, being
# restored, or let this role do less. All of that passes, or somebody sees to it.
LOSSES = (DatabaseError, DiskFullError)
_ASK_SECONDS = 0.5

OnDatabaseLoss = Literal["raise", "judge"]


class Absence:
    """Whether the database is away: found out by who needs it, ended by a thread that asks for it.

    Parameters
    ----------
    ask
        Asks the database something; raises one of `LOSSES` while it is away.
    """

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """Why the database is away; None while it is there."""
        return self._reason

    def begin(self, error: PatchbankError) -> str:
        """Take the database for away, until it answers; return why."""
        reason = str(error)
        with self._lock:
            if self._reason is None:
                _log.warning(
                    "the database is unreachable, inspections continue without it: %s", reason
                )
                threading.Thread(target=self._wait, name="patchbank-absence", daemon=True).start()
            self._reason = reason
        return reason

    def _wait(self) -> None:
        while True:
            time.sleep(_ASK_SECONDS)
            try:
                self._ask()
            except LOSSES:
                continue
            except PatchbankError:
                # It answers, as that the category was removed: whoever asks next hears it.
                pass
            with self._lock:
                self._reason = None
            _log.warning("the database is reachable again")
            return


def check_on_database_loss(value: str, *, in_database: bool) -> None:
    """Raise ParameterError where an inspector cannot do that when the database is away."""
    if value not in ("raise", "judge"):
        raise ParameterError(f"on-database-loss {value!r}: must be raise or judge")
    if value == "judge" and in_database:
        raise ParameterError(
            "judging without the database needs the bank in memory; leave in_database out"
        )


def record_of(inspection: Inspection) -> InspectionRecord:
    """Return what the database keeps of an inspection."""
    return InspectionRecord(
        category_id=inspection.category_id,
        bank_version=inspection.bank_version,
        image_name=inspection.image,
        sha256=inspection.sha256,
        verdict=inspection.verdict,
        score=inspection.score,
        pass_below=inspection.thresholds.pass_below,
        fail_above=inspection.thresholds.fail_above,
        p_value=inspection.p_value,
        regions=[region_to_json(region) for region in inspection.regions],
        similar=[similar.to_json() for similar in inspection.similar],
        timings_ms=inspection.timings_ms,
        brightness=inspection.brightness,
        sharpness=inspection.sharpness,
        **_outside_of(inspection),
    )


def _outside_of(inspection: Inspection) -> dict[str, Any]:
    outside = inspection.outside
    if outside is None:
        return {}
    rows, columns = outside.shape
    return {
        "grid_rows": rows,
        "grid_columns": columns,
        "outside": np.packbits(outside).tobytes(),
    }
