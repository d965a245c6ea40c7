"""A memory bank put to work: the features of an image to its score, map and verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import ParameterError
from patchbank.inspection.judging.matching import not_calibrated, settings_of, threshold_rule_of
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Judgement, LikenessEffect
from patchbank.memory.calibration import Calibration, Thresholds
from patchbank.memory.labelled import Likeness, summary, summary_length
from patchbank.memory.maps import Region, anomaly_map, cells_inspected, find_regions
from patchbank.memory.neighbours import NeighbourIndex, Neighbours, NeighbourSource
from patchbank.memory.region_embedding import patches_in_box, region_embedding
from patchbank.memory.scoring import image_score, reweighted_score
from patchbank.store.bank_content import BankContent
from patchbank.store.stored_bank import StoredBank, damaged_bank
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.regions import spread, taken

# A region smaller than this share of the image, in per cent, is a corner of the smoothing; of an
# image seen in tiles, which may be large, smaller than this many pixels of the network's input.
_LEAST_REGION_PERCENT = 0.02
_LEAST_TILED_REGION = 10
# Pixels of the network's input per pixel of the map of an image seen in tiles, which may be large.
_TILED_MAP_STEP = 2
# Where an image does not pass but its smoothed map stays below the map's own threshold, the place
# that made it so is still shown: what reaches this share of the map's peak.
_SHARE_OF_PEAK = 0.9


class Judge:
    """Judges images by a memory bank. May be used by several threads at once.

    Parameters
    ----------
    bank
        float32 (rows, dimensions), or where its neighbours are to be asked for.
    settings
        What it was made with.
    calibration
        What its reference images score.
    thresholds
        Of the image score; by default those that follow from the calibration.
    covering_radius
        Patches farther from the bank are marked; NaN if unknown.
    likeness
        What labelled defects add to scores, where some do; the calibration then is by such scores.

    Attributes
    ----------
    thresholds
        Of the image score.
    map_threshold
        Of the anomaly map: a pixel belongs to a region above it.
    """

    def __init__(
        self,
        bank: NDArray[np.float32] | NeighbourSource,
        settings: FitSettings,
        calibration: Calibration,
        thresholds: Thresholds | None = None,
        *,
        covering_radius: float = math.nan,
        likeness: Likeness | None = None,
    ) -> None:
        self.settings = settings
        self.likeness = likeness
        self.covering_radius = covering_radius
        self.calibration = calibration
        self.thresholds = thresholds or settings.threshold_rule.thresholds(calibration)
        self.map_threshold = calibration.map_threshold(settings.false_alarm_rate).value
        self._index: NeighbourSource = (
            NeighbourIndex(bank) if isinstance(bank, np.ndarray) else bank
        )

    def __call__(
        self,
        patches: NDArray[np.float32],
        width: int,
        height: int,
        *,
        embedding: NDArray[np.float32] | None = None,
        watch: Stopwatch | None = None,
    ) -> Judgement:
        """Judge one image.

        Parameters
        ----------
        patches
            float32 (rows, columns, dimensions): its patch features.
        width, height
            Size of the original image in pixels.
        embedding
            float32 (e,), not centred: of the whole image; needed where labelled defects add to
            scores.
        watch
            Where the time of each stage is added up.
        """
        watch = watch or Stopwatch()
        grid = patches.shape[0], patches.shape[1]
        inspected = self.settings.extractor.inspected_of(width, height)
        with watch.stage("neighbours"):
            features = taken(patches, inspected)
            found = self._index.nearest(features)
            distances = found.distances[:, 0]
        with watch.stage("map"):
            if self.settings.image_score == "reweighted":
                score = reweighted_score(
                    features[np.newaxis],
                    distances[np.newaxis],
                    found.indices[:, 0][np.newaxis],
                    self._index,
                )
            else:
                score = image_score(distances[np.newaxis], self.settings.image_score)
            if not math.isfinite(score):
                raise ParameterError(
                    "the features in the bank are too large to compare; fit the category again"
                )
            likeness = self._effect(features, distances, found.indices[:, 0], embedding)
            score += 0.0 if likeness is None else likeness.added
            preprocessing = self.settings.extractor.preprocessing
            box = whole_pixels(preprocessing.inspected_box(width, height), width, height)
            spread_out = spread(distances, inspected, grid)
            anomaly = map_of(spread_out, self.settings, width, height)
            passes = self.thresholds.verdict(score) == "pass"
            regions = self._regions(anomaly, passes, box, width, height)
            strongest_embedding = None
            if not passes and regions:
                boxes = [regions[0].box_xyxy]
                (strongest_embedding,) = self._embeddings(
                    boxes, features, found, inspected, width, height
                )
        return Judgement(
            score=score,
            likeness=likeness,
            thresholds=self.thresholds,
            p_value=self.calibration.p_value(score),
            calibration_images=len(self.calibration),
            independent_references=self.calibration.independent,
            anomaly_map=anomaly,
            map_threshold=self.map_threshold,
            inspected_box=box,
            width=width,
            height=height,
            regions=regions,
            outside=None if math.isnan(self.covering_radius) else spread_out > self.covering_radius,
            region_embedding=strongest_embedding,
            inspected_map=(
                None
                if inspected is None
                else cells_inspected(
                    inspected, anomaly.shape, _extent(self.settings, width, height)
                )
            ),
        )

    def summary(
        self,
        patches: NDArray[np.float32],
        embedding: NDArray[np.float32],
        width: int,
        height: int,
    ) -> NDArray[np.float32]:
        """Return what labelled defects are compared by, float32 (s,); as of `__call__`."""
        features = taken(patches, self.settings.extractor.inspected_of(width, height))
        found = self._index.nearest(features)
        return np.concatenate(
            [summary(features, found.distances[:, 0], found.indices[:, 0], self._index), embedding]
        )

    def _effect(
        self,
        features: NDArray[np.float32],
        distances: NDArray[np.float32],
        nearest: NDArray[np.int64],
        embedding: NDArray[np.float32] | None,
    ) -> LikenessEffect | None:
        """Return what labelled defects do to the score."""
        if self.likeness is None:
            return None
        if embedding is None:
            raise ParameterError("labelled defects are compared by an image's embedding; give it")
        worst = summary(features, distances, nearest, self._index)
        whole = np.concatenate([worst, embedding])
        added = float(self.likeness.addition(whole[np.newaxis])[0])
        return LikenessEffect(added, self.likeness.label(whole) if added > 0 else None)

    def embeddings(
        self,
        patches: NDArray[np.float32],
        width: int,
        height: int,
        boxes: Sequence[tuple[int, int, int, int]],
    ) -> list[NDArray[np.float32]]:
        """Return the embeddings of parts of an image, float32 (d,); see `region_embedding`.

        Parameters
        ----------
        patches, width, height
            As of an image to judge.
        boxes
            x0, y0, x1, y1 in pixels of the image, ends excluded.
        """
        inspected = self.settings.extractor.inspected_of(width, height)
        features = taken(patches, inspected)
        found = self._index.nearest(features)
        return self._embeddings(boxes, features, found, inspected, width, height)

    def _embeddings(
        self,
        boxes: Sequence[tuple[int, int, int, int]],
        features: NDArray[np.float32],
        found: Neighbours,
        inspected: NDArray[np.bool_] | None,
        width: int,
        height: int,
    ) -> list[NDArray[np.float32]]:
        down, across = self.settings.extractor.patch_centres(width, height)
        embeddings = []
        for box in boxes:
            chosen = taken(patches_in_box(box, down * height, across * width), inspected)
            # A box may lie where nothing is inspected: there all the patches are of no use.
            rows = np.flatnonzero(chosen)
            if len(rows):
                nearest, each = np.unique(found.indices[rows, 0], return_inverse=True)
                embedding = region_embedding(
                    features[rows], self._index.rows(nearest)[each], found.distances[rows, 0]
                )
            else:
                embedding = np.zeros(features.shape[1], np.float32)
            embeddings.append(embedding)
        return embeddings

    def _regions(
        self,
        anomaly: NDArray[np.float32],
        passes: bool,
        box: tuple[int, int, int, int],
        width: int,
        height: int,
    ) -> tuple[Region, ...]:
        preprocessing, least = self.settings.extractor.preprocessing, _LEAST_REGION_PERCENT
        if preprocessing.is_tiled:
            least = 100 * _LEAST_TILED_REGION / math.prod(preprocessing.size(width, height))
        regions = find_regions(
            anomaly,
            self.map_threshold,
            box=box,
            width=width,
            height=height,
            minimum_area_percent=least,
        )
        return tuple(regions) if passes or regions else strongest(anomaly, box, width, height)


def strongest(
    anomaly: NDArray[np.float32], box: tuple[int, int, int, int], width: int, height: int
) -> tuple[Region, ...]:
    """Return the region around the peak of an anomaly map, whatever that is; see `find_regions`."""
    level = _SHARE_OF_PEAK * float(anomaly.max())
    return tuple(find_regions(anomaly, level, box=box, width=width, height=height)[:1])


def map_of(
    distances: NDArray[np.float32], settings: FitSettings, width: int, height: int
) -> NDArray[np.float32]:
    """Return the anomaly map of an image of this size from its patches' distances (h, w).

    Patches that are not inspected do not count, and the map is 0 there.
    """
    extractor, sigma = settings.extractor, settings.smoothing_sigma
    preprocessing, inspected = extractor.preprocessing, extractor.inspected_of(width, height)
    extent = _extent(settings, width, height)
    if extent is None:
        size = preprocessing.side, preprocessing.side
    else:
        wide, high = preprocessing.size(width, height)
        size = max(1, round(high / _TILED_MAP_STEP)), max(1, round(wide / _TILED_MAP_STEP))
        sigma /= _TILED_MAP_STEP
    return anomaly_map(distances, size, sigma, extent=extent, inspected=inspected)


def _extent(settings: FitSettings, width: int, height: int) -> tuple[float, float] | None:
    """Return the height and width of a map in patches, where its border cuts through patches."""
    extractor = settings.extractor
    if not extractor.preprocessing.is_tiled:
        return None
    wide, high = extractor.preprocessing.size(width, height)
    stride = extractor.tiling.stride
    return high / stride, wide / stride


def judge_of(stored: StoredBank, index: NeighbourSource, extractor: ExtractorSettings) -> Judge:
    """Return what judges by a stored bank.

    Parameters
    ----------
    index
        Its patches, or where their neighbours are to be asked for.
    extractor
        What made them.

    Raises
    ------
    NotCalibratedError
        If nothing says what is normal.
    DamagedBankError
        If the weights of likeness to defects are damaged.
    """
    content = stored.content
    calibration = calibration_of(content)
    if calibration is None:
        raise not_calibrated(stored.category)
    return Judge(
        index,
        settings_of(stored, extractor),
        calibration,
        covering_radius=content.covering_radius,
        likeness=stored_likeness(stored),
    )


def stored_likeness(stored: StoredBank) -> Likeness | None:
    """Return what likeness to recorded defects adds to a stored bank's scores; None for nothing.

    Raises
    ------
    DamagedBankError
        If its weights are damaged.
    """
    try:
        likeness = likeness_of(stored.content)
        if not stored.likeness_intact:
            raise ValueError("likeness to defects was changed, or is missing")
    except ValueError as error:
        remedy = f"switch likeness off with: patchbank defects use {stored.category} off"
        raise damaged_bank(stored.category, stored.key, error, remedy) from error
    return likeness


def calibration_of(bank: BankContent) -> Calibration | None:
    """Return the calibration that follows from a bank's scores; None where it has none yet."""
    counted = bank.scores.rows(bank.scores.counts)
    if not len(counted):
        return None
    return Calibration(
        tuple((counted.score + counted.added).tolist()),
        tuple(counted.map_maximum.tolist()),
        str(bank.settings["image_score"]),
        tuple(counted.group.tolist()),
    )


