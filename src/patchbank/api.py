"""The Python API: one category, opened, fitted and asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Unpack

from patchbank.datasets.collect import collect, remarks_on_named
from patchbank.errors import NotFittedError, UnknownCategoryError
from patchbank.inspection.judging.inspect import DEFAULT_TOP, Inspector
from patchbank.inspection.judging.live_bank import LiveBank
from patchbank.inspection.judging.search import search
from patchbank.inspection.judging.search_results import SearchResult
from patchbank.inspection.judging.similarity_rule import SimilarityThreshold
from patchbank.inspection.keeping.transfer import TransferReport, export_bank, import_bank_file
from patchbank.inspection.learning.calibrate import CalibrationReport, calibrate
from patchbank.inspection.learning.demands import DEFAULT_MAX_REFUSED
from patchbank.inspection.learning.fit import FitReport, fit
from patchbank.inspection.settings import FitOptions, make_fit_settings
from patchbank.inspection.sources import checked_sources
from patchbank.inspection.verdicts import Inspection, Refused
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent
from patchbank.store.categories import checked_category_name
from patchbank.vision.decoded_image import ImageSource


class Bank:
    """A category's memory bank: made by `patchbank.open`, used as a context manager if wanted.

    An image is a path, bytes, a PIL image, or an array: uint8, uint16 or float in [0, 1] of shape
    (height, width), (height, width, 3) in RGB order, or (height, width, 4).
    """

    def __init__(self, workspace: Workspace, category: str) -> None:
        self.category = checked_category_name(category)
        self.last_fit: FitReport | None = None
        self.remarks: tuple[str, ...] = ()
        self._workspace = workspace
        self._inspectors: dict[tuple[bool, bool, str, int | None], Inspector] = {}
        # By whether it stays in the database. The inspectors share what is in memory.
        self._live: dict[bool, LiveBank] = {}

    def fit(
        self,
        images: str | Path | Iterable[ImageSource],
        *,
        names: Sequence[str] | None = None,
        memory_limit: int | str | None = None,
        force: bool = False,
        max_refused: int | str = DEFAULT_MAX_REFUSED,
        exclude: Sequence[str] = (),
        strict: bool = False,
        report: str | Path | None = None,
        progress: Progress = silent,
        **options: Unpack[FitOptions],
    ) -> Bank:
        """Learn from good images and return this bank; `last_fit` says what was done.

        Parameters
        ----------
        images
            A folder, an image or a glob; or any number of images.
        names
            Names of the images, unique; paths name themselves.
        memory_limit
            What this process may take, in bytes or as ``"4GB"``; by default what it takes and half
            of what is free. Images that do not fit are learned in parts: `last_fit` says so.
        force
            Whether fewer than five images will do; two are needed in any case.
        max_refused
            How many images may be refused, repeats among them: a number, or a share such as
            ``"50%"``.
        exclude
            Names of images that are not to be learned.
        strict
            Whether images that stand apart from the others are an error; then nothing is stored.
        report
            Folder for pictures of images that stand apart.
        progress
            Called as the work advances.
        **options
            What the bank is made with, such as ``image_size`` or ``coreset_ratio``: see
            `FitOptions`.

        Raises
        ------
        PatchbankError
            If a setting is wrong, too few images can be used, too many are refused, or the bank
            cannot be stored; then the bank before, if any, still answers.
        """
        sources, found = _sources(images, good_only=True, exclude=exclude)
        self.last_fit = fit(
            self._workspace,
            self.category,
            sources,
            make_fit_settings(**options),
            names=names,
            found=found,
            memory_limit=memory_limit,
            force=force,
            max_refused=max_refused,
            exclude=exclude,
            strict=strict,
            report=None if report is None else Path(report),
            progress=progress,
        )
        return self

    def calibrate(
        self,
        images: str | Path | Iterable[ImageSource],
        *,
        names: Sequence[str] | None = None,
        false_alarm_rate: float | None = None,
        force: bool = False,
        max_refused: int | str = DEFAULT_MAX_REFUSED,
        exclude: Sequence[str] = (),
        strict: bool = False,
        progress: Progress = silent,
    ) -> CalibrationReport:
        """Take the thresholds from good images that the bank was not made of.

        Parameters
        ----------
        images, names
            As in `fit`.
        false_alarm_rate
            Share of good images that may fail, in (0, 1); by default what the bank has.
        force
            Whether fewer images will do than the present calibration rests on, or than five.
        max_refused, exclude, strict
            As in `fit`.

        Raises
        ------
        PatchbankError
            If there is no bank, too few images can be used, too many are refused, or the bank
            cannot be stored; then the bank before still answers.
        """
        sources, found = _sources(images, good_only=True, exclude=exclude)
        return calibrate(
            self._workspace,
            self.category,
            sources,
            names=names,
            found=found,
            false_alarm_rate=false_alarm_rate,
            force=force,
            max_refused=max_refused,
            exclude=exclude,
            strict=strict,
            progress=progress,
        )

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
            Whether the files of the reference images go along; thumbnails always do.
        force
            Whether a file that is there may be replaced.

        Raises
        ------
        PatchbankError
            If there is no bank, the file is there, or it cannot be written.
        """
        return export_bank(
            self._workspace,
            self.category,
            Path(file),
            with_images=with_images,
            force=force,
            progress=progress,
        )

    @property
    def fitted(self) -> bool:
        """Whether there is a bank to judge by."""
        try:
            self._workspace.database.banks.active_version(self.category)
        except (UnknownCategoryError, NotFittedError):
            return False
        return True

    def inspect(
        self,
        image: ImageSource,
        *,
        name: str | None = None,
        top: int = DEFAULT_TOP,
        heatmaps: str | Path | None = None,
        in_database: bool = False,
        record: bool = True,
        on_database_loss: str = "raise",
        bank_version: int | None = None,
    ) -> Inspection:
        """Judge one image.

        Parameters
        ----------
        name
            What it is called in the record; a path names itself.
        top
            How many similar references to return.
        heatmaps
            Folder to write a heatmap picture to.
        in_database
            Find nearest neighbours in SQL instead of memory, which is slower; approximately where
            there is an HNSW index on the patches by Euclidean distance, which `remarks` says.
        record
            Whether the database is to keep the inspection. Where not, the bank in memory judges
            while the database is away, and `remarks` says that a newer one cannot be seen.
        on_database_loss
            ``"judge"`` to judge by the bank in memory while the database is away or refuses, and
            say so in
            the inspection's `recorded` and `remarks`; ``"raise"`` to raise its error.
        bank_version
            Judge by this version of the bank instead of the active one.

        Raises
        ------
        ImageError
            If the image cannot be used.
        UnknownCategoryError, NotFittedError, ExtractorMismatchError
            If there is no bank to judge by, or this installation cannot.
        """
        folder = None if heatmaps is None else Path(heatmaps)
        inspector = self._ready(in_database, record, on_database_loss, bank_version)
        return inspector.inspect(image, name=name, top=top, heatmaps=folder)

    def inspect_many(
        self,
        images: str | Path | Iterable[ImageSource],
        *,
        top: int = DEFAULT_TOP,
        heatmaps: str | Path | None = None,
        in_database: bool = False,
        record: bool = True,
        on_database_loss: str = "raise",
        bank_version: int | None = None,
        progress: Progress = silent,
    ) -> Iterator[Inspection | Refused]:
        """Judge images in their order, several at once; one that cannot be used is `Refused`.

        `remarks` says what was left out of a folder.
        """
        sources, self.remarks = _sources(images)
        folder = None if heatmaps is None else Path(heatmaps)
        inspector = self._ready(in_database, record, on_database_loss, bank_version)
        return inspector.inspect_many(sources, top=top, heatmaps=folder, progress=progress)

    def search(
        self,
        image: ImageSource | None = None,
        *,
        name: str | None = None,
        among: str = "references",
        metric: str = "cosine",
        threshold: SimilarityThreshold = "auto",
        top: int = DEFAULT_TOP,
        exact: bool = False,
        raw: bool = False,
    ) -> SearchResult:
        """Return what is most similar to an image or to something stored; see `search`."""
        return search(
            self._workspace,
            self.category,
            image,
            name=name,
            among=among,
            metric=metric,
            threshold=threshold,
            top=top,
            exact=exact,
            raw=raw,
        )

    def close(self) -> None:
        """Close the database connections; using the bank again opens them again."""
        self._workspace.close()

    def __enter__(self) -> Bank:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ready(
        self, in_database: bool, record: bool, on_database_loss: str, bank_version: int | None
    ) -> Inspector:
        key = in_database, record, on_database_loss, bank_version
        if key not in self._inspectors:
            if bank_version is None and in_database not in self._live:
                self._live[in_database] = LiveBank(
                    self._workspace, self.category, in_database=in_database
                )
            self._inspectors[key] = Inspector(
                self._workspace,
                self.category,
                in_database=in_database,
                record=record,
                on_database_loss=on_database_loss,
                live=self._live[in_database] if bank_version is None else None,
                bank_version=bank_version,
            )
        return self._inspectors[key]


