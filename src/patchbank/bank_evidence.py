"""What shows which settings a bank needs and whether its verdicts can be trusted, in Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from patchbank.inspection.settings import FitOptions, make_fit_settings
from patchbank.inspection.sources import found_sources
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent
from patchbank.vision.decoded_image import ImageSource

if TYPE_CHECKING:
    from patchbank.datasets.study import StudyImage
    from patchbank.inspection.measuring.check_report import CheckReport
    from patchbank.inspection.measuring.sensitivity_report import SensitivityReport
    from patchbank.inspection.measuring.tune_report import TuneReport


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

    def sensitivity(
        self,
        images: str | Path | Iterable[ImageSource] | None = None,
        *,
        names: Sequence[str] | None = None,
        kinds: Sequence[str] = (),
        sizes: Sequence[int] = (),
        contrasts: Sequence[float] = (),
        count: int | None = None,
        mm_per_pixel: float | None = None,
        seed: int = 0,
        report: str | Path | None = None,
        progress: Progress = silent,
    ) -> SensitivityReport:
        """Judge images of good parts with synthetic defects of growing size and contrast.

        The figures are no recall: real defects are not synthetic.

        Parameters
        ----------
        images
            A folder, an image or a glob; or any number of images; of good parts that the bank has
            not learned. By default its references, each judged without its own patches.
        names
            Unique names of the images; by default their paths.
        kinds
            Some of ``"scratch"``, ``"spot"``, ``"stain"`` and ``"cut"``; all by default.
        sizes
            Of a defect's longest side, in pixels of the images.
        contrasts
            As shares of an image's own contrast, above 0 and at most 1.
        count
            How many images are used; by default 20, or fewer where it would take over four minutes.
        mm_per_pixel
            Millimetres per pixel of the images, to state sizes in millimetres too.
        report
            Folder for a page with pictures.

        Raises
        ------
        PatchbankError
            If a setting is wrong, no image can be used, or the page cannot be written.
        """
        from patchbank.inspection.measuring.sensitivity import sensitivity

        sources, found = (None, ()) if images is None else found_sources(images, good_only=True)
        return sensitivity(
            self._workspace,
            self.category,
            sources,
            names=names,
            found=found,
            kinds=kinds,
            sizes=sizes,
            contrasts=contrasts,
            images=count,
            mm_per_pixel=mm_per_pixel,
            seed=seed,
            report=None if report is None else Path(report),
            progress=progress,
        )

    def tune(
        self,
        images: str | Path | Iterable[ImageSource],
        *,
        names: Sequence[str] | None = None,
        defect_sizes: Sequence[int] = (),
        memory_limit: int | str | None = None,
        exclude: Sequence[str] = (),
        report: str | Path | None = None,
        progress: Progress = silent,
        **options: Unpack[FitOptions],
    ) -> TuneReport:
        """Try settings on good images with synthetic defects; store nothing and change no bank.

        `report.recommended.candidate.options` are those to fit with.

        Parameters
        ----------
        images, names, memory_limit, exclude
            As in `Bank.fit`.
        defect_sizes
            Sizes of the defects in pixels of the images; by default chosen by the images' size.
        report
            Folder for a page with pictures.
        **options
            As in `Bank.fit`, but for the resolution, which is what is tried.

        Raises
        ------
        PatchbankError
            If a setting is wrong, too few images can be used, or the page cannot be written.
        """
        from patchbank.inspection.measuring.tune import tune

        sources, found = found_sources(images, good_only=True, exclude=exclude)
        return tune(
            self._workspace,
            self.category,
            sources,
            make_fit_settings(**options),
            names=names,
            paths=[str(images)] if isinstance(images, str | Path) else (),
            found=found,
            defect_sizes=defect_sizes,
            memory_limit=memory_limit,
            exclude=exclude,
            report=None if report is None else Path(report),
            progress=progress,
        )
