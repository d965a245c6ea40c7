"""What shows whether a bank's verdicts can be trusted, in Python."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent

if TYPE_CHECKING:
    from patchbank.datasets.study import StudyImage
    from patchbank.inspection.measuring.check_report import CheckReport


class BankEvidence:
    """The part of `patchbank.Bank` that measures how far its verdicts can be trusted."""

    category: str
    _workspace: Workspace

    def check(
        self,
        parts: str | Path | Iterable[StudyImage],
        *,
        part_from: str | None = None,
        bank_version: int | None = None,
        record: bool = False,
        report: str | Path | None = None,
        progress: Progress = silent,
    ) -> CheckReport:
        r"""Judge parts of known answer, each imaged several times: an attribute agreement study.

        An image to review counts as not passed. Parts of which the bank has an image among its
        references are left out.

        Parameters
        ----------
        parts
            A folder with ``good/PART/IMAGE`` and ``defect/PART/IMAGE``, a CSV file with the columns
            image, part and answer, or any number of `patchbank.StudyImage`.
        part_from
            A regular expression that tells the part from an image's path below its answer, such as
            ``(.*)_\d+``.
        bank_version
            Judge by this version of the bank instead of the active one.
        record
            Whether to record the inspections, which then count as production.
        report
            Folder for a page with pictures.

        Raises
        ------
        PatchbankError
            If the parts cannot be told, no image can be judged, or the page cannot be written.
        """
        from patchbank.datasets.study import Study, read_study
        from patchbank.inspection.measuring.check import check

        study = (
            read_study(parts, part_from)
            if isinstance(parts, str | Path)
            else Study.of(list(parts), "the caller")
        )
        return check(
            self._workspace,
            self.category,
            study,
            bank_version=bank_version,
            record=record,
            report=None if report is None else Path(report),
            progress=progress,
        )
