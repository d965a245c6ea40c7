"""Judge images by a category's active bank, with the evidence, and keep a record of it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchbank.actors import current_actor
from patchbank.errors import BankGoneError, ImageError
from patchbank.inspection.judging.heatmaps import heatmap_path, write_heatmap
from patchbank.inspection.judging.live_bank import LiveBank, ReadyBank
from patchbank.inspection.judging.recording import (
    LOSSES,
    Absence,
    Recorder,
    check_on_database_loss,
)
from patchbank.inspection.judging.wanted import (
    ImagesToJudge,
    ImageToJudge,
    Judged,
    Wanted,
    check_top,
    checked_parts,
)
from patchbank.inspection.parts import checked_label
from patchbank.inspection.sources import checked_name, checked_names, source_name
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Inspection, Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.threads import in_this_thread, on_cores, works_alone
from patchbank.progress import Progress, silent
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extraction import Extraction, Refusal
from patchbank.vision.lossless import png_of

if TYPE_CHECKING:
    from patchbank.store.watched_files import WatchedFile

_log = logging.getLogger(__name__)

DEFAULT_TOP = 10

_STAGE = "inspected"
# Every commit waits for the disk: some images share one. What is given back is recorded.
_RECORDED_AT_ONCE = 16


class Inspector:
    """Judges images by the bank of a category, whatever version is active at the moment.

    Before every image, and of many before every 16, the bank's version is compared with the
    database's, so that a fit elsewhere is seen at once. May be used by several threads.

    Parameters
    ----------
    in_database
        Leave the bank in PostgreSQL and find nearest neighbours there: scores equal to
        float32 rounding, in hundreds of times the time; by an HNSW index on the patches by
        Euclidean distance, where there is one, sooner and approximately, which `remarks` says.
    record
        Whether the database is to keep what was judged. Where not, it is not needed once the bank
        is in memory: while it is away, inspections say that a newer bank cannot be seen.
    on_database_loss
        ``"judge"`` to go on with the bank in memory while the database is away, or refuses: such
        inspections say that they were not recorded. It is asked for in the background, and used
        again from then on. ``"raise"`` to raise its error.
    live
        The bank, where it is in memory already.
    bank_version
        Judge by this version of the bank, always, instead of the active one.
    deliver
        Send what is recorded to the sinks, as the service and watchers do.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category or it has no bank.
    BankGoneError
        If there is no such version, or it is not kept any more.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    NotCalibratedError
        When it is asked to judge and the bank has no calibration.
    """

    def __init__(
        self,
        workspace: Workspace,
        category: str,
        *,
        in_database: bool = False,
        record: bool = True,
        on_database_loss: str = "raise",
        live: LiveBank | None = None,
        bank_version: int | None = None,
        deliver: bool = False,
    ) -> None:
        check_on_database_loss(on_database_loss, in_database=in_database)
        self.workspace = workspace
        self.category = category
        self._bank = live or LiveBank(
            workspace, category, in_database=in_database, version=bank_version
        )
        goes_on = not in_database and (on_database_loss == "judge" or not record)
        self._absence = Absence(self._ask) if goes_on else None
        self._recorder = Recorder(workspace, wanted=record, absence=self._absence, deliver=deliver)

    @property
    def bank_version(self) -> int:
        """The version that judged last."""
        return self._bank.version

    @property
    def ready(self) -> ReadyBank:
        """The version that judged last."""
        return self._bank.ready

    @property
    def live(self) -> LiveBank:
        """The bank, for others to share."""
        return self._bank

    def inspect(
        self,
        source: ImageSource,
        *,
        name: str | None = None,
        part: str | None = None,
        station: str | None = None,
        top: int = DEFAULT_TOP,
        heatmaps: Path | None = None,
        alone: bool = True,
    ) -> Inspection:
        """Judge one image.

        Parameters
        ----------
        source
            The image as a path, bytes, a PIL image or an array.
        name
            What it is called in the record; its path by default.
        part, station
            The part it shows and where it was taken, to be recorded; the station is that of the
            settings by default.
        top
            How many similar references to return; may be 0.
        heatmaps
            Folder to write a heatmap picture to.
        alone
            Whether to use all cores, the fastest for one image. Where other threads judge at the
            same time, one core for each is faster for all.

        Raises
        ------
        ImageError
            If the image cannot be used.
        """
        image = _image_of(source, name, part)
        wanted = self._wanted(top, heatmaps, station)
        with on_cores(alone):
            return self._inspect(image, wanted)

    def judge(
        self,
        source: ImageSource,
        *,
        name: str | None = None,
        part: str | None = None,
        station: str | None = None,
        top: int = DEFAULT_TOP,
        alone: bool = True,
        since: float | None = None,
    ) -> Judged:
        """Judge one image and leave it to the caller to record it; see `inspect`.

        Parameters
        ----------
        since
            When the image arrived, as `time.monotonic`: the bank's version is compared with the
            database's unless that was done since then for another image. None to do it anyway.
        """
        image, wanted = _image_of(source, name, part), self._wanted(top, None, station)
        with on_cores(alone):
            try:
                judged = self._judge_once(image, wanted, since)
            except BankGoneError:
                self._bank.read_again()
                judged = self._judge_once(image, wanted, None)
        return Judged(judged, source)

    def warm_up(self) -> None:
        """Judge an image that shows nothing and record nothing, so that the next one is quick.

        Raises
        ------
        NotCalibratedError
            When the bank has no calibration.
        """
        images = self._bank.ready.stored.content.images
        width, height = (images[0].width, images[0].height) if images else (224, 224)
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        content = png_of(pixels, pixels)
        for alone in (True, False):
            self.judge(content, name="warm-up", alone=alone)

    def inspect_many(
        self,
        sources: Sequence[ImageSource],
        *,
        names: Sequence[str] | None = None,
        parts: Sequence[str | None] | None = None,
        watched: Sequence[WatchedFile] | None = None,
        station: str | None = None,
        top: int = DEFAULT_TOP,
        heatmaps: Path | None = None,
        report: Path | None = None,
        progress: Progress = silent,
    ) -> Iterator[Inspection | Refused]:
        """Judge images in their order; one that cannot be used is `Refused`, the rest are done.

        Each image is worked on by one thread, several images at once. Inspections are recorded
        some at a time, and given back only when they are recorded. After the last one, a page of
        them is written to the folder `report`, if there is one.

        Parameters
        ----------
        parts
            The part that each image shows, as far as known.
        watched
            The files of a watched folder that they are: recorded in the same transaction.
        station
            Where they were taken; that of the settings by default.
        """
        wanted = self._wanted(top, heatmaps, station)
        names = checked_names(sources, names)
        parts = checked_parts(sources, parts)
        images = ImagesToJudge(sources, names, parts, watched or [None] * len(sources))
        if report is None:
            return self._inspect_many(images, wanted, progress)
        # Only reports load what draws.
        from patchbank.inspection.judging.report import reported
        from patchbank.reports.page import check_page_folder

        check_page_folder(report)
        return reported(
            self._inspect_many(images, wanted, progress),
            sources,
            report,
            self.workspace,
            self.category,
            lambda: self._bank.ready.extractor.settings,
        )

    def _inspect_many(
        self, images: ImagesToJudge, wanted: Wanted, progress: Progress
    ) -> Iterator[Inspection | Refused]:
        count = len(images.sources)
        if count == 1:
            # All cores for the one, and only the graph for that need be loaded.
            (image,) = images.some(slice(1))
            yield self._inspect_or_refuse(image, wanted)
            progress(_STAGE, 1, 1)
            return
        done = 0
        while done < count:
            bank = self._current()
            _ = bank.judge
            stream = bank.extractor.map_many(
                partial(self._judge_alone, bank, wanted),
                images.sources[done:],
                names=images.names[done:],
                limits=self.workspace.limits,
            )
            with contextlib.closing(stream):
                while some := list(islice(stream, _RECORDED_AT_ONCE)):
                    part = images.some(slice(done, done + len(some)))
                    for result in self._recorded_or_redone(some, part, wanted):
                        done += 1
                        progress(_STAGE, done, count)
                        yield result
                    if self._current() is not bank:
                        # A fit came between: on with the bank it made.
                        break

    def _ask(self) -> None:
        # Where it was closed meanwhile, nobody is there who would close it again.
        # Read once: it may be closed at any moment, and `workspace.database` would open it again.
        database = self.workspace.opened_database
        if database is not None:
            database.banks.active_key(self.category)

    def _current(self, since: float | None = None) -> ReadyBank:
        if self._absence is None:
            return self._bank.refresh(since)
        if self._absence.reason is None:
            try:
                with self.workspace.database.at_once():
                    return self._bank.refresh()
            except BankGoneError:
                raise
            except LOSSES as error:
                self._absence.begin(error)
        return self._bank.ready

    def _wanted(self, top: int, heatmaps: Path | None, station: str | None) -> Wanted:
        check_top(top)
        station = self.workspace.settings.station if station is None else station
        station = None if station is None else checked_label(station, "station")
        # Here, since the threads that judge many images do not know it.
        return Wanted(top, heatmaps, station, current_actor())

    def _inspect(self, image: ImageToJudge, wanted: Wanted) -> Inspection:
        try:
            return self._inspect_once(image, wanted)
        except BankGoneError:
            # Replaced or removed between two steps: what is there now judges.
            self._bank.read_again()
            return self._inspect_once(image, wanted)

    def _inspect_once(self, image: ImageToJudge, wanted: Wanted) -> Inspection:
        judged = self._judge_once(image, wanted, None)
        (inspection,) = self._recorder.recorded([judged], [image.source])
        return replace(inspection, source=image.source)

    def _judge_once(self, image: ImageToJudge, wanted: Wanted, since: float | None) -> Inspection:
        watch = Stopwatch()
        with watch.stage("bank"):
            bank = self._current(since)
            _ = bank.judge
        extraction = bank.extractor.extract_one(
            image.source, name=image.name, limits=self.workspace.limits, alone=not works_alone()
        )
        judged = self._judge(bank, wanted, image.name, extraction, watch)
        return image.of(judged)

    def _inspect_or_refuse(self, image: ImageToJudge, wanted: Wanted) -> Inspection | Refused:
        try:
            return self._inspect(image, wanted)
        except ImageError as error:
            return Refused(image.name, str(error))

    def _judge_alone(
        self, bank: ReadyBank, wanted: Wanted, name: str, extraction: Extraction | Refusal
    ) -> Inspection | Refused:
        """Judge one image of many, in the calling thread alone."""
        if isinstance(extraction, Refusal):
            return Refused(name, str(extraction.error))
        with in_this_thread():
            return self._judge(bank, wanted, name, extraction, Stopwatch())

    def _recorded_or_redone(
        self,
        results: Sequence[Inspection | Refused],
        images: Sequence[ImageToJudge],
        wanted: Wanted,
    ) -> Iterator[Inspection | Refused]:
        """Record the results for these images, then give them back."""
        judged = [
            (image.of(result), image.source)
            for result, image in zip(results, images, strict=True)
            if isinstance(result, Inspection)
        ]
        try:
            answers = iter(
                self._recorder.recorded(
                    [one for one, _ in judged], [source for _, source in judged]
                )
            )
        except BankGoneError:
            # Rare: the bank that judged them is no more. They are judged anew, singly.
            for image in images:
                yield self._inspect_or_refuse(image, wanted)
        else:
            for result, image in zip(results, images, strict=True):
                if isinstance(result, Refused):
                    yield result
                else:
                    kept = image.source if isinstance(image.source, str | Path) else None
                    yield replace(next(answers), source=kept)

    def _judge(
        self,
        bank: ReadyBank,
        wanted: Wanted,
        name: str,
        extraction: Extraction,
        watch: Stopwatch,
    ) -> Inspection:
        image = extraction.image
        for stage, milliseconds in extraction.timings_ms.items():
            watch.add(stage, milliseconds / 1e3)
        judgement = bank.judge(
            extraction.patches,
            image.width,
            image.height,
            embedding=extraction.embedding,
            watch=watch,
        )
        with watch.stage("similar"):
            similar = bank.similar(extraction, wanted.top)
            defects, probable = bank.book.similar(
                judgement.region_embedding, image.sha256, wanted.top
            )
        folder = wanted.heatmaps
        path = None if folder is None else heatmap_path(folder, name, image.sha256)
        if path is not None:
            with watch.stage("heatmap"):
                write_heatmap(path, image.pixels, judgement, name, probable=probable)
        return Inspection(
            **vars(judgement),
            image=name,
            sha256=image.sha256,
            category=self.category,
            category_id=bank.stored.key.category_id,
            bank_version=bank.stored.version,
            extractor_fingerprint=bank.extractor.fingerprint,
            similar=similar,
            similar_defects=defects,
            probable_defect=probable,
            heatmap=path,
            brightness=extraction.appearance.brightness,
            sharpness=extraction.appearance.sharpness,
            timings_ms={stage: 1e3 * seconds for stage, seconds in watch.seconds.items()},
            remarks=bank.remarks_on(image.width, image.height),
            station=wanted.station,
            actor=wanted.actor,
            encoded=self._recorder.encoded(extraction.source, image, judgement.verdict),
        ).explained()


def _image_of(source: ImageSource, name: str | None, part: str | None) -> ImageToJudge:
    name = source_name(source) if name is None else checked_name(name)
    return ImageToJudge(source, name, None if part is None else checked_label(part, "part"))
