"""A CSV file that inspections are appended to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from patchbank.errors import DiskFullError, OutputError, SinkError
from patchbank.inspection.keeping.inspections import CSV_COLUMNS
from patchbank.inspection.keeping.recorded import RecordedInspection
from patchbank.line.appended_csv import AppendedCsv
from patchbank.line.sinks.base import Outcome


class CsvSink:
    """Appends a line for each inspection, with the columns of `patchbank inspections --csv`."""

    def __init__(self, path: Path) -> None:
        remedy = "let this account write there, or remove the sink"
        self._file = AppendedCsv(path, CSV_COLUMNS, lambda row: row[0], remedy)

    async def send(self, inspections: Sequence[RecordedInspection]) -> list[Outcome]:
        """Append lines; a line that is there is not written again."""
        await self._add([_row(inspection) for inspection in inspections])
        return [Outcome()] * len(inspections)

    async def test(self) -> None:
        """Create the file with its heading if it is missing."""
        await self._add([])

    async def close(self) -> None:
        """Do nothing: the file is open only while it is written."""

    async def _add(self, rows: Sequence[Sequence[str]]) -> None:
        try:
            await asyncio.to_thread(self._file.add, rows)
        except (OutputError, DiskFullError) as error:
            raise SinkError(str(error)) from error


def _row(inspection: RecordedInspection) -> tuple[str, ...]:
    first = inspection.similar[0] if inspection.similar else {}
    review = inspection.review or {}
    cells = (
        inspection.inspection_id,
        inspection.inspected_at.isoformat(),
        inspection.category,
        inspection.image,
        inspection.verdict,
        inspection.score,
        inspection.pass_below,
        inspection.fail_above,
        inspection.p_value,
        inspection.bank_version,
        inspection.sha256,
        len(inspection.regions),
        first.get("image"),
        first.get("similarity"),
        inspection.part,
        inspection.station,
        " ".join(filter(None, (review.get("answer"), review.get("label")))),
    )
    return tuple("" if cell is None else str(cell) for cell in cells)
