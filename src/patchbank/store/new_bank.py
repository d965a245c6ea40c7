"""A bank that is not stored yet: what a fit hands over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError

LABELS = ("good", "anomalous", "unknown")

# Squares of differences, summed over all dimensions, stay in the range of float32.
_LARGEST_VALUE = 1e15
# pgvector's limit for `vector`.
MAX_DIMENSIONS = 16_000


@dataclass(frozen=True)
class NewImage:
    """A reference image.

    Attributes
    ----------
    name
        Unique among the category's images; the same name later is the same image seen again.
    sha256
        Of the file's content, in hexadecimal.
    width, height
        In pixels, as shown (orientation applied).
    thumbnail
        A small encoded picture.
    label
        ``good``, ``anomalous`` or ``unknown``.
    origin
        Where it came from: an absolute path, if any.
    score
        Its anomaly score against the bank without its own patches; NaN where not computed.
    pixels_sha256
        Of what is seen, in hexadecimal; None where the bank was made before that was kept.
    """

    name: str
    sha256: str
    width: int
    height: int
    thumbnail: bytes
    label: str = "good"
    origin: str | None = None
    score: float = float("nan")
    pixels_sha256: str | None = None

    def __post_init__(self) -> None:
        if not self.name or "\0" in self.name:
            raise ValueError(f"an image's name is {self.name!r}, expected text")
        for digest in (self.sha256, self.pixels_sha256):
            if digest is not None and len(bytes.fromhex(digest)) != 32:
                raise ValueError(f"sha256 is {digest!r}, expected 64 hexadecimal digits")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"size is {self.width} x {self.height}, expected at least 1 x 1")
        if self.label not in LABELS:
            raise ValueError(f"label is {self.label!r}, expected one of {LABELS}")


@dataclass(frozen=True, eq=False)
class NewBank:
    """Parallel arrays over the m patches of the coreset and the n reference images.

    Attributes
    ----------
    extractor_fingerprint, extractor
        What made the features: its fingerprint, and its description as JSON can hold it.
    settings, calibration
        Of the method, as JSON can hold them (no NaN); a calibration of None is none yet.
    coreset_ratio
        Share of the patches that was asked for.
    covering_radius
        The largest distance of any patch to the coreset; NaN where unknown.
    features
        The coreset in greedy order, float32 (m, d), finite.
    patch_image
        For each patch its image's index in `images`, int64 (m,); -1 where it is unknown.
    patch_row, patch_column
        Its position in the feature map, int16 (m,); -1 where its image is unknown.
    images
        The n reference images, their names unique.
    embeddings
        float32 (n, e), finite, with `embedding_mean` subtracted already.
    embedding_mean
        float32 (e,), finite.
    quantised_graph
        The extractor's graph, where it was made for this bank.
    """

    extractor_fingerprint: str
    extractor: dict[str, Any]
    settings: dict[str, Any]
    calibration: dict[str, Any] | None
    coreset_ratio: float
    covering_radius: float
    features: npt.NDArray[np.float32]
    patch_image: npt.NDArray[np.int64]
    patch_row: npt.NDArray[np.int16]
    patch_column: npt.NDArray[np.int16]
    images: Sequence[NewImage]
    embeddings: npt.NDArray[np.float32]
    embedding_mean: npt.NDArray[np.float32]
    quantised_graph: bytes | None = None

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or 0 in self.features.shape:
            raise ValueError(f"features have shape {self.features.shape}, expected (m, d)")
        patches, images = self.features.shape[0], len(self.images)
        for name, kind, shape in (
            ("features", np.float32, self.features.shape),
            ("patch_image", np.int64, (patches,)),
            ("patch_row", np.int16, (patches,)),
            ("patch_column", np.int16, (patches,)),
            ("embeddings", np.float32, (images, *self.embedding_mean.shape)),
            ("embedding_mean", np.float32, self.embedding_mean.shape[:1]),
        ):
            array = getattr(self, name)
            if array.shape != shape or array.dtype != kind:
                raise ValueError(
                    f"{name} is {array.dtype} {array.shape}, expected {np.dtype(kind)} {shape}"
                )
        for name in ("features", "embeddings", "embedding_mean"):
            array = getattr(self, name)
            # Not a number where any is, as maximum and minimum are then.
            largest = float(max(array.max(initial=0.0), -array.min(initial=0.0)))
            if not math.isfinite(largest):
                raise ValueError(f"{name} has values that are not finite")
            if largest > _LARGEST_VALUE:
                raise ParameterError(
                    f"{name} reach {largest:.2g}, too large for distances in float32; choose "
                    "another network or other layers"
                )
        if self.patch_image.min() < -1 or self.patch_image.max() >= images:
            raise ValueError(f"patch_image names an image outside 0..{images - 1}")
        unknown = self.patch_image < 0
        for positions in (self.patch_row, self.patch_column):
            if not np.array_equal(positions < 0, unknown):
                raise ValueError("a patch has an image without a position, or the reverse")
        if len({image.name for image in self.images}) != images:
            raise ValueError("two images have the same name")
        widest = max(self.features.shape[1], self.embeddings.shape[1])
        if widest > MAX_DIMENSIONS:
            raise ParameterError(
                f"features of {widest} dimensions cannot be stored, the limit is "
                f"{MAX_DIMENSIONS}; choose fewer layers or a smaller backbone"
            )
