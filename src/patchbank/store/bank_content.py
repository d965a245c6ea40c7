"""The content of a bank, whether learned, stored, loaded or in a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError

LABELS = ("good", "anomalous", "unknown")

# Below this, squared differences summed over all dimensions stay within float32.
_LARGEST_VALUE = 1e15
# That of a PostgreSQL integer.
_LARGEST_GROUP = 2**31 - 1
# pgvector's limit for `vector`.
MAX_DIMENSIONS = 16_000


@dataclass(frozen=True)
class ReferenceImage:
    """A reference image.

    Attributes
    ----------
    name
        Unique within the category; an image with a known name replaces the earlier one.
    sha256
        Of the file's content, in hexadecimal.
    width, height
        In pixels, as shown (orientation applied).
    thumbnail
        A small encoded picture; empty if it was not read.
    label
        ``good``, ``anomalous`` or ``unknown``.
    origin
        Absolute path of the file, if any.
    pixels_sha256
        Of the decoded pixels, in hexadecimal; None in older banks.
    brightness, sharpness
        Of the inspected part; None in older banks.
    texture
        What tells other images of the same part; empty where the bank's images do not depend on
        one another, or if it was not read.
    """

    name: str
    sha256: str
    width: int
    height: int
    thumbnail: bytes = b""
    label: str = "good"
    origin: str | None = None
    pixels_sha256: str | None = None
    brightness: float | None = None
    sharpness: float | None = None
    texture: bytes = b""

    def __post_init__(self) -> None:
        if not self.name or "\0" in self.name:
            raise ValueError(f"image name is {self.name!r}, expected text without NUL")
        for digest in (self.sha256, self.pixels_sha256):
            if digest is not None and len(bytes.fromhex(digest)) != 32:
                raise ValueError(f"sha256 is {digest!r}, expected 64 hexadecimal digits")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"size is {self.width} x {self.height}, expected at least 1 x 1")
        if self.label not in LABELS:
            raise ValueError(f"label is {self.label!r}, expected one of {LABELS}")


@dataclass(frozen=True, eq=False)
class CalibrationScores:
    """Scores of good images against a bank without their own patches, one row each.

    Attributes
    ----------
    image
        The image's index among the bank's images, int64 (k,); -1 if unknown, in older banks.
    score
        Its anomaly score, float64 (k,).
    map_maximum
        The largest value of its anomaly map, float64 (k,); NaN if unknown.
    held_out
        Whether the image was used only for calibration, not for learning, bool (k,).
    counts
        Whether the row is part of the bank's calibration, bool (k,).
    group
        The number of the image's group, int64 (k,): its images depend on one another and count as
        one. -1 for an image that is a group of its own.
    added
        What likeness to recorded defects adds to its score, float64 (k,); 0 where that is off.
    """

    image: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    map_maximum: npt.NDArray[np.float64]
    held_out: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.bool_]
    group: npt.NDArray[np.int64]
    added: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        rows = len(self.image)
        for field, kind in zip(
            fields(self),
            (np.int64, np.float64, np.float64, np.bool_, np.bool_, np.int64, np.float64),
            strict=True,
        ):
            array = getattr(self, field.name)
            if array.shape != (rows,) or array.dtype != kind:
                raise ValueError(
                    f"{field.name} is {array.dtype} {array.shape}, expected {np.dtype(kind)} "
                    f"{(rows,)}"
                )
        known = self.image[self.image >= 0]
        if len(np.unique(known)) != len(known):
            raise ValueError("an image has two scores")
        if rows and not -1 <= self.group.min() <= self.group.max() <= _LARGEST_GROUP:
            raise ValueError(f"group numbers must be from -1 to {_LARGEST_GROUP}")
        if not (
            np.isfinite(self.score + self.added).all()
            and np.isfinite(self.map_maximum[self.counts]).all()
        ):
            raise ValueError("calibration scores must be finite")

    def __len__(self) -> int:
        return len(self.image)

    @classmethod
    def none(cls) -> CalibrationScores:
        """Return empty scores."""
        return cls.of_images([], [], [])

    @classmethod
    def of_images(
        cls,
        image: npt.ArrayLike,
        score: npt.ArrayLike,
        map_maximum: npt.ArrayLike,
        *,
        held_out: bool = False,
        group: npt.ArrayLike | None = None,
    ) -> CalibrationScores:
        """Return scores that are all part of the calibration; by default of independent images."""
        number = np.asarray(image, np.int64)
        return cls(
            number,
            np.asarray(score, np.float64),
            np.asarray(map_maximum, np.float64),
            np.full(len(number), held_out),
            np.ones(len(number), np.bool_),
            np.full(len(number), -1) if group is None else np.asarray(group, np.int64),
            np.zeros(len(number)),
        )

    def rows(self, chosen: npt.NDArray[Any]) -> CalibrationScores:
        """Return the rows selected by a mask or by indices."""
        return CalibrationScores(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def with_more(self, more: CalibrationScores) -> CalibrationScores:
        """Return these rows followed by `more`, whose groups are others than theirs."""
        first = int(self.group.max(initial=-1)) + 1
        more = replace(more, group=np.where(more.group < 0, -1, more.group + first))
        return CalibrationScores(
            *(
                np.concatenate([getattr(self, field.name), getattr(more, field.name)])
                for field in fields(self)
            )
        )

    def uncounted(self) -> CalibrationScores:
        """Return the scores of known images, none of them part of the calibration."""
        kept = self.rows(self.image >= 0)
        return replace(kept, counts=np.zeros(len(kept), np.bool_)).without_likeness()

    def without_likeness(self) -> CalibrationScores:
        """Return the scores where likeness to recorded defects adds nothing."""
        return replace(self, added=np.zeros(len(self)))

    def of_image(self, images: int) -> npt.NDArray[np.float64]:
        """Return the score of each image of the bank, float64 (n,); NaN if it has none."""
        found = np.full(images, np.nan)
        known = self.image >= 0
        found[self.image[known]] = self.score[known]
        return found


@dataclass(frozen=True, eq=False)
class BankContent:
    """Parallel arrays over the m patches of the coreset and the n reference images.

    Attributes
    ----------
    extractor_fingerprint, extractor
        The extractor of the features: fingerprint, and description as JSON values.
    settings
        Of the method, as JSON values (no NaN).
    coreset_ratio
        Requested share of the patches.
    covering_radius
        The largest distance of any patch to the coreset; NaN if unknown.
    features
        The coreset in greedy order, float32 (m, d), finite.
    patch_image
        Index in `images` of each patch's image, int64 (m,); -1 if unknown.
    patch_row, patch_column
        Position in the feature map, int16 (m,); -1 if the image is unknown.
    images
        The n reference images, with unique names.
    embeddings
        float32 (n, e), finite, with `embedding_mean` already subtracted.
    embedding_mean
        float32 (e,), finite.
    scores
        Scores of good images, from which the calibration is derived.
    quantised_graph
        The extractor's graph, if it was quantised for this bank.
    likeness
        What likeness to recorded defects adds to scores, as `Likeness.to_bytes`; None where nothing
        does.
    """

    extractor_fingerprint: str
    extractor: dict[str, Any]
    settings: dict[str, Any]
    coreset_ratio: float
    covering_radius: float
    features: npt.NDArray[np.float32]
    patch_image: npt.NDArray[np.int64]
    patch_row: npt.NDArray[np.int16]
    patch_column: npt.NDArray[np.int16]
    images: Sequence[ReferenceImage]
    embeddings: npt.NDArray[np.float32]
    embedding_mean: npt.NDArray[np.float32]
    scores: CalibrationScores
    quantised_graph: bytes | None = None
    likeness: bytes | None = None

    def without_rows(self) -> BankContent:
        """Return it without patches and images: a change of what applies to all of them."""
        return replace(
            self,
            features=self.features[:0],
            patch_image=self.patch_image[:0],
            patch_row=self.patch_row[:0],
            patch_column=self.patch_column[:0],
            images=[],
            embeddings=self.embeddings[:0],
        )

    def check(self) -> None:
        """Raise if this content, which may come from anywhere, cannot be stored.

        Raises
        ------
        ValueError
            If arrays do not match, or values are not finite.
        ParameterError
            If features are too large or have too many dimensions.
        """
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
            # NaN if any value is, because max and min are then NaN.
            largest = float(max(array.max(initial=0.0), -array.min(initial=0.0)))
            if not math.isfinite(largest):
                raise ValueError(f"{name} has values that are not finite")
            if largest > _LARGEST_VALUE:
                raise ParameterError(
                    f"{name} reach {largest:.2g}, too large for distances in float32; choose "
                    "another backbone or other layers"
                )
        if self.patch_image.min() < -1 or self.patch_image.max() >= images:
            raise ValueError(f"patch_image names an image outside 0..{images - 1}")
        unknown = self.patch_image < 0
        for positions in (self.patch_row, self.patch_column):
            if not np.array_equal(positions < 0, unknown):
                raise ValueError(
                    "a patch has an image without a position, or a position without an image"
                )
        if len(self.scores) and self.scores.image.max() >= images:
            raise ValueError(f"a score names an image outside 0..{images - 1}")
        if self.likeness is None and self.scores.added.any():
            raise ValueError("scores have additions for likeness to defects, but no weights")
        if len({image.name for image in self.images}) != images:
            raise ValueError("two images have the same name")
        widest = max(self.features.shape[1], self.embeddings.shape[1])
        if widest > MAX_DIMENSIONS:
            raise ParameterError(
                f"features of {widest} dimensions cannot be stored: the limit is "
                f"{MAX_DIMENSIONS}; choose fewer layers or a smaller backbone"
            )
