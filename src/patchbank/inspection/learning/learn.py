"""Good images to a memory bank with its calibration, in memory: the part of a fit that computes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import IndistinctImagesError, NoImagesError
from patchbank.inspection.learning.bit_depth import settled_bit_depth
from patchbank.inspection.learning.demands import Demands
from patchbank.inspection.learning.gather import PatchRows, References
from patchbank.inspection.learning.indistinct import why_useless
from patchbank.inspection.learning.learned_bank import LearnedBank
from patchbank.inspection.learning.memory_limit import checked_limit, most_patches, plan_fit
from patchbank.inspection.learning.places import patch_places
from patchbank.inspection.learning.quantise import quantised_graph
from patchbank.inspection.learning.remarks import remarks_of
from patchbank.inspection.learning.resolution import settled_resolution
from patchbank.inspection.learning.score_collector import ScoreCollector
from patchbank.inspection.learning.settled_regions import check_regions, settled_regions
from patchbank.inspection.learning.stream import StreamedFit, Streaming, learn_streamed
from patchbank.inspection.settings import THUMBNAIL_SIDE, FitSettings
from patchbank.inspection.sources import checked_names
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.workspace import Workspace
from patchbank.memory.coreset import Coreset, coreset_size, greedy_k_center
from patchbank.memory.groups import Groups
from patchbank.memory.leave_one_out import leave_one_out_distances
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.progress import Progress, silent
from patchbank.store.bank_content import BankContent, CalibrationScores
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extraction import Refusal
from patchbank.vision.extractor import Extractor

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What was learned with all patches in memory; the attributes are those of `StreamedFit`."""

    references: References
    features: NDArray[np.float32]
    patch_image: NDArray[np.int64]
    position: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    scores: CalibrationScores
    summaries: NDArray[np.float32]
    covering_radius: float
    patch_features: Sequence[NDArray[np.float32]]
    streaming: Streaming | None = None


