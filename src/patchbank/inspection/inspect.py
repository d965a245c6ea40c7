"""Judge images by a category's active bank, with the evidence, and keep a record of it."""

from __future__ import annotations

import contextlib
import errno
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchbank.datasets.folders import find_images
from patchbank.errors import DiskFullError, ExtractorMismatchError, ReportError
from patchbank.inspection.judge import Judge
from patchbank.inspection.learn import source_names
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Inspection, Refused, Similar, region_to_json
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration
from patchbank.progress import Progress, silent
from patchbank.store.banks import StoredBank
from patchbank.store.inspections import NewInspection
from patchbank.vision.backbones import get_backbone
from patchbank.vision.extractor import Extraction, Extractor, Refusal
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import ImageSource

DEFAULT_TOP = 10


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
        If this installation computes other features than those in the bank.
    """
    known = {one.name for one in fields(ExtractorSettings)}
    settings = ExtractorSettings.from_json(
        {name: value for name, value in stored.extractor.items() if name in known}
    )
    if settings.fingerprint != stored.extractor_fingerprint:
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
    return workspace.extractor(settings)


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
        watch = Stopwatch()
        with watch.stage("bank"):
            bank = self._current()
        extraction = bank.extractor.extract_one(source, limits=self.workspace.limits)
        return self._judge(
            bank, extraction, name or source_names([source])[0], top, heatmaps, watch
        )

    def inspect_many(
        self,
        sources: Sequence[ImageSource],
        *,
        names: Sequence[str] | None = None,
        top: int = DEFAULT_TOP,
        heatmaps: Path | None = None,
        progress: Progress = silent,
    ) -> Iterator[Inspection | Refused]:
        """Judge images in their order; one that cannot be used is `Refused`, the rest are done."""
        bank = self._current()
        extractor = bank.extractor
        names = names or source_names(sources)
        stream = extractor.extract_many(
            sources,
            names=names,
            limits=self.workspace.limits,
            stage="inspected",
            progress=progress,
        )
        for name, extraction in zip(names, stream, strict=True):
            if isinstance(extraction, Refusal):
                yield Refused(name, str(extraction.error))
                continue
            watch = Stopwatch()
            with watch.stage("bank"):
                bank = self._current()
            if bank.extractor is not extractor:
                # A fit with another extractor came between: this image's features are the old ones.
                again = bank.extractor.extract_one(extraction.source, limits=self.workspace.limits)
                yield self._judge(bank, again, name, top, heatmaps, watch)
            else:
                yield self._judge(bank, extraction, name, top, heatmaps, watch)

    def similar(self, source: ImageSource, *, top: int = DEFAULT_TOP) -> tuple[Similar, ...]:
        """Return the known-good images that look most like an image, most similar first."""
        bank = self._current()
        extraction = bank.extractor.extract_one(source, limits=self.workspace.limits)
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
            self.category,
            embedding - bank.stored.embedding_mean,
            top=top,
            version=bank.stored.version,
        )
        return tuple(Similar(one.name, one.similarity) for one in found)

    def _judge(
        self,
        bank: _ReadyBank,
        extraction: Extraction,
        name: str,
        top: int,
        heatmaps: Path | None,
        watch: Stopwatch,
    ) -> Inspection:
        image = extraction.image
        for stage, milliseconds in extraction.timings_ms.items():
            watch.add(stage, milliseconds / 1e3)
        judgement = bank.judge(extraction.patches, image.width, image.height, watch=watch)
        with watch.stage("similar"):
            similar = self._similar(bank, extraction.embedding, top)
        # The content's hash keeps apart images of one name from different folders.
        path = None if heatmaps is None else heatmaps / f"{Path(name).stem}-{image.sha256[:8]}.png"
        inspection = Inspection(
            image=name,
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
                write_heatmap(path, image.pixels, inspection)
        with watch.stage("record"):
            self.workspace.database.inspections.record_many([_record(inspection, image.sha256)])
        return replace(inspection, timings_ms=watch.milliseconds())


def write_heatmap(path: Path, pixels: NDArray[np.uint8], inspection: Inspection) -> None:
    """Write the heatmap picture of an inspection; whole or not at all.

    Raises
    ------
    DiskFullError, ReportError
        If it cannot be written.
    """
    picture = heatmap_of(pixels, inspection)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(partial, format="PNG", compress_level=1)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"no space left on the disk for {path}; free some") from error
        raise ReportError(
            f"heatmap {path} cannot be written: {error.strerror}; give another folder"
        ) from error


def heatmap_of(pixels: NDArray[np.uint8], inspection: Inspection) -> Image.Image:
    """Return the picture of an inspection: the image beside its anomaly map."""
    from patchbank.reports.pictures import heatmap_picture

    return heatmap_picture(
        pixels,
        inspection.full_map(),
        verdict=inspection.verdict,
        score=inspection.score,
        threshold=inspection.threshold,
        map_threshold=inspection.map_threshold,
        regions=inspection.regions,
        p_value=inspection.p_value,
        name=inspection.image,
    )


def _record(inspection: Inspection, sha256: str) -> NewInspection:
    return NewInspection(
        category=inspection.category,
        bank_version=inspection.bank_version,
        image_name=inspection.image,
        sha256=sha256,
        verdict=inspection.verdict,
        score=inspection.score,
        threshold=inspection.threshold,
        p_value=inspection.p_value,
        regions=[region_to_json(region) for region in inspection.regions],
        similar=[one.to_json() for one in inspection.similar],
    )


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
