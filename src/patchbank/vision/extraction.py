"""Results of an extractor: features of images, or why an image cannot be used."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from patchbank.errors import ImageError
from patchbank.vision.appearance import Appearance
from patchbank.vision.decoded_image import DecodedImage, ImageSource
from patchbank.vision.regions import taken


@dataclass(frozen=True, eq=False)
class Features:
    """Features of images.

    Parameters
    ----------
    patches : ndarray of float32 (n, rows, columns, dimension)
        Patch features.
    embeddings : ndarray of float32 (n, embedding dimension)
        Descriptions of whole images: the layers' means over the quarters of the image, not scaled.
    """

    patches: npt.NDArray[np.float32]
    embeddings: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        patches, embeddings = self.patches, self.embeddings
        if patches.ndim != 4 or embeddings.ndim != 2 or len(patches) != len(embeddings):
            raise ValueError(
                "expected patches (n, rows, columns, d) and embeddings (n, e), got "
                f"{patches.shape} and {embeddings.shape}"
            )

    def __len__(self) -> int:
        return len(self.patches)


@dataclass(frozen=True, eq=False)
class Extraction:
    """An image of a stream and its features.

    Parameters
    ----------
    source : ImageSource
        The source given by the caller.
    image : DecodedImage
        The decoded source.
    patches : ndarray of float32 (rows, columns, dimension)
    embedding : ndarray of float32 (embedding dimension,)
    thumbnail : bytes
        A small JPEG; empty if none was requested.
    timings_ms : dict of str to float
        Milliseconds of ``decode``, ``preprocess`` and ``network``.
    appearance : Appearance
        Brightness and sharpness of what is inspected.
    inspected : ndarray of bool (rows, columns), optional
        Which patches are learned and judged; None for all.
    """

    source: ImageSource = field(repr=False)
    image: DecodedImage
    patches: npt.NDArray[np.float32] = field(repr=False)
    embedding: npt.NDArray[np.float32] = field(repr=False)
    thumbnail: bytes = field(repr=False)
    timings_ms: dict[str, float]
    appearance: Appearance
    inspected: npt.NDArray[np.bool_] | None = field(default=None, repr=False)

    @property
    def inspected_patches(self) -> npt.NDArray[np.float32]:
        """Features of the patches that are inspected, float32 (n, dimension), row by row."""
        return taken(self.patches, self.inspected)


@dataclass(frozen=True, eq=False)
class Refusal:
    """An image of a stream that cannot be used, and why."""

    source: ImageSource
    error: ImageError
