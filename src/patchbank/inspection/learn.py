"""Good images to a memory bank with its calibration, in memory: the part of a fit that computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import NoImagesError
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration, Threshold
from patchbank.memory.coreset import Coreset, coreset_size, greedy_k_center
from patchbank.memory.leave_one_out import leave_one_out_distances
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.scoring import anomaly_map, image_scores, reweighted_score
from patchbank.progress import Progress, silent
from patchbank.vision.extractor import Extractor, Refusal
from patchbank.vision.images import ImageSource

# The calibration leaves one image out, and something must remain.
FEWEST_IMAGES = 2
# Pixels of the longer side: what a gallery shows.
THUMBNAIL_SIDE = 160


@dataclass(frozen=True)
class ReferenceImage:
    """A known-good image a bank learned from."""

    name: str
    origin: str | None
    sha256: str
    width: int
    height: int
    thumbnail: bytes


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
        float64 (images,): each image's anomaly score with its own patches left out.
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
    refused: tuple[Refused, ...] = ()
    timings_s: dict[str, float] = field(default_factory=dict)

    @property
    def threshold(self) -> Threshold:
        """The score above which an image fails, and what that promises."""
        return self.calibration.threshold(self.settings.false_alarm_rate)


def learn(
    workspace: Workspace,
    sources: Sequence[ImageSource],
    settings: FitSettings,
    *,
    names: Sequence[str] | None = None,
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

    Raises
    ------
    NoImagesError
        If fewer than two images can be used: the calibration leaves one out.
    """
    watch = Stopwatch()
    with watch.stage("network"):
        extractor = workspace.extractor(settings.extractor)
    with watch.stage("features"):
        gathered = _gather(workspace, extractor, sources, names or source_names(sources), progress)
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
        images=tuple(gathered.images),
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
        refused=tuple(gathered.refused),
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
    if settings.image_score == "reweighted":
        scores = np.array(
            [
                reweighted_score(
                    patches[image],
                    left_out.distances[image],
                    left_out.nearest[image],
                    index,
                    exclude_group=image,
                )
                for image in range(count)
            ]
        )
    else:
        scores = image_scores(left_out.distances, settings.image_score)
    side = settings.extractor.preprocessing.side
    maxima = [
        float(anomaly_map(distances, side, settings.smoothing_sigma).max())
        for distances in left_out.distances
    ]
    return scores, Calibration(tuple(scores.tolist()), tuple(maxima), settings.image_score)


def source_names(sources: Sequence[ImageSource]) -> list[str]:
    """Return a name for each source: its path, or ``image-0007`` for one that has none."""
    return [
        Path(source).as_posix() if isinstance(source, str | Path) else f"image-{index:04d}"
        for index, source in enumerate(sources)
    ]


@dataclass
class _Gathered:
    images: list[ReferenceImage]
    refused: list[Refused]
    patches: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def _gather(
    workspace: Workspace,
    extractor: Extractor,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    progress: Progress,
) -> _Gathered:
    """Decode every image and take its features; patches land in one array made beforehand."""
    images: list[ReferenceImage] = []
    refused: list[Refused] = []
    seen: dict[str, str] = {}
    patches = np.empty((len(sources), *extractor.grid, extractor.dimension), dtype=np.float32)
    embeddings = np.empty((len(sources), extractor.embedding_dimension), dtype=np.float32)
    stream = extractor.extract_many(
        sources,
        names=names,
        limits=workspace.limits,
        thumbnail_side=THUMBNAIL_SIDE,
        progress=progress,
    )
    for name, source, result in zip(names, sources, stream, strict=True):
        if isinstance(result, Refusal):
            refused.append(Refused(name, str(result.error)))
            continue
        image = result.image
        twin = seen.setdefault(image.sha256, name)
        if twin != name:
            refused.append(Refused(name, f"{name}: the same picture as {twin}; used once."))
            continue
        index = len(images)
        patches[index], embeddings[index] = result.patches, result.embedding
        images.append(
            ReferenceImage(
                name=name,
                origin=str(Path(source).absolute()) if isinstance(source, str | Path) else None,
                sha256=image.sha256,
                width=image.width,
                height=image.height,
                thumbnail=result.thumbnail,
            )
        )
    if len(images) < FEWEST_IMAGES:
        found = "; ".join(one.reason for one in refused[:3])
        raise NoImagesError(
            f"{len(images)} usable image(s) of {len(sources)} given; "
            f"at least {FEWEST_IMAGES} good images are needed{': ' + found if found else '.'}"
        )
    return _Gathered(images, refused, patches[: len(images)], embeddings[: len(images)])
