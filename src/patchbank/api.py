"""The Python API: open the bank of a category, fit it, and inspect images with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Unpack

from patchbank.bank_evidence import BankEvidence
from patchbank.bank_living import BankLiving
from patchbank.bank_records import BankRecords
from patchbank.inspection.judging.inspect import DEFAULT_TOP, Inspector
from patchbank.inspection.judging.live_bank import LiveBank
from patchbank.inspection.judging.search import search
from patchbank.inspection.judging.search_results import SearchResult
from patchbank.inspection.judging.similarity_rule import SimilarityThreshold
from patchbank.inspection.keeping.transfer import import_bank_file
from patchbank.inspection.learning.calibrate import CalibrationReport, calibrate
from patchbank.inspection.learning.change_rate import change_rate
from patchbank.inspection.learning.demands import DEFAULT_MAX_REFUSED
from patchbank.inspection.learning.fit import FitReport, fit
from patchbank.inspection.settings import FitOptions, make_fit_settings
from patchbank.inspection.sources import found_sources
from patchbank.inspection.verdicts import Inspection, Refused
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent
from patchbank.store.categories import checked_category_name
from patchbank.vision.decoded_image import ImageSource


class Bank(BankRecords, BankLiving, BankEvidence):
    """The memory bank of a category, as returned by `patchbank.open`; also a context manager.

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
        groups: Sequence[object] | None = None,
        group_by: str | None = None,
        screen: bool = False,
        strict: bool = False,
        report: str | Path | None = None,
        progress: Progress = silent,
        **options: Unpack[FitOptions],
    ) -> Bank:
        """Fit the bank to images of good parts and return it; `last_fit` is the report.

        Parameters
        ----------
        images
            A folder, an image or a glob; or any number of images.
        names
            Unique names of the images; by default their paths.
        memory_limit
            Memory that this process may use, in bytes or as ``"4GB"``; by default what it uses now
            and half of the free memory. If the images need more, they are learned in parts, and
            `last_fit` says so.
        force
            Whether to accept fewer than five images; at least two are needed.
        max_refused
            How many images may be refused, including repeated ones: a number, or a share such as
            ``"50%"``.
        exclude
            Names of images to leave out.
        groups, group_by
            Images that depend on one another, such as pictures of one part, and count as one in the
            calibration: a group for each image (None: its own), or a rule, such as ``"folder"`` or
            a regular expression with one group (see ``fit --group-by``).
        screen
            Whether to leave out images that stand apart, and learn the rest again.
        strict
            Whether outliers among the images are an error; then nothing is stored.
        report
            Folder for pictures of the outliers.
        progress
            Called as the work advances.
        **options
            Settings of the bank, such as ``image_size`` or ``coreset_ratio``: see `FitOptions`.

        Raises
        ------
        PatchbankError
            If a setting is wrong, too few images can be used, too many are refused, or the bank
            cannot be stored; the previous bank, if any, then stays active.
        """
        sources, found = found_sources(images, good_only=True, exclude=exclude)
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
            groups=groups,
            group_by=group_by,
            screen=screen,
            strict=strict,
            report=None if report is None else Path(report),
            progress=progress,
        )
        return self

    def calibrate(
        self,
        images: str | Path | Iterable[ImageSource] | None = None,
        *,
        names: Sequence[str] | None = None,
        false_alarm_rate: float | None = None,
        review_rate: float | None = None,
        force: bool = False,
        max_refused: int | str = DEFAULT_MAX_REFUSED,
        exclude: Sequence[str] = (),
        groups: Sequence[object] | None = None,
        group_by: str | None = None,
        strict: bool = False,
        progress: Progress = silent,
    ) -> CalibrationReport:
        """Set the thresholds from images of good parts that the bank was not fitted to.

        Parameters
        ----------
        images, names
            As in `fit`. Without images, the thresholds for the rates are computed from the scores
            of the present calibration.
        false_alarm_rate
            Share of good images that may fail, in (0, 1); by default that of the bank.
        review_rate
            Share of good images that may go to review besides; by default that of the bank.
        force
            Whether to accept fewer images than the present calibration is based on, or than five.
        max_refused, exclude, groups, group_by, strict
            As in `fit`.

        Raises
        ------
        PatchbankError
            If there is no bank, too few images can be used, too many are refused, or the bank
            cannot be stored; the previous bank then stays active.
        """
        if images is None:
            return change_rate(self._workspace, self.category, false_alarm_rate, review_rate)
        sources, found = found_sources(images, good_only=True, exclude=exclude)
        return calibrate(
            self._workspace,
            self.category,
            sources,
            names=names,
            found=found,
            false_alarm_rate=false_alarm_rate,
            review_rate=review_rate,
            force=force,
            max_refused=max_refused,
            exclude=exclude,
            groups=groups,
            group_by=group_by,
            strict=strict,
            progress=progress,
        )

    def inspect(
        self,
        image: ImageSource,
        *,
        name: str | None = None,
        part: str | None = None,
        station: str | None = None,
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
            Name of the image in the record; by default its path.
        part, station
            The part it shows and where it was taken, to be recorded; by default the station of
            the settings.
        top
            How many similar references to return.
        heatmaps
            Folder to write a heatmap picture to.
        in_database
            Whether to search the nearest neighbours in SQL instead of in memory, which is slower;
            the search is approximate if there is an HNSW index on the patches by Euclidean
            distance, and `remarks` says so.
        record
            Whether to record the inspection in the database. If not, the bank in memory judges
            while the database is unreachable, and `remarks` says that a newer bank cannot be seen.
        on_database_loss
            ``"judge"`` to judge by the bank in memory while the database is unreachable or refuses,
            which the inspection's `recorded` and `remarks` say; ``"raise"`` to raise its error.
        bank_version
            Judge by this version of the bank instead of the active one.

        Raises
        ------
        ImageError
            If the image cannot be used.
        UnknownCategoryError, NotFittedError, ExtractorMismatchError
            If there is no bank, or this installation computes other features than the bank has.
        """
        folder = None if heatmaps is None else Path(heatmaps)
        inspector = self._ready(in_database, record, on_database_loss, bank_version)
        return inspector.inspect(
            image, name=name, part=part, station=station, top=top, heatmaps=folder
        )

    def inspect_many(
        self,
        images: str | Path | Iterable[ImageSource],
        *,
        parts: Sequence[str | None] | None = None,
        station: str | None = None,
        top: int = DEFAULT_TOP,
        heatmaps: str | Path | None = None,
        report: str | Path | None = None,
        in_database: bool = False,
        record: bool = True,
        on_database_loss: str = "raise",
        bank_version: int | None = None,
        progress: Progress = silent,
    ) -> Iterator[Inspection | Refused]:
        """Judge images in order, several at once; yield `Refused` for one that cannot be used.

        After the last one, a page with pictures is written to the folder `report`, if given.
        `remarks` says which files of a folder were left out. `parts` has the part of each image.
        """
        sources, self.remarks = found_sources(images)
        folder = None if heatmaps is None else Path(heatmaps)
        inspector = self._ready(in_database, record, on_database_loss, bank_version)
        return inspector.inspect_many(
            sources,
            parts=parts,
            station=station,
            top=top,
            heatmaps=folder,
            report=None if report is None else Path(report),
            progress=progress,
        )

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


def open_bank(
    category: str, *, home: str | Path | None = None, database_url: str | None = None
) -> Bank:
    """Return the bank of a category, which need not exist yet.

    Parameters
    ----------
    category
        Name of the category, for example ``"leather"``.
    home
        Folder of the embedded database; by default ``PATCHBANK_HOME`` or the user's data folder.
    database_url
        URL of your own PostgreSQL with pgvector; by default the embedded one is used.

    Raises
    ------
    ParameterError
        If the category name is not allowed.
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
    """Import a bank from a file that `Bank.export` wrote, and return it.

    Parameters
    ----------
    category
        Name of the category; by default as in the file.
    images
        New folder for the image files contained in the file.
    replace
        Whether to store it as the next version if the category already has a bank.
    home, database_url
        As in `patchbank.open`.

    Raises
    ------
    PatchbankError
        If the file is damaged, this installation has another extractor, or the category has a bank.
    """
    workspace = Workspace(home=None if home is None else Path(home), database_url=database_url)
    folder = None if images is None else Path(images)
    try:
        report = import_bank_file(
            workspace, Path(file), category=category, replace_bank=replace, images=folder
        )
    except BaseException:  # an interrupt too
        workspace.close()
        raise
    return Bank(workspace, report.category)