def learn(
    workspace: Workspace,
    sources: Sequence[ImageSource],
    settings: FitSettings,
    *,
    names: Sequence[str] | None = None,
    groups: Mapping[str, object] | None = None,
    memory_limit: int | str | None = None,
    demands: Demands | None = None,
    on_settled: Callable[[FitSettings, int], None] = lambda settings, most: None,
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
    groups
        The group of images that depend on one another, such as pictures of one part, by name; an
        image without one is a group of its own.
    memory_limit
        What this process may take, in bytes or as ``"4GB"``; by default the setting's, else what it
        takes and half of what is free. Images whose patches do not fit are learned in parts.
    demands
        How few images may be used, and how many refused; by default what cannot be done without.
    on_settled
        Called before the work with the settings as chosen, and the most patches an image has.

    Raises
    ------
    NoImagesError, TooManyRefusedError
        If the images do not meet the demands: two at least, since the calibration leaves one out.
    IndistinctImagesError
        If they all look the same to the network.
    ParameterError
        If the memory limit is not an amount of memory, or is too small for the bank.
    MissingExtraError, QuantisationError
        If the precision is int8 and the network cannot be quantised.
    """
    if not sources:
        raise NoImagesError
    watch = Stopwatch()
    limit = checked_limit(memory_limit)
    demands = demands or Demands()
    names = checked_names(sources, names)
    with watch.stage("features"):
        settings, remarks = settled_bit_depth(workspace, [(sources, names)], settings, progress)
    settings = settled_regions(workspace, sources, settings)
    with watch.stage("resolution"):
        settings, chosen = settled_resolution(workspace, sources, names, settings, progress)
        chosen = (*chosen, *check_regions(workspace, sources, settings))
        most = most_patches(settings.extractor, sources, workspace.limits)
    on_settled(settings, most)
    quantised = None
    if settings.extractor.is_quantised:
        # Too little memory is said before the work; in f32 the network takes about as much.
        plain = workspace.extractor(replace(settings.extractor, precision="f32"))
        plan_fit(plain, sources, most, settings.coreset_ratio, limit, workspace.limits)
        with watch.stage("quantise"):
            quantised = quantised_graph(workspace, settings.extractor, sources, names, progress)
    with watch.stage("network"):
        extractor = workspace.extractor(settings.extractor, quantised)
    with watch.stage("features"):
        parts = plan_fit(extractor, sources, most, settings.coreset_ratio, limit, workspace.limits)
    if parts is None:
        fitted: _Fitted | StreamedFit = _learn_whole(
            workspace, extractor, sources, names, groups, most, settings, demands, watch, progress
        )
    else:
        fitted = learn_streamed(
            workspace,
            extractor,
            sources,
            names,
            groups,
            most,
            settings,
            parts,
            demands,
            watch,
            progress,
        )
    bank = _bank_of(fitted, extractor, settings, watch)
    _check_distinct(bank)
    _log.info(
        "learned from %d of %d images: %s",
        len(bank.images), len(sources),
        ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in watch.seconds.items()),
    )  # fmt: skip
    return replace(bank, remarks=(*chosen, *remarks, *fitted.references.remarks, *remarks_of(bank)))


def _check_distinct(bank: LearnedBank) -> None:
    """Raise `IndistinctImagesError` for a bank that would pass or fail whatever comes."""
    reason = why_useless(bank.content, bank.threshold.value)
    if reason is not None:
        raise IndistinctImagesError(
            f"the {len(bank.images)} images look the same to the network ({reason}); nothing "
            f"was learned: use photographs of different good parts"
        )


def _bank_of(
    fitted: _Fitted | StreamedFit, extractor: Extractor, settings: FitSettings, watch: Stopwatch
) -> LearnedBank:
    """Return the bank that was learned, whole or in parts."""
    mean = fitted.embeddings.mean(axis=0)
    images = fitted.references.images
    row, column = patch_places(extractor.settings, images, fitted.patch_image, fitted.position)
    quantised = extractor.quantised
    content = BankContent(
        extractor_fingerprint=extractor.fingerprint,
        extractor=extractor.describe(),
        settings=settings.to_json(),
        coreset_ratio=settings.coreset_ratio,
        covering_radius=fitted.covering_radius,
        features=fitted.features,
        patch_image=fitted.patch_image,
        patch_row=row,
        patch_column=column,
        images=images,
        embeddings=fitted.embeddings - mean,
        embedding_mean=mean,
        scores=fitted.scores,
        quantised_graph=None if quantised is None else quantised.to_bytes(),
    )
    return LearnedBank(
        content=content,
        settings=settings,
        patches=sum(extractor.settings.patches_of(image.width, image.height) for image in images),
        quantised=quantised,
        streaming=fitted.streaming,
        refused=fitted.references.refused,
        timings_s=watch.seconds,
        patch_features=fitted.patch_features,
        summaries=fitted.summaries,
    )


def _learn_whole(
    workspace: Workspace,
    extractor: Extractor,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    labels: Mapping[str, object] | None,
    most: int,
    settings: FitSettings,
    demands: Demands,
    watch: Stopwatch,
    progress: Progress,
) -> _Fitted:
    """Learn with all patches in memory: the exact coreset."""
    with watch.stage("features"):
        gathered = _gather(workspace, extractor, sources, names, most, demands, progress)
    groups = gathered.references.groups(labels)
    patches, images = gathered.patches, gathered.patch_image
    with watch.stage("coreset"):
        coreset = greedy_k_center(
            patches,
            coreset_size(len(patches), settings.coreset_ratio),
            seed=settings.seed,
            progress=progress,
        )
    with watch.stage("calibration"):
        scores, summaries = _calibrate(gathered, coreset, groups, settings, progress)
    chosen = images[coreset.indices]
    return _Fitted(
        references=gathered.references,
        features=np.ascontiguousarray(patches[coreset.indices]),
        patch_image=chosen,
        position=coreset.indices - np.searchsorted(images, chosen),
        embeddings=gathered.embeddings,
        scores=scores,
        summaries=summaries,
        covering_radius=coreset.covering_radius,
        patch_features=np.split(patches, np.flatnonzero(np.diff(images)) + 1),
    )


def _calibrate(
    gathered: _Gathered,
    coreset: Coreset,
    groups: Groups | None,
    settings: FitSettings,
    progress: Progress,
) -> tuple[CalibrationScores, NDArray[np.float32]]:
    """Score and summarise every reference image as if it were new."""
    patches, images = gathered.patches, gathered.patch_image
    index = NeighbourIndex(patches[coreset.indices], images[coreset.indices])
    left_out = leave_one_out_distances(
        patches, images, coreset, index=index, groups=groups, progress=progress
    )
    collector = ScoreCollector(settings, index, groups, summarise=True)
    end = 0
    for number, image in enumerate(gathered.references.images):
        size = image.width, image.height
        own = slice(end, end := end + settings.extractor.patches_of(*size))
        collector.add(
            number,
            size,
            patches[own],
            left_out.distances[own],
            left_out.nearest[own],
        )
    return collector.scores(), collector.summaries()


@dataclass
class _Gathered:
    references: References
    patches: NDArray[np.float32]
    patch_image: NDArray[np.int64]
    embeddings: NDArray[np.float32]


def _gather(
    workspace: Workspace,
    extractor: Extractor,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    most: int,
    demands: Demands,
    progress: Progress,
) -> _Gathered:
    """Decode every image and take its features; patches land in one array made beforehand."""
    references = References(sources, names)
    patches = PatchRows(len(sources), most, extractor.dimension)
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
            patches.add(result.inspected_patches)
            embeddings[len(references) - 1] = result.embedding
    references.check(demands)
    return _Gathered(references, patches.rows, patches.images(), embeddings[: len(references)])