def _sources(
    images: str | Path | Iterable[ImageSource],
    *,
    good_only: bool = False,
    exclude: Sequence[str] = (),
) -> tuple[Sequence[ImageSource], tuple[str, ...]]:
    """Return images, and remarks on how they were found."""
    if isinstance(images, str | Path):
        found = collect([images], good_only=good_only, exclude=exclude)
        return found.images, found.remarks
    sources = checked_sources(images)
    return sources, tuple(remarks_on_named(sources, good_only=good_only, exclude=exclude))


def open_bank(
    category: str, *, home: str | Path | None = None, database_url: str | None = None
) -> Bank:
    """Open a category, new or known.

    Parameters
    ----------
    category
        What is inspected, for example ``"leather"``.
    home
        Folder of the embedded database; ``PATCHBANK_HOME`` or the user's data folder by default.
    database_url
        URL of a PostgreSQL of one's own with pgvector; the embedded one by default.

    Raises
    ------
    ParameterError
        If no category may have this name.
    """
    workspace = Workspace(home=None if home is None else Path(home), database_url=database_url)
    return Bank(workspace, category)


def import_bank(
    file: str | Path,
    category: str | None = None,
    *,
    images: str | Path | None = None,
    replace: bool = False,
    home: str | Path | None = None,
    database_url: str | None = None,
) -> Bank:
    """Read a bank that `Bank.export` wrote and return it.

    Parameters
    ----------
    category
        What it is called here; by default as where it was exported.
    images
        A new folder for the images' files, if the file has them.
    replace
        Whether a category that has a bank gets this one as its next version.
    home, database_url
        As in `patchbank.open`.

    Raises
    ------
    PatchbankError
        If the file is damaged, its extractor is not the one installed, or the category exists.
    """
    workspace = Workspace(home=None if home is None else Path(home), database_url=database_url)
    folder = None if images is None else Path(images)
    try:
        report = import_bank_file(
            workspace, Path(file), category=category, replace_bank=replace, images=folder
        )
    except BaseException:
        workspace.close()
        raise
    return Bank(workspace, report.category)
