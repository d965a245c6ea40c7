"""How well anomaly maps find the masked regions, exactly and over all thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchbank.compiler import compiles
from patchbank.errors import ParameterError
from patchbank.metrics._plain_pixels import PAGE, PAGES
from patchbank.metrics.curve import Curve, FloatArray

# A page of 65,536 values gets a table at this number of pixels; below, a list is smaller.
_TABLE_FROM = 1 << 14
# Counts have 32 bits up to this number of pixels.
_NARROW = (1 << 32) - 1
# Maximum number of points of the drawn curve.
_POINTS = 1000


@dataclass(frozen=True, slots=True)
class PixelMetrics:
    """How well pixel scores find the masked regions; None for what cannot be computed.

    Attributes
    ----------
    images, regions
        The numbers of images and of connected regions in their masks.
    pixel_auroc, pixel_average_precision
        Over all pixels of all images.
    aupro
        Area under the per-region overlap (Bergmann et al., IJCV 2021) up to the false-positive rate
        `fpr_limit`, divided by it.
    pro
        The curve, thinned for drawing; `aupro` is computed from all points.
    """

    images: int
    regions: int
    fpr_limit: float
    pixel_auroc: float | None
    pixel_average_precision: float | None
    aupro: float | None
    pro: Curve | None


class PixelScores:
    """A collector of the maps and masks of a test set, which computes its `PixelMetrics`.

    Pixels are not stored but counted by score, so that every score is a threshold. There are 2^23
    float32 values between a number and its double, and a count takes 4 bytes: for each doubling
    between the lowest and the highest score, good pixels take at most 40 MiB and anomalous ones
    120 MiB, however many images there are. (Distances to a bank span two to four doublings.)
    Sparse scores are listed instead: 4 bytes for a good pixel and 12 for an anomalous one.

    Examples
    --------
    >>> gathered = PixelScores()
    >>> gathered.add(np.array([[0.1, 0.9]]), np.array([[False, True]]))
    >>> gathered.metrics().aupro
    1.0
    """

    def __init__(self) -> None:
        self._good = _Tally(weighted=False)
        # The weight of an anomalous pixel is its share of its region.
        self._anomalous = _Tally(weighted=True)
        self._images = 0
        self._regions = 0

    @property
    def nbytes(self) -> int:
        """Memory in use, in bytes."""
        return self._good.nbytes + self._anomalous.nbytes

    def add(
        self, anomaly_map: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """Add the map of an image.

        Parameters
        ----------
        anomaly_map
            (h, w) of float; NaN where the image was not inspected, which counts as never flagged,
            so that a defect there is missed.
        mask
            (h, w) of bool, the anomalous pixels; None for a good image.

        Raises
        ------
        ParameterError
            If the shapes differ or the map contains infinite values.
        """
        scores = np.asarray(anomaly_map, dtype=np.float32)
        if scores.ndim != 2 or (mask is not None and mask.shape != scores.shape):
            shape = None if mask is None else mask.shape
            raise ParameterError(f"the map has shape {scores.shape} and the mask {shape}")
        if np.isinf(scores).any():
            raise ParameterError("the anomaly map contains infinite values")
        # Adding 0 turns -0 into 0; pixels that were not inspected rank below all others.
        scores = np.where(np.isnan(scores), np.float32(-np.inf), scores + np.float32(0))
        self._images += 1
        if mask is None or not mask.any():
            self._good.add(scores.ravel())
            return
        from scipy import ndimage

        # Eight neighbours, as in MVTec's evaluation code.
        labels, regions = ndimage.label(mask, structure=np.ones((3, 3), dtype=np.int8))
        inside = labels > 0
        region = labels[inside]
        areas = np.bincount(region, minlength=regions + 1)
        self._good.add(scores[~inside])
        self._anomalous.add(scores[inside], 1.0 / areas[region])
        self._regions += regions

    def metrics(self, fpr_limit: float = 0.3) -> PixelMetrics:
        """Return the metrics of all images added so far.

        Parameters
        ----------
        fpr_limit
            False-positive rate up to which the per-region overlap is integrated (MVTec AD: 0.3,
            MVTec AD 2: 0.05).

        Raises
        ------
        ParameterError
            If the limit is not in (0, 1].
        """
        if not 0 < fpr_limit <= 1:
            raise ParameterError(f"the false-positive limit is {fpr_limit}; give 0 < limit <= 1")
        good, anomalous = self._good.pixels, self._anomalous.pixels
        if not good or not anomalous:
            return PixelMetrics(self._images, self._regions, fpr_limit, None, None, None, None)
        curve = np.empty((2, _POINTS))
        auroc, precision, aupro, points = _kernels().walk(
            self._good.tables(),
            self._anomalous.tables(),
            (float(good), float(anomalous), float(self._regions)),
            float(fpr_limit),
            curve,
        )
        return PixelMetrics(
            images=self._images,
            regions=self._regions,
            fpr_limit=fpr_limit,
            pixel_auroc=auroc,
            pixel_average_precision=precision,
            aupro=aupro,
            pro=Curve(curve[0, :points].copy(), curve[1, :points].copy()),
        )


def _kernels() -> Any:
    """Return the module with the loops over pixels: compiled, or in NumPy."""
    if compiles():
        # Imports Numba, which takes half a second and only test sets with masks need.
        from patchbank.metrics import _pixel_kernels

        return _pixel_kernels
    from patchbank.metrics import _plain_pixels

    return _plain_pixels


class _Tally:
    """The number of pixels with each score and, if weighted, the sum of their weights."""

    def __init__(self, *, weighted: bool) -> None:
        self._weighted = weighted
        # The row of each page in the tables, or -1; only pages with many pixels get a row.
        self._slots = np.full(PAGES, -1, dtype=np.int32)
        self._counts: npt.NDArray[Any] = np.zeros((0, PAGE), dtype=np.uint32)
        self._weighed = np.zeros((0, PAGE), dtype=np.float64)
        self._page_pixels = np.zeros(PAGES, dtype=np.int64)
        # Pixels whose page has no row: the ranks of their scores, and their weights.
        self._loose: list[npt.NDArray[np.uint32]] = []
        self._loose_weights: list[FloatArray] = []

    @property
    def pixels(self) -> int:
        """Number of pixels added."""
        return int(self._page_pixels.sum())

    @property
    def nbytes(self) -> int:
        """Memory in use, in bytes."""
        arrays = [self._counts, self._weighed, *self._loose, *self._loose_weights]
        return sum(array.nbytes for array in arrays)

    def add(self, scores: npt.NDArray[np.float32], weights: FloatArray | None = None) -> None:
        """Add (n,) scores, without NaN, and their (n,) weights."""
        kernels = _kernels()
        bits = scores.view(np.int32)
        new = np.zeros(PAGES, dtype=np.int64)
        kernels.count_pages(bits, new)
        self._page_pixels += new
        if self._counts.dtype == np.uint32 and self.pixels > _NARROW:
            self._counts = self._counts.astype(np.uint64)
        crowded = (self._page_pixels >= _TABLE_FROM) & (self._slots < 0) & (new > 0)
        first, pages = len(self._counts), int(crowded.sum())
        if pages:
            self._slots[crowded] = np.arange(first, first + pages)
            # In place, so that the system moves the memory instead of copying it.
            self._counts.resize((first + pages, PAGE), refcheck=False)
            if self._weighted:
                self._weighed.resize((first + pages, PAGE), refcheck=False)
        loose = np.empty(int(new[self._slots < 0].sum()), dtype=np.uint32)
        loose_weights = np.empty(len(loose) if self._weighted else 0)
        kernels.tally(
            bits,
            np.empty(0) if weights is None else weights,
            self._slots,
            self._counts,
            self._weighed,
            loose,
            loose_weights,
        )
        if len(loose):
            self._loose.append(loose)
            self._loose_weights.append(loose_weights)

    def tables(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arguments for `walk`."""
        loose = np.concatenate([np.empty(0, dtype=np.uint32), *self._loose])
        weights = np.concatenate([np.empty(0), *self._loose_weights])
        if self._weighted:
            order = np.argsort(loose)
            loose, weights = loose[order], weights[order]
        else:
            loose.sort()
        self._loose, self._loose_weights = [loose], [weights]
        return self._slots, self._counts, self._weighed, loose, weights
