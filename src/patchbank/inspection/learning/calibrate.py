"""Give a category's bank its thresholds from good images that it was not made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.collect import collect
from patchbank.errors import IndistinctImagesError, SuspiciousImagesError
from patchbank.inspection.judging.matching import matching_extractor
from patchbank.inspection.learning.calibration_scores import CalibrationScores
from patchbank.inspection.learning.demands import (
    DEFAULT_MAX_REFUSED,
    Demands,
    demands_of,
    refused_remark,
)
from patchbank.inspection.learning.gather import References
from patchbank.inspection.learning.indistinct import why_useless
from patchbank.inspection.learning.reduction import reduction_remarks
from patchbank.inspection.learning.remarks import (
    moved_threshold,
    near_copies_remark,
    too_few_images,
)
from patchbank.inspection.learning.suspicious import Suspicious, find_suspicious
from patchbank.inspection.settings import THUMBNAIL_SIDE, FitSettings
from patchbank.inspection.sources import checked_names, without
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration, Threshold
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.progress import Progress, silent
from patchbank.store.banks import StoredBank
from patchbank.store.new_bank import NewBank, NewImage
from patchbank.vision.extractor import Extractor, Refusal
from patchbank.vision.images import ImageSource

# How many of a bank's reference images, its last ones, are of its calibration alone.
_HELD_OUT = "held_out"
_REMEDY = "calibrate again with --exclude NAME"


@dataclass(frozen=True)
class CalibrationReport:
    """What a calibration did.

    Attributes
    ----------
    provenance_known
        Whether the bank knows the images it was made of. Where it does not, nobody can tell whether
        the calibration's images are among them.
    suspicious
        Images of this calibration that stand apart from the others, if any do.
    """

    category: str
    bank_version: int
    images: int
    refused: tuple[Refused, ...]
    threshold: Threshold
    provenance_known: bool
    seconds: float
    suspicious: Suspicious | None
    remarks: tuple[str, ...] = ()

    @property
    def warning(self) -> str | None:
        """What a person must know of this calibration, in one line."""
        if self.provenance_known:
            return None
        return (
            "the bank does not say which images it was made of: if these are among them, the "
            "threshold is too low and good images get p-values that are too small"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        threshold = self.threshold
        return {
            "category": self.category,
            "bank_version": self.bank_version,
            "images": self.images,
            "refused": [one.to_json() for one in self.refused],
            "threshold": threshold.value,
            "calibration": {
                "images": threshold.sample_size,
                "requested_false_alarm_rate": threshold.requested_rate,
                "guaranteed_false_alarm_rate": threshold.guaranteed_rate,
                "sufficient": threshold.sufficient,
                "text": threshold.describe(),
            },
            "provenance_known": self.provenance_known,
            "warning": self.warning,
            "suspicious": None if self.suspicious is None else self.suspicious.to_json(),
            "remarks": list(self.remarks),
            "seconds": round(self.seconds, 3),
        }


def calibrate_paths(
    workspace: Workspace,
    category: str,
    paths: Sequence[str | Path],
    *,
    false_alarm_rate: float | None = None,
    force: bool = False,
    max_refused: int | str = DEFAULT_MAX_REFUSED,
    exclude: Sequence[str] = (),
    strict: bool = False,
    progress: Progress = silent,
) -> CalibrationReport:
    """Calibrate by the images found at paths, each a folder, an image or a glob."""
    found = collect(paths, good_only=True, exclude=exclude)
    return calibrate(
        workspace,
        category,
        found.images,
        found=found.remarks,
        false_alarm_rate=false_alarm_rate,
        force=force,
        max_refused=max_refused,
        exclude=exclude,
        strict=strict,
        progress=progress,
    )


def calibrate(
    workspace: Workspace,
    category: str,
    sources: Sequence[ImageSource],
    *,
    names: Sequence[str] | None = None,
    found: Sequence[str] = (),
    false_alarm_rate: float | None = None,
    force: bool = False,
    max_refused: int | str = DEFAULT_MAX_REFUSED,
    exclude: Sequence[str] = (),
    strict: bool = False,
    progress: Progress = silent,
) -> CalibrationReport:
    """Make a version of the active bank whose thresholds come from these good images.

    The patches stay as they are. The images become reference images too, so that they are found as
    similar; those of a calibration before are let go. An image that the bank is known to be made
    of, by its content, is left out: it would score about zero. Another picture of a name that the
    bank has is stored under a name like it.

    Parameters
    ----------
    found
        Remarks on how the images were found, for the report.
    false_alarm_rate
        Share of good images that may fail, in (0, 1); by default what the bank has.
    force
        Whether fewer images will do than the present calibration rests on, those excluded
        counted, or than five; two are needed in any case.
    max_refused
        How many images may be refused, as in `fit`.
    exclude
        Images to leave out, each by its name or its file's name.
    strict
        Whether images that stand apart from the others are an error.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category or it has no bank.
    NoImagesError, TooManyRefusedError
        If too few images can be used, or too many are refused.
    IndistinctImagesError
        If the threshold would be 0.
    SuspiciousImagesError
        If `strict` and some images stand apart.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    BankGoneError
        If the bank was replaced meanwhile; nothing is changed then.
    """
    watch = Stopwatch()
    names = checked_names(sources, names)
    workspace.database.check_can_learn()
    demands = demands_of(force=force, max_refused=max_refused)
    stored, images = workspace.database.banks.active_with_images(category)
    extractor = matching_extractor(workspace, stored)
    settings = FitSettings.from_json(stored.settings, extractor.settings)
    if false_alarm_rate is not None:
        settings = replace(settings, false_alarm_rate=false_alarm_rate)
    held_out = 0 if stored.calibration is None else int(stored.calibration.get(_HELD_OUT, 0))
    learned = images[: len(images) - held_out]
    given = len(sources)
    if exclude:
        sources, names = without(sources, names, exclude)
    if not force:
        demands = _as_many_as_before(stored, demands, excluded=given - len(sources))
    references = References(sources, names, known=learned)
    scores = CalibrationScores(settings, NeighbourIndex(stored.features))
    scored = _score(workspace, extractor, references, sources, names, scores, demands, progress)
    calibration = scores.calibration()
    threshold = calibration.threshold(settings.false_alarm_rate)
    reason = why_useless(stored.features, threshold=threshold.value)
    if reason is not None:
        raise IndistinctImagesError(
            f"category {category!r}: the bank would be of no use ({reason}); nothing was changed: "
            "give good images that the bank was not made of"
        )
    suspicious = find_suspicious(
        [names[number] for number in references.numbers], scored.scores, settings.false_alarm_rate
    )
    if strict and suspicious is not None:
        raise SuspiciousImagesError(f"nothing was changed; {suspicious.describe(_REMEDY)}")
    bank = _calibrated(stored, learned, references, scored, calibration, settings)
    version = workspace.database.banks.save(
        category, bank, cause="calibrate", replaces=(stored.category_id, stored.version)
    )
    refused = references.refused
    report = CalibrationReport(
        category=category,
        bank_version=version,
        images=len(references),
        refused=refused,
        threshold=threshold,
        provenance_known=bool((stored.patch_image >= 0).all()),
        seconds=watch.total(),
        suspicious=suspicious,
    )
    remarks = [*found] if report.warning is None else [*found, report.warning]
    remarks += [] if suspicious is None else [suspicious.describe(_REMEDY)]
    remarks += too_few_images(threshold)
    remarks += moved_threshold(stored.calibration, threshold)
    remarks += refused_remark(len(refused), len(sources))
    remarks += near_copies_remark(scored.embeddings)
    remarks += reduction_remarks(references.images, settings.extractor.preprocessing)
    return replace(report, remarks=tuple(remarks))


def _as_many_as_before(stored: StoredBank, demands: Demands, *, excluded: int) -> Demands:
    """Demand as many images as the present calibration rests on, if it does on more.

    Those excluded count: that they are not good is no reason to keep a calibration by them.
    """
    before = 0 if stored.calibration is None else len(stored.calibration["scores"])
    if before - excluded <= demands.fewest:
        return demands
    reason = f"the present calibration rests on {before}, and fewer make a worse threshold"
    return replace(demands, fewest=before - excluded, because=reason)


@dataclass(frozen=True, eq=False)
class _Scored:
    """Embeddings, float32 (n, e), and scores of the images admitted, in their order."""

    embeddings: NDArray[np.float32]
    scores: list[float]


def _score(
    workspace: Workspace,
    extractor: Extractor,
    references: References,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    scores: CalibrationScores,
    demands: Demands,
    progress: Progress,
) -> _Scored:
    embeddings, image_scores = [], []
    stream = extractor.extract_many(
        sources,
        names=names,
        limits=workspace.limits,
        thumbnail_side=THUMBNAIL_SIDE,
        stage="calibrate",
        progress=progress,
    )
    for number, result in enumerate(stream):
        if references.admit(number, result) and not isinstance(result, Refusal):
            patches = result.patches
            rows, columns, dimensions = patches.shape
            nearest = scores.index.nearest(patches.reshape(-1, dimensions))
            distances = nearest.distances[:, 0].reshape(rows, columns)
            indices = nearest.indices[:, 0].reshape(rows, columns)
            image_scores.append(scores.add(None, patches, distances, indices))
            embeddings.append(result.embedding)
    references.check(demands)
    return _Scored(np.stack(embeddings), image_scores)


def _calibrated(
    stored: StoredBank,
    learned: Sequence[NewImage],
    references: References,
    found: _Scored,
    calibration: Calibration,
    settings: FitSettings,
) -> NewBank:
    """Return the bank with its new calibration and images."""
    mean = stored.embedding_mean if learned else found.embeddings.mean(axis=0)
    images = [
        NewImage(
            name=image.name,
            sha256=image.sha256,
            pixels_sha256=image.pixels_sha256,
            width=image.width,
            height=image.height,
            thumbnail=image.thumbnail,
            origin=image.origin,
            score=score,
        )
        for image, score in zip(references.images, found.scores, strict=True)
    ]
    kept = {
        one.name: getattr(stored, one.name)
        for one in fields(NewBank)
        if one.name not in ("settings", "calibration", "images", "embeddings", "embedding_mean")
    }
    return NewBank(
        **kept,
        settings=settings.to_json(),
        calibration={**json.loads(calibration.to_json()), _HELD_OUT: len(images)},
        images=[*learned, *images],
        embeddings=np.concatenate([stored.embeddings[: len(learned)], found.embeddings - mean]),
        embedding_mean=mean,
    )
