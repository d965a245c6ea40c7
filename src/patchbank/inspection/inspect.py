"""Judge images by a category's active bank, with the evidence, and keep a record of it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.folders import find_images
from patchbank.errors import (
    BankGoneError,
    ExtractorMismatchError,
    ImageError,
)
from patchbank.inspection.heatmaps import heatmap_path, write_heatmap
from patchbank.inspection.judge import Judge
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.sources import checked_name, checked_names, source_name
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Inspection, Refused, Similar, region_to_json
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration
from patchbank.memory.threads import in_this_thread
from patchbank.progress import Progress, silent
from patchbank.settings import usable_cores
from patchbank.store.banks import StoredBank
from patchbank.store.inspections import NewInspection
from patchbank.vision.backbones import get_backbone
from patchbank.vision.extractor import Extraction, Extractor, Refusal
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import ImageSource
from patchbank.vision.quantised import QuantisedGraph

DEFAULT_TOP = 10

_STAGE = "inspected"
# Every commit waits for the disk: some images share one. What is given back is recorded.
_RECORDED_AT_ONCE = 16


class _ReadyBank:
    """An active bank as it was read, ready to judge."""

    def __init__(self, workspace: Workspace, category: str) -> None:
        self.stored: StoredBank = workspace.database.banks.active(category)
        self.extractor: Extractor = matching_extractor(workspace, self.stored)
        settings = FitSettings.from_json(self.stored.settings, self.extractor.settings)
        calibration = Calibration.from_json(json.dumps(self.stored.calibration))
        self.judge = Judge(self.stored.features, settings, calibration)


def matching_extractor(workspace: Workspace, stored: StoredBank) -> Extractor:
    """Return the extractor that made a bank.

    Raises
    ------
    ExtractorMismatchError
        If this installation computes other features than those in the bank, or the bank's quantised
        graph is not the one that made them.
    """
    known = {one.name for one in fields(ExtractorSettings)}
    settings = ExtractorSettings.from_json(
        {name: value for name, value in stored.extractor.items() if name in known}
    )
    content = stored.quantised_graph
    quantised = None if content is None else QuantisedGraph.from_bytes(content)
    graph_sha256 = None if quantised is None else quantised.sha256
    if stored.extractor.get("graph_sha256") != graph_sha256:
        raise ExtractorMismatchError(
            f"category {stored.category!r}: the quantised graph of bank version {stored.version} "
            f"is {'missing' if quantised is None else 'damaged'}; fit the category again"
        )
    if settings.fingerprint(graph_sha256) != stored.extractor_fingerprint:
        weights = get_backbone(settings.backbone).weights_sha256
        what = (
            "other weights"
            if stored.extractor.get("weights_sha256") != weights
            else "another version of the features' code"
        )
        raise ExtractorMismatchError(
            f"category {stored.category!r}: bank version {stored.version} was made with {what} of "
            f"{settings.backbone} than this installation has; fit the category again"
        )
    return workspace.extractor(settings, quantised)


class Inspector:
    """Judges images by the active bank of a category, whatever version that is at the moment.

    Before every image the bank's version is compared with the database's, so that a fit elsewhere
    is seen at once. May be used by several threads.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category or it has no bank.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    """

    def __init__(self, workspace: Workspace, category: str) -> None:
        self.workspace = workspace
        self.category = category
        self._lock = threading.Lock()
        self._aside = ThreadPoolExecutor(2, "patchbank-similar")
        self._bank = _ReadyBank(workspace, category)

    @property
    def bank_version(self) -> int:
        """The version that judged last."""
        return self._bank.stored.version

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
            How many similar known-good images to name.
        heatmaps
            Folder to write a heatmap picture to.

        Raises
        ------
        ImageError
            If the image cannot be used.
        """
        name = source_name(source) if name is None else checked_name(name)
        try:
            return self._inspect(source, name, top, heatmaps)
        except BankGoneError:
            # Replaced or forgotten between two steps: what is there now judges.
            return self._inspect(source, name, top, heatmaps)

    def inspect_many(
        self,
        sources: Sequence[ImageSource],
        *,
        names: Sequence[str] | None = None,
        top: int = DEFAULT_TOP,
        heatmaps: Path | None = None,
        progress: Progress = silent,
    ) -> Iterator[Inspection | Refused]:
        """Judge images in their order; one that cannot be used is `Refused`, the rest are done.

        Each image is worked on by one thread, several images at once. Inspections are recorded
        some at a time, and given back only when they are recorded.
        """
        names = checked_names(sources, names)
        if len(sources) == 1:
            # All cores for the one, and only the graph for that need be loaded.
            yield self._inspect_or_refuse(sources[0], names[0], top, heatmaps)
            progress(_STAGE, 1, 1)
            return
        window: deque[_Pending] = deque()
        handed_in = done = 0
        with ThreadPoolExecutor(usable_cores(), "patchbank-inspect") as workers:
            try:
                while handed_in < len(sources):
                    extractor = self._current().extractor
                    stream = extractor.extract_many(
                        sources[handed_in:], names=names[handed_in:], limits=self.workspace.limits
                    )
                    with contextlib.closing(stream):
                        for extraction in stream:
                            task = _Task(extraction, names[handed_in], top, heatmaps)
                            future = workers.submit(self._judge_apart, extractor, task)
                            window.append((task, future))
                            handed_in += 1
                            if len(window) == 2 * _RECORDED_AT_ONCE:
                                for result in self._finish(window, _RECORDED_AT_ONCE):
                                    done += 1
                                    progress(_STAGE, done, len(sources))
                                    yield result
                            if self._bank.extractor is not extractor:
                                # A fit with another extractor came between: on with that one.
                                break
                for result in self._finish(window, len(window)):
                    done += 1
                    progress(_STAGE, done, len(sources))
                    yield result
            finally:
                for _, future in window:
                    future.cancel()

    def similar(self, source: ImageSource, *, top: int = DEFAULT_TOP) -> tuple[Similar, ...]:
        """Return the known-good images that look most like an image, most similar first."""
        bank = self._current()
        extraction = bank.extractor.extract_one(
            source, name=source_name(source), limits=self.workspace.limits
        )
        return self._similar(bank, extraction.embedding, top)

    def _current(self) -> _ReadyBank:
        key = self.workspace.database.banks.active_key(self.category)
        with self._lock:
            if key != (self._bank.stored.category_id, self._bank.stored.version):
                self._bank = _ReadyBank(self.workspace, self.category)
            return self._bank

    def _similar(
        self, bank: _ReadyBank, embedding: NDArray[np.float32], top: int
    ) -> tuple[Similar, ...]:
        found = self.workspace.database.images.similar(
            bank.stored.category_id,
            bank.stored.version,
            embedding - bank.stored.embedding_mean,
            top=top,
        )
        return tuple(Similar(one.name, one.similarity) for one in found)

    def _inspect(
        self, source: ImageSource, name: str, top: int, heatmaps: Path | None
    ) -> Inspection:
        watch = Stopwatch()
        with watch.stage("bank"):
            bank = self._current()
        extraction = bank.extractor.extract_one(source, name=name, limits=self.workspace.limits)
        # The database is asked while the neighbours are searched.
        similar = self._aside.submit(self._similar, bank, extraction.embedding, top)
        task = _Task(extraction, name, top, heatmaps)
        judged = self._judge(bank, task, extraction, watch, similar.result)
        with watch.stage("record"):
            self._record([judged])
        return judged.inspection(watch.milliseconds())

    def _inspect_or_refuse(
        self, source: ImageSource, name: str, top: int, heatmaps: Path | None
    ) -> Inspection | Refused:
        try:
            return self.inspect(source, name=name, top=top, heatmaps=heatmaps)
        except ImageError as error:
            return Refused(name, str(error))

    def _judge_apart(self, extractor: Extractor, task: _Task) -> _Judged | Refused:
        """Judge one image of many, in the calling thread alone."""
        extraction = task.extraction
        if isinstance(extraction, Refusal):
            return Refused(task.name, str(extraction.error))
        watch = Stopwatch()
        with watch.stage("bank"):
            bank = self._current()
        if bank.extractor is not extractor:
            # The features at hand are another extractor's.
            try:
                extraction = bank.extractor.extract_one(
                    extraction.source, name=task.name, limits=self.workspace.limits
                )
            except ImageError as error:
                return Refused(task.name, str(error))
        embedding = extraction.embedding
        with in_this_thread():
            return self._judge(
                bank, task, extraction, watch, lambda: self._similar(bank, embedding, task.top)
            )

    def _finish(self, window: deque[_Pending], count: int) -> Iterator[Inspection | Refused]:
        """Record the oldest `count` of the window, then give them back."""
        pending = [window.popleft() for _ in range(count)]
        watch = Stopwatch()
        try:
            results = [future.result() for _, future in pending]
            judged = [one for one in results if isinstance(one, _Judged)]
            with watch.stage("record"):
                self._record(judged)
        except BankGoneError:
            # Rare: a bank that judged some of them is no more. They are judged anew, singly.
            for task, _ in pending:
                source = task.extraction.source
                yield self._inspect_or_refuse(source, task.name, task.top, task.heatmaps)
            return
        each = 1e3 * watch.total() / max(1, len(judged))
        for one in results:
            if isinstance(one, Refused):
                yield one
            else:
                stages = {**one.timings_ms, "record": each}
                yield one.inspection({**stages, "total": sum(stages.values())})

    def _judge(
        self,
        bank: _ReadyBank,
        task: _Task,
        extraction: Extraction,
        watch: Stopwatch,
        find_similar: Callable[[], tuple[Similar, ...]],
    ) -> _Judged:
        image = extraction.image
        for stage, milliseconds in extraction.timings_ms.items():
            watch.add(stage, milliseconds / 1e3)
        judgement = bank.judge(extraction.patches, image.width, image.height, watch=watch)
        with watch.stage("similar"):
            similar = find_similar()
        path = None
        if task.heatmaps is not None:
            path = heatmap_path(task.heatmaps, task.name, image.sha256)
        unrecorded = Inspection(
            image=task.name,
            category=self.category,
            verdict=judgement.verdict,
            score=judgement.score,
            threshold=bank.judge.threshold.value,
            p_value=judgement.p_value,
            regions=judgement.regions,
            similar=similar,
            bank_version=bank.stored.version,
            width=image.width,
            height=image.height,
            anomaly_map=judgement.anomaly_map,
            inspected_box=judgement.inspected_box,
            map_threshold=bank.judge.map_threshold.value,
            heatmap=path,
        )
        if path is not None:
            with watch.stage("heatmap"):
                write_heatmap(path, image.pixels, unrecorded)
        stages = {stage: 1e3 * seconds for stage, seconds in watch.seconds.items()}
        return _Judged(unrecorded, bank.stored.category_id, image.sha256, stages)

    def _record(self, judged: Sequence[_Judged]) -> None:
        self.workspace.database.inspections.record_many([one.record() for one in judged])


