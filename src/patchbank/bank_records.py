"""What is kept of a bank, in Python: its versions, its inspections, its file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from patchbank.errors import DatabaseError, NotFittedError, UnknownCategoryError
from patchbank.inspection.keeping.inspected_images import inspected_image
from patchbank.inspection.keeping.inspections import (
    make_selection,
    recorded_inspections,
)
from patchbank.inspection.keeping.manage import activate_version, bank_facts
from patchbank.inspection.keeping.moments import Moment
from patchbank.inspection.keeping.recorded import RecordedInspection
from patchbank.inspection.keeping.transfer import TransferReport, export_bank
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent


class BankRecords:
    """The part of `patchbank.Bank` that shows, lists, activates and exports what is stored."""

    category: str
    _workspace: Workspace

    def __repr__(self) -> str:
        return f"<Bank {self.category!r}>"

    def _repr_html_(self) -> str:
        """Return what Jupyter shows: the active bank in a few lines."""
        from patchbank.reports.notebook import bank_html

        try:
            facts = bank_facts(self._workspace, self.category)
        except (UnknownCategoryError, NotFittedError):
            facts = [("Memory bank", "none yet: call fit with images of good parts")]
        except DatabaseError as error:
            # A notebook would show a traceback where the bank is the value of a cell.
            facts = [("Memory bank", f"not known: {error}")]
        return bank_html(self.category, facts)

    @property
    def fitted(self) -> bool:
        """Whether the category has a bank."""
        try:
            self._workspace.database.banks.active_version(self.category)
        except (UnknownCategoryError, NotFittedError):
            return False
        return True

    def export(
        self,
        file: str | Path,
        *,
        with_images: bool = False,
        force: bool = False,
        progress: Progress = silent,
    ) -> TransferReport:
        """Write the active bank to one file, for `patchbank.import_bank`.

        Parameters
        ----------
        with_images
            Whether to include the files of the reference images; thumbnails are always included.
        force
            Whether to overwrite an existing file.

        Raises
        ------
        PatchbankError
            If there is no bank, the file exists, or it cannot be written.
        """
        return export_bank(
            self._workspace,
            self.category,
            Path(file),
            with_images=with_images,
            force=force,
            progress=progress,
        )

    def activate(self, version: int) -> int:
        """Make an earlier version of the bank the active one; return the number it gets.

        It becomes the next version, so `activate` with the version that was active until now goes
        back. Running inspectors, of other processes too, use it from their next image on.

        Raises
        ------
        PatchbankError
            If there is no such version, it is no longer kept, or it is the active one.
        """
        return activate_version(self._workspace, self.category, version).bank_version

    def inspections(
        self,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        verdict: str | Sequence[str] = (),
        limit: int | None = None,
        part: str | None = None,
        station: str | None = None,
        reviewed: bool | None = None,
        before: RecordedInspection | None = None,
    ) -> list[RecordedInspection]:
        """Return recorded inspections, oldest first.

        Parameters
        ----------
        since, until
            From this time on, and before that one: text such as ``"yesterday"``, ``"3h"`` (ago),
            ``"2026-11-01"`` or ``"2026-11-01T14:30+01:00"``, or an object of `datetime`. A day as
            `until` is included. Without a zone, times are local.
        verdict
            ``"pass"``, ``"review"`` or ``"fail"``, or several; by default all.
        limit
            Only the last ones, so many at most.
        part, station
            Of this part, and at this station.
        reviewed
            Only those that a person reviewed; with False, those that wait for review: they did not
            pass, and nobody has answered.
        before
            Recorded before this inspection: with a limit, the page before the one it begins.

        Raises
        ------
        ParameterError
            If a value is out of range.
        UnknownCategoryError
            If the category does not exist.
        """
        verdicts = (verdict,) if isinstance(verdict, str) else tuple(verdict)
        selection = make_selection(
            since=since,
            until=until,
            verdicts=verdicts,
            limit=limit,
            part=part,
            station=station,
            reviewed=reviewed,
            before=before,
        )
        return recorded_inspections(self._workspace, self.category, selection)

    def inspected_image(self, inspection_id: int) -> bytes:
        """Return the image kept with an inspection: its file, or a PNG of its pixels.

        Raises
        ------
        ParameterError
            If there is no such inspection, or its image was not kept.
        UnknownCategoryError
            If the category does not exist.
        """
        return inspected_image(self._workspace, self.category, inspection_id)

    def close(self) -> None:
        """Close the database connections; using the bank again opens them again."""
        self._workspace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
