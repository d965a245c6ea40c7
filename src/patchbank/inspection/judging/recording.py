"""Whether what was judged is recorded, and what happens while the database is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from patchbank.errors import (
    BankGoneError,
    DatabaseError,
    DiskFullError,
    ParameterError,
    PatchbankError,
)
from patchbank.inspection.judging.kept_images import ImageKeeper
from patchbank.inspection.judging.wanted import Judged
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Inspection, region_to_json
from patchbank.inspection.workspace import Workspace
from patchbank.spelling import composed
from patchbank.store.answered_requests import AlreadyAnsweredError, RequestKey
from patchbank.store.inspections import InspectionRecord, Receipt
from patchbank.vision.decoded_image import DecodedImage, ImageSource

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection

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
    probable = inspection.probable_defect
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
        part=inspection.part,
        station=inspection.station,
        brightness=inspection.brightness,
        sharpness=inspection.sharpness,
        width=inspection.width,
        height=inspection.height,
        calibration_images=inspection.calibration_images,
        independent_references=inspection.independent_references or inspection.calibration_images,
        actor=inspection.actor,
        likeness=inspection.likeness_to_json(),
        similar_defects=[match.to_json() for match in inspection.similar_defects],
        probable_defect=None if probable is None else probable.to_json(),
        remarks=inspection.remarks,
        watched=inspection.watched,
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


class Recorder:
    """Records inspections with the images to keep, or says why not.

    Parameters
    ----------
    wanted
        Whether inspections are to be recorded.
    absence
        Whether the database is away, where inspections go on without it.
    deliver
        Whether sinks get them.
    """

    def __init__(
        self, workspace: Workspace, *, wanted: bool, absence: Absence | None, deliver: bool
    ) -> None:
        self._workspace = workspace
        self._wanted, self._deliver = wanted, deliver
        self._absence = absence
        self._keeper = ImageKeeper(workspace.settings, workspace.limits)

    def encoded(self, source: ImageSource, image: DecodedImage, verdict: str) -> bytes | None:
        """Return what to keep of an image in memory; None for nothing."""
        return self._keeper.encoded(source, image, verdict) if self._wanted else None

    def recorded(
        self, judged: Sequence[Inspection], sources: Sequence[ImageSource]
    ) -> list[Inspection]:
        """Record what is to be; return the inspections with what that took each.

        Raises
        ------
        BankGoneError
            If the bank that judged is no more; then none is recorded.
        """
        watch = Stopwatch()
        lost: dict[int, str] = {}
        receipts, missed = self._record(judged, sources, lost)
        each = 1e3 * watch.total() / max(1, len(judged))
        return [
            self._answer(judgement, each, receipt, missed, lost.get(position))
            for position, (judgement, receipt) in enumerate(zip_longest(judged, receipts))
        ]

    def recorded_once(
        self, judged: Judged, key: RequestKey, answer: Callable[[Inspection], dict[str, Any]]
    ) -> Inspection:
        """Record one inspection together with what its request is answered.

        Raises
        ------
        AlreadyAnsweredError
            If the request was answered before; then nothing is recorded.
        BankGoneError
            If the bank that judged is no more.
        """
        watch = Stopwatch()
        lost: dict[int, str] = {}
        images = None
        if self._keeper.wants(judged.inspection.verdict):
            images = partial(self._keeper.images, [judged.inspection], [judged.source], lost)
        found: list[Inspection] = []

        def keep(connection: Connection, receipts: list[Receipt]) -> None:
            recorded = self._answer(
                judged.inspection, 1e3 * watch.total(), receipts[0], None, lost.get(0)
            )
            found.append(replace(recorded, source=judged.source))
            inspections.keep_answer(connection, recorded.category_id, key, answer(found[-1]))

        inspections = self._workspace.database.inspections
        record = self._record_of(judged.inspection, judged.source)
        inspections.record_many([record], images, keep, deliver=self._deliver)
        return found[-1]

    def _record_of(self, judged: Inspection, source: ImageSource) -> InspectionRecord:
        too_large = self._keeper.too_large(judged, source)
        if too_large is not None:
            judged = replace(judged, remarks=(*judged.remarks, too_large))
        return record_of(judged)

    def _record(
        self,
        judged: Sequence[Inspection],
        sources: Sequence[ImageSource],
        lost: dict[int, str],
    ) -> tuple[list[Receipt], str | None]:
        """Record if asked to; return receipts, and why the database cannot be reached, if so."""
        if not self._wanted:
            return [], None if self._absence is None else self._absence.reason
        records = list(map(self._record_of, judged, sources))
        images = None
        if any(self._keeper.wants(inspection.verdict) for inspection in judged):
            images = partial(self._keeper.images, judged, sources, lost)
        record = partial(
            self._workspace.database.inspections.record_many,
            records,
            images,
            deliver=self._deliver,
        )
        if self._absence is None:
            return record(), None
        if self._absence.reason is not None:
            return [], self._absence.reason
        try:
            with self._workspace.database.at_once():
                return record(), None
        except BankGoneError:
            raise
        except LOSSES as error:
            return [], self._absence.begin(error)

    def _answer(
        self,
        judged: Inspection,
        record_ms: float,
        receipt: Receipt | None,
        missed: str | None,
        image_lost: str | None,
    ) -> Inspection:
        """Return an inspection with its final timings, and whether it was recorded."""
        stages = {**judged.timings_ms, "record": record_ms}
        timings_ms = {**stages, "total": sum(stages.values())}
        _log.debug(
            "category %r: %s is %s, score %.4f, %.0f ms",
            judged.category, judged.image, judged.verdict, judged.score, timings_ms["total"],
        )  # fmt: skip
        remarks = judged.remarks
        if missed is not None:
            lacking = "not recorded" if self._wanted else "a newer bank cannot be seen"
            remarks = (*remarks, f"{lacking}: {missed}")
        elif image_lost is not None:
            remarks = (*remarks, image_lost)
        answer = replace(judged, timings_ms=timings_ms, remarks=remarks, encoded=None)
        if receipt is None:
            return answer
        return replace(
            answer,
            recorded=True,
            inspection_id=receipt.inspection_id,
            inspected_at=receipt.inspected_at.astimezone(UTC),
            image_kept=image_lost is None and self._keeper.wants(judged.verdict),
        )


def first_answer(workspace: Workspace, category: str, key: RequestKey) -> dict[str, Any] | None:
    """Return what a request was answered within a day; None if it comes for the first time.

    Raises
    ------
    ParameterError
        If another request came under its key.
    """
    found = workspace.database.inspections.answered(composed(category), key.key_sha256)
    if found is None:
        return None
    if found.request_sha256 != key.request_sha256:
        raise ParameterError(
            "Idempotency-Key: another image or other parameters came under this key; give each "
            "request a key of its own"
        )
    return found.answer


def record_once(
    workspace: Workspace,
    judged: Judged,
    key: RequestKey,
    answer: Callable[[Inspection], dict[str, Any]],
) -> Inspection | None:
    """Record what was judged and what its request is answered; None if it has an answer already.

    Raises
    ------
    BankGoneError
        If the bank that judged is no more.
    """
    recorder = Recorder(workspace, wanted=True, absence=None, deliver=True)
    try:
        return recorder.recorded_once(judged, key, answer)
    except AlreadyAnsweredError:
        return None


def record_together(workspace: Workspace, judged: Sequence[Judged]) -> list[Inspection]:
    """Record what was judged, of whatever categories, in one transaction; sinks get it.

    Raises
    ------
    BankGoneError
        If one of the banks that judged is no more; then none is recorded.
    """
    recorder = Recorder(workspace, wanted=True, absence=None, deliver=True)
    recorded = recorder.recorded(
        [each.inspection for each in judged], [each.source for each in judged]
    )
    return [
        replace(inspection, source=each.source)
        for inspection, each in zip(recorded, judged, strict=True)
    ]
