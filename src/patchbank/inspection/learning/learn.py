"""Good images to a memory bank with its calibration, in memory: the part of a fit that computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import IndistinctImagesError
from patchbank.inspection.learning.bit_depth import settled_bit_depth
from patchbank.inspection.learning.calibration_scores import CalibrationScores
from patchbank.inspection.learning.demands import Demands
from patchbank.inspection.learning.gather import ReferenceImage, References
from patchbank.inspection.learning.indistinct import why_useless
from patchbank.inspection.learning.memory_limit import checked_limit, plan_fit
from patchbank.inspection.learning.quantise import quantised_graph
from patchbank.inspection.learning.remarks import remarks_of
from patchbank.inspection.learning.stream import StreamedFit, Streaming, learn_streamed
from patchbank.inspection.learning.suspicious import Suspicious, find_suspicious
from patchbank.inspection.settings import THUMBNAIL_SIDE, FitSettings
from patchbank.inspection.sources import checked_names
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration, Threshold
from patchbank.memory.coreset import Coreset, coreset_size, greedy_k_center
from patchbank.memory.leave_one_out import leave_one_out_distances
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.progress import Progress, silent
from patchbank.vision.extractor import Extractor, Refusal
from patchbank.vision.images import ImageSource
from patchbank.vision.quantised import QuantisedGraph


@dataclass(frozen=True, eq=False)
class LearnedBank:
    """A memory bank in memory, with all that a judgement needs.

    Attributes
    ----------
    features
        float32 (rows, dimensions): the coreset, in the order it was chosen.
    patch_image, patch_row, patch_column
        (rows,): the image in `images` and the position each entry came from.
    embeddings
        float32 (images, dimensions), centred on `embedding_mean`.
    scores
        float64 (images,): each image's anomaly score with its own patches left out; NaN where a
        streamed fit did not draw the image for its calibration.
    covering_radius
        No patch of any image is farther from the bank. Exact unless the fit was streamed and did
        not read every image again: then it is a bound.
    quantised
        The extractor's graph where it was made of these images: with precision int8.
    streaming
        How the fit was streamed; None where all patches fitted into memory, and it is exact.
    remarks
        What a person should know although nothing failed, each one line; `suspicious` aside.
    """

    settings: FitSettings
    fingerprint: str
    extractor: dict[str, Any]
    images: tuple[ReferenceImage, ...]
    grid: tuple[int, int]
    features: NDArray[np.float32]
    patch_image: NDArray[np.int64]
    patch_row: NDArray[np.int16]
    patch_column: NDArray[np.int16]
    embeddings: NDArray[np.float32]
    embedding_mean: NDArray[np.float32]
    scores: NDArray[np.float64]
    covering_radius: float
    calibration: Calibration
    quantised: QuantisedGraph | None = None
    streaming: Streaming | None = None
    refused: tuple[Refused, ...] = ()
    remarks: tuple[str, ...] = ()
    timings_s: dict[str, float] = field(default_factory=dict)

    @property
    def threshold(self) -> Threshold:
        """The score above which an image fails, and what that promises."""
        return self.calibration.threshold(self.settings.false_alarm_rate)

    @cached_property
    def suspicious(self) -> Suspicious | None:
        """The reference images that stand apart and are perhaps not good."""
        names = [image.name for image in self.images]
        return find_suspicious(names, self.scores, self.settings.false_alarm_rate, self.embeddings)


def learn(
    workspace: Workspace,
    sources: Sequence[ImageSource],
    settings: FitSettings,
    *,
    names: Sequence[str] | None = None,
    memory_limit: int | str | None = None,
    demands: Demands | None = None,
    progress: Progress = silent,
) -> LearnedBank:
    """Learn a memory bank from good images.

    An image that cannot be used is refused and the rest are taken; so is one whose content was
    already seen, since an image that is there twice would vouch for itself in the calibration.

    Parameters
    ----------
    sources
        Images as paths, bytes, PIL images or arrays.
    names
        Their names, unique; the paths themselves by default.
    memory_limit
        What this process may take, in bytes or as ``"4GB"``; by default the setting's, else what it
        takes and half of what is free. Images whose patches do not fit are learned in parts.
    demands
        How few images may be used, and how many refused; by default what cannot be done without.

    Raises
    ------
    NoImagesError, TooManyRefusedError
        If the images do not meet the demands: two at least, since the calibration leaves one out.
    IndistinctImagesError
        If they all look the same to the network.
    ParameterError
        If the memory limit is none, or too little for the bank.
    MissingExtraError, QuantisationError
        If the precision is int8 and the network cannot be quantised.
    """
    watch = Stopwatch()
    limit = checked_limit(memory_limit)
    demands = demands or Demands()
    names = checked_names(sources, names)
    with watch.stage("features"):
        settings, remarks = settled_bit_depth(workspace, [(sources, names)], settings, progress)
    quantised = None
    if settings.extractor.is_quantised:
        # Too little memory is said before the work; in f32 the network takes about as much.
        plain = workspace.extractor(replace(settings.extractor, precision="f32"))
        plan_fit(plain, sources, settings.coreset_ratio, limit, workspace.limits)
        with watch.stage("quantise"):
            quantised = quantised_graph(workspace, settings.extractor, sources, names, progress)
    with watch.stage("network"):
        extractor = workspace.extractor(settings.extractor, quantised)
    with watch.stage("features"):
        parts = plan_fit(extractor, sources, settings.coreset_ratio, limit, workspace.limits)
    if parts is None:
        bank = _learn_whole(
            workspace, extractor, sources, names, settings, demands, watch, progress
        )
    else:
        streamed = learn_streamed(
            workspace, extractor, sources, names, settings, parts, demands, watch, progress
        )
        bank = _bank_of(streamed, extractor, settings, watch)
    _check_distinct(bank)
    return replace(bank, remarks=(*remarks, *remarks_of(bank)))


def _check_distinct(bank: LearnedBank) -> None:
    """Raise `IndistinctImagesError` for a bank that would pass or fail whatever comes."""
    reason = why_useless(
        bank.features,
        threshold=bank.threshold.value,
        coreset_ratio=bank.settings.coreset_ratio,
        covering_radius=bank.covering_radius,
        embeddings=bank.embeddings,
        embedding_mean=bank.embedding_mean,
    )
    if reason is not None:
        raise IndistinctImagesError(
            f"the {len(bank.images)} images look the same to the network ({reason}): nothing was "
            "learned; give photographs of different good parts"
        )


def _bank_of(
    streamed: StreamedFit, extractor: Extractor, settings: FitSettings, watch: Stopwatch
) -> LearnedBank:
    """Return the bank that was learned in parts."""
    mean = streamed.embeddings.mean(axis=0)
    row, column = np.divmod(streamed.position, extractor.grid[1])
    return LearnedBank(
        settings=settings,
        fingerprint=extractor.fingerprint,
        extractor=extractor.describe(),
        images=tuple(streamed.references.images),
        grid=extractor.grid,
        features=streamed.features,
        patch_image=streamed.patch_image,
        patch_row=row.astype(np.int16),
        patch_column=column.astype(np.int16),
        embeddings=streamed.embeddings - mean,
        embedding_mean=mean,
        scores=streamed.scores,
        covering_radius=streamed.covering_radius,
        calibration=streamed.calibration,
        quantised=extractor.quantised,
        streaming=streamed.streaming,
        refused=streamed.references.refused,
        timings_s=watch.seconds,
    )


def _learn_whole(
    workspace: Workspace,
    extractor: Extractor,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    settings: FitSettings,
    demands: Demands,
    watch: Stopwatch,
    progress: Progress,
) -> LearnedBank:
    """Learn with all patches in memory: the exact coreset."""
    with watch.stage("features"):
        gathered = _gather(workspace, extractor, sources, names, demands, progress)
    patches = gathered.patches
    height, width, dimension = patches.shape[1:]
    rows = patches.reshape(-1, dimension)
    with watch.stage("coreset"):
        coreset = greedy_k_center(
            rows,
            coreset_size(len(rows), settings.coreset_ratio),
            seed=settings.seed,
            progress=progress,
        )
    with watch.stage("calibration"):
        scores, calibration = _calibrate(patches, coreset, settings, progress)
    image, position = np.divmod(coreset.indices, height * width)
    row, column = np.divmod(position, width)
    mean = gathered.embeddings.mean(axis=0)
    return LearnedBank(
        settings=settings,
        fingerprint=extractor.fingerprint,
        extractor=extractor.describe(),
        images=tuple(gathered.references.images),
        grid=(height, width),
        features=np.ascontiguousarray(rows[coreset.indices]),
        patch_image=image.astype(np.int64),
        patch_row=row.astype(np.int16),
        patch_column=column.astype(np.int16),
        embeddings=gathered.embeddings - mean,
        embedding_mean=mean,
        scores=scores,
        covering_radius=coreset.covering_radius,
        calibration=calibration,
        quantised=extractor.quantised,
        refused=gathered.references.refused,
        timings_s=watch.seconds,
    )


def _calibrate(
    patches: NDArray[np.float32], coreset: Coreset, settings: FitSettings, progress: Progress
) -> tuple[NDArray[np.float64], Calibration]:
    """Score every reference image as if it were new; return the scores and what they calibrate."""
    count, height, width, dimension = patches.shape
    rows = patches.reshape(-1, dimension)
    index = NeighbourIndex(rows[coreset.indices], coreset.indices // (height * width))
    left_out = leave_one_out_distances(patches, coreset, index=index, progress=progress)
    calibration = CalibrationScores(settings, index)
    scores = [
        calibration.add(image, patches[image], left_out.distances[image], left_out.nearest[image])
        for image in range(count)
    ]
    return np.array(scores), calibration.calibration()


@dataclass
class _Gathered:
    references: References
    patches: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def _gather(
    workspace: Workspace,
    extractor: Extractor,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    demands: Demands,
    progress: Progress,
) -> _Gathered:
    """Decode every image and take its features; patches land in one array made beforehand."""
    references = References(sources, names)
    patches = np.empty((len(sources), *extractor.grid, extractor.dimension), dtype=np.float32)
    embeddings = np.empty((len(sources), extractor.embedding_dimension), dtype=np.float32)
    stream = extractor.extract_many(
        sources,
        names=names,
        limits=workspace.limits,
        thumbnail_side=THUMBNAIL_SIDE,
        progress=progress,
    )
    for number, result in enumerate(stream):
        if references.admit(number, result) and not isinstance(result, Refusal):
            index = len(references) - 1
            patches[index], embeddings[index] = result.patches, result.embedding
    references.check(demands)
    used = len(references)
    return _Gathered(references, patches[:used], embeddings[:used])
