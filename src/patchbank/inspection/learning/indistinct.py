"""Banks that cannot judge: all that they were made of looks the same."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

# A distance this small beside the features themselves is the rounding of float32.
_ROUNDING: Final = 1e-6


def why_useless(
    features: npt.NDArray[np.float32],
    *,
    threshold: float | None = None,
    coreset_ratio: float = 1.0,
    covering_radius: float = math.nan,
    embeddings: npt.NDArray[np.float32] | None = None,
    embedding_mean: npt.NDArray[np.float32] | None = None,
) -> str | None:
    """Return why a bank cannot judge, in a phrase; None where it can.

    Parameters
    ----------
    features
        The memory bank, (m, d).
    threshold
        Of the image score; None where there is none yet.
    coreset_ratio, covering_radius
        A bank that was to keep all patches has the radius 0 by right; NaN where it is unknown.
    embeddings, embedding_mean
        Of its images, centred, (n, e); their mean, (e,).
    """
    least, most = features.min(axis=0).astype(np.float64), features.max(axis=0).astype(np.float64)
    rounding = _ROUNDING * float(max(-least.min(), most.max()))
    if len(features) > 1 and float((most - least).max()) <= rounding:
        return "all its patches are the same"
    if embeddings is not None and embedding_mean is not None and len(embeddings) > 1:
        largest = float(np.abs(embedding_mean).max())
        if float(np.abs(embeddings).max()) <= _ROUNDING * largest:
            return "all its images are the same"
    if coreset_ratio < 1 and covering_radius <= rounding:
        return f"the same {len(features):,} patches make up all its images (covering radius 0)"
    if threshold is not None and threshold <= rounding:
        return "good images score 0, and so is its threshold"
    return None
