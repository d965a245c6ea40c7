"""Checks of feature matrices, shared by the rooms' public functions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError

FloatMatrix = npt.NDArray[np.float32]


def checked_features(features: npt.NDArray[np.float32], what: str = "features") -> FloatMatrix:
    """Return `features` as a contiguous float32 matrix with rows and columns, or raise."""
    if features.ndim != 2 or features.dtype != np.float32 or 0 in features.shape:
        raise ParameterError(
            f"{what}: expected a float32 matrix (rows, dimensions) that is not empty, "
            f"got {features.dtype} of shape {features.shape}"
        )
    return np.ascontiguousarray(features)


def typical_row(features: FloatMatrix) -> npt.NDArray[np.float32]:
    """Return the mean of a sample of rows: where to put the origin so that norms are small.

    Any origin near the rows will do, so a sample is as good as all of them.
    """
    sample = features[:: max(1, len(features) // 4096)]
    mean: npt.NDArray[np.float64] = sample.mean(axis=0, dtype=np.float64)
    return mean.astype(np.float32)