@dataclass(frozen=True, eq=False)
class _Task:
    """An image of known features and what is asked of it."""

    extraction: Extraction | Refusal
    name: str
    top: int
    heatmaps: Path | None


@dataclass(frozen=True, eq=False)
class _Judged:
    """An inspection that is not in the database yet."""

    unrecorded: Inspection
    category_id: int
    sha256: str
    timings_ms: dict[str, float]

    def inspection(self, timings_ms: dict[str, float]) -> Inspection:
        """Return the inspection with its final timings."""
        return replace(self.unrecorded, timings_ms=timings_ms)

    def record(self) -> NewInspection:
        """Return what the database keeps."""
        inspection = self.unrecorded
        return NewInspection(
            category_id=self.category_id,
            bank_version=inspection.bank_version,
            image_name=inspection.image,
            sha256=self.sha256,
            verdict=inspection.verdict,
            score=inspection.score,
            threshold=inspection.threshold,
            p_value=inspection.p_value,
            regions=[region_to_json(region) for region in inspection.regions],
            similar=[one.to_json() for one in inspection.similar],
            timings_ms=self.timings_ms,
        )


_Pending = tuple[_Task, "Future[_Judged | Refused]"]


def inspect_paths(
    workspace: Workspace,
    category: str,
    paths: Sequence[str | Path],
    *,
    top: int = DEFAULT_TOP,
    heatmaps: Path | None = None,
    progress: Progress = silent,
) -> Iterator[Inspection | Refused]:
    """Judge the images found at paths, each a folder, an image or a glob."""
    images = find_images(paths)
    inspector = Inspector(workspace, category)
    yield from inspector.inspect_many(images, top=top, heatmaps=heatmaps, progress=progress)
