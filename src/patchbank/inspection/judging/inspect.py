"""Judge images by a category's active bank, with the evidence, and keep a record of it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path

from patchbank.datasets.collect import collect
from patchbank.errors import BankGoneError, ImageError, ParameterError
from patchbank.inspection.judging.heatmaps import heatmap_path, write_heatmap
from patchbank.inspection.judging.live_bank import LiveBank, ReadyBank
from patchbank.inspection.judging.recording import (
    LOSSES,
    Absence,
    check_on_database_loss,
    record_of,
)
from patchbank.inspection.sources import checked_name, checked_names, source_name
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Inspection, Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.threads import in_this_thread
from patchbank.progress import Progress, silent
from patchbank.store.inspections import Receipt
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extraction import Extraction, Refusal

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
    ) -> None:
        check_on_database_loss(on_database_loss, in_database=in_database)
        self.workspace = workspace
        self.category = category
        self._wanted = record
        self._bank = live or LiveBank(
            workspace, category, in_database=in_database, version=bank_version
        )
        goes_on = not in_database and (on_database_loss == "judge" or not record)
        self._absence = Absence(self._ask) if goes_on else None

    @property
    def bank_version(self) -> int:
        """The version that judged last."""
        return self._bank.version

    def inspect(
        self,
        source: ImageSource,
        *,
        name: str | None = None,
        top: int = DEFAULT_TOP,
        heatmaps: Path | None = None,
    ) -> Inspection:
        """Judge one image.

        Parameters
        ----------
        source
            The image as a path, bytes, a PIL image or an array.
        name
            What it is called in the record; its path by default.
        top
            How many similar references to return; may be 0.
        heatmaps
            Folder to write a heatmap picture to.

        Raises
        ------
        ImageError
            If the image cannot be used.
        """
        _check_top(top)
        name = source_name(source) if name is None else checked_name(name)
        try:
            return self._inspect(source, name, top, heatmaps)
        except BankGoneError:
            # Replaced or removed between two steps: what is there now judges.
            self._bank.read_again()
            return self._inspect(source, name, top, heatmaps)

    def inspect_many(
        self,
        sources: Sequence[ImageSource],
        *,
        names: Sequence[str] | None = None,
        top: int = DEFAULT_TOP,
        heatmaps: Path | None = None,
        report: Path | None = None,
        progress: Progress = silent,
    ) -> Iterator[Inspection | Refused]:
        """Judge images in their order; one that cannot be used is `Refused`, the rest are done.

        Each image is worked on by one thread, several images at once. Inspections are recorded
        some at a time, and given back only when they are recorded. After the last one, a page of
        them is written to the folder `report`, if there is one.
        """
        _check_top(top)
        names = checked_names(sources, names)
        if report is None:
            return self._inspect_many(sources, names, top, heatmaps, progress)
        # Only reports load what draws.
        from patchbank.inspection.judging.report import reported
        from patchbank.reports.page import check_page_folder

        check_page_folder(report)
        return reported(
            self._inspect_many(sources, names, top, heatmaps, progress),
            sources,
            report,
            self.workspace,
            self.category,
            lambda: self._bank.ready.extractor.settings,
        )

    def _inspect_many(
        self,
        sources: Sequence[ImageSource],
        names: Sequence[str],
        top: int,
        heatmaps: Path | None,
        progress: Progress,
    ) -> Iterator[Inspection | Refused]:
        if len(sources) == 1:
            # All cores for the one, and only the graph for that need be loaded.
            yield self._inspect_or_refuse(sources[0], names[0], top, heatmaps)
            progress(_STAGE, 1, 1)
            return
        done = 0
        while done < len(sources):
            bank = self._current()
            _ = bank.judge
            stream = bank.extractor.map_many(
                partial(self._judge_alone, bank, top, heatmaps),
                sources[done:],
                names=names[done:],
                limits=self.workspace.limits,
            )
            with contextlib.closing(stream):
                while some := list(islice(stream, _RECORDED_AT_ONCE)):
                    part = slice(done, done + len(some))
                    retry = zip(sources[part], names[part], strict=True)
                    for result in self._recorded_or_redone(some, retry, top, heatmaps):
                        done += 1
                        progress(_STAGE, done, len(sources))
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

    def _current(self) -> ReadyBank:
        if self._absence is None:
            return self._bank.refresh()
        if self._absence.reason is None:
            try:
                with self.workspace.database.at_once():
                    return self._bank.refresh()
            except BankGoneError:
                raise
            except LOSSES as error:
                self._absence.begin(error)
        return self._bank.ready

    def _inspect(
        self, source: ImageSource, name: str, top: int, heatmaps: Path | None
    ) -> Inspection:
        watch = Stopwatch()
        with watch.stage("bank"):
            bank = self._current()
            _ = bank.judge
        extraction = bank.extractor.extract_one(source, name=name, limits=self.workspace.limits)
        judged = self._judge(bank, top, heatmaps, name, extraction, watch)
        (inspection,) = self._recorded([judged])
        return replace(inspection, source=source)

    def _inspect_or_refuse(
        self, source: ImageSource, name: str, top: int, heatmaps: Path | None
    ) -> Inspection | Refused:
        try:
            return self.inspect(source, name=name, top=top, heatmaps=heatmaps)
        except ImageError as error:
            return Refused(name, str(error))

    def _judge_alone(
        self,
        bank: ReadyBank,
        top: int,
        heatmaps: Path | None,
        name: str,
        extraction: Extraction | Refusal,
    ) -> Inspection | Refused:
        """Judge one image of many, in the calling thread alone."""
        if isinstance(extraction, Refusal):
            return Refused(name, str(extraction.error))
        with in_this_thread():
            return self._judge(bank, top, heatmaps, name, extraction, Stopwatch())

    def _recorded_or_redone(
        self,
        results: Sequence[Inspection | Refused],
        retry: Iterable[tuple[ImageSource, str]],
        top: int,
        heatmaps: Path | None,
    ) -> Iterator[Inspection | Refused]:
        """Record results, then give them back; `retry` are their sources and names."""
        try:
            judged = [result for result in results if isinstance(result, Inspection)]
            answers = iter(self._recorded(judged))
        except BankGoneError:
            # Rare: the bank that judged them is no more. They are judged anew, singly.
            for source, name in retry:
                yield self._inspect_or_refuse(source, name, top, heatmaps)
        else:
            for result, (source, _) in zip(results, retry, strict=True):
                if isinstance(result, Refused):
                    yield result
                else:
                    kept = source if isinstance(source, str | Path) else None
                    yield replace(next(answers), source=kept)

    def _judge(
        self,
        bank: ReadyBank,
        top: int,
        heatmaps: Path | None,
        name: str,
        extraction: Extraction,
        watch: Stopwatch,
    ) -> Inspection:
        image = extraction.image
        for stage, milliseconds in extraction.timings_ms.items():
            watch.add(stage, milliseconds / 1e3)
        judgement = bank.judge(extraction.patches, image.width, image.height, watch=watch)
        with watch.stage("similar"):
            similar = bank.similar(extraction, top)
        path = None if heatmaps is None else heatmap_path(heatmaps, name, image.sha256)
        if path is not None:
            with watch.stage("heatmap"):
                write_heatmap(path, image.pixels, judgement, name)
        return Inspection(
            **vars(judgement),
            image=name,
            sha256=image.sha256,
            category=self.category,
            category_id=bank.stored.key.category_id,
            bank_version=bank.stored.version,
            similar=similar,
            heatmap=path,
            brightness=extraction.appearance.brightness,
            sharpness=extraction.appearance.sharpness,
            timings_ms={stage: 1e3 * seconds for stage, seconds in watch.seconds.items()},
            remarks=bank.remarks_on(image.width, image.height),
        ).explained()

    def _recorded(self, judged: Sequence[Inspection]) -> list[Inspection]:
        """Record what is to be; return the inspections with what that took each."""
        watch = Stopwatch()
        receipts, missed = self._record(judged)
        each = 1e3 * watch.total() / max(1, len(judged))
        return [
            self._answer(judgement, each, receipt, missed)
            for judgement, receipt in zip_longest(judged, receipts)
        ]

    def _record(self, judged: Sequence[Inspection]) -> tuple[list[Receipt], str | None]:
        """Record if asked to; return receipts, and why the database cannot be reached, if so."""
        if not self._wanted:
            return [], None if self._absence is None else self._absence.reason
        records = [record_of(inspection) for inspection in judged]
        if self._absence is None:
            return self.workspace.database.inspections.record_many(records), None
        if self._absence.reason is not None:
            return [], self._absence.reason
        try:
            with self.workspace.database.at_once():
                return self.workspace.database.inspections.record_many(records), None
        except BankGoneError:
            raise
        except LOSSES as error:
            return [], self._absence.begin(error)

    def _answer(
        self, judged: Inspection, record_ms: float, receipt: Receipt | None, missed: str | None
    ) -> Inspection:
        """Return an inspection with its final timings, and whether it was recorded."""
        stages = {**judged.timings_ms, "record": record_ms}
        timings_ms = {**stages, "total": sum(stages.values())}
        _log.debug(
            "category %r: %s is %s, score %.4f, %.0f ms",
            self.category, judged.image, judged.verdict, judged.score, timings_ms["total"],
        )  # fmt: skip
        remarks = judged.remarks
        if missed is not None:
            lacking = "not recorded" if self._wanted else "a newer bank cannot be seen"
            remarks = (*remarks, f"{lacking}: {missed}")
        answer = replace(judged, timings_ms=timings_ms, remarks=remarks)
        if receipt is None:
            return answer
        return replace(
            answer,
            recorded=True,
            inspection_id=receipt.inspection_id,
            inspected_at=receipt.inspected_at.astimezone(UTC),
        )


def _check_top(top: int) -> None:
    if top < 0:
        raise ParameterError(f"top is {top}; must be at least 0")


def inspect_paths(
    workspace: Workspace,
    category: str,
    paths: Sequence[str | Path],
    *,
    top: int = DEFAULT_TOP,
    heatmaps: Path | None = None,
    report: Path | None = None,
    in_database: bool = False,
    record: bool = True,
    on_database_loss: str = "raise",
    bank_version: int | None = None,
    on_remarks: Callable[[Sequence[str]], None] = lambda _: None,
    progress: Progress = silent,
) -> Iterator[Inspection | Refused]:
    """Judge the images found at paths, each a folder, an image or a glob; see `Inspector`.

    `on_remarks` is called first, with remarks on how the images were found.
    """
    found = collect(paths)
    on_remarks(found.remarks)
    inspector = Inspector(
        workspace,
        category,
        in_database=in_database,
        record=record,
        on_database_loss=on_database_loss,
        bank_version=bank_version,
    )
    yield from inspector.inspect_many(
        found.images, top=top, heatmaps=heatmaps, report=report, progress=progress
    )