def thresholds_of(stored: StoredBank) -> Thresholds | None:
    """Return the thresholds of a stored bank; None where it has no calibration yet.

    Raises
    ------
    DamagedBankError
        If its settings cannot be those of a bank.
    """
    calibration = calibration_of(stored.content)
    return None if calibration is None else threshold_rule_of(stored).thresholds(calibration)


def likeness_of(bank: BankContent) -> Likeness | None:
    """Return what likeness to recorded defects adds to a bank's scores; None where nothing does.

    Raises
    ------
    ValueError
        If what is stored was damaged, or does not belong to the bank.
    """
    if bank.likeness is None:
        return None
    likeness = Likeness.from_bytes(bank.likeness)
    length = summary_length(bank.features.shape[1]) + bank.embeddings.shape[1]
    if likeness.weights.shape[1] != length:
        raise ValueError(
            f"likeness to defects has {likeness.weights.shape[1]} weights, expected {length}"
        )
    return likeness


def whole_pixels(
    box: tuple[float, float, float, float], width: int, height: int
) -> tuple[int, int, int, int]:
    """Return the box on whole pixels, at least one pixel wide and high, inside of the image."""
    x0, y0 = min(round(box[0]), width - 1), min(round(box[1]), height - 1)
    x1, y1 = min(max(round(box[2]), x0 + 1), width), min(max(round(box[3]), y0 + 1), height)
    return x0, y0, x1, y1
