"""Checks of feature matrices, shared by the rooms' public functions."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError

# Rows looked at before the next: what is written down about them stays small.
_ROWS_AT_ONCE = 16_384

FloatMatrix = npt.NDArray[np.float32]


def checked_features(features: npt.NDArray[np.float32], what: str = "features") -> FloatMatrix:
    """Return `features` as a contiguous finite float32 matrix with rows and columns, or raise."""
    if features.ndim != 2 or features.dtype != np.float32 or 0 in features.shape:
        raise ParameterError(
            f"{what}: expected a float32 matrix (rows, dimensions) that is not empty, "
            f"got {features.dtype} of shape {features.shape}"
        )
    for start in range(0, len(features), _ROWS_AT_ONCE):
        if not np.isfinite(features[start : start + _ROWS_AT_ONCE]).all():
            raise ParameterError(f"{what}: there are values that are not finite (NaN or infinity)")
    return np.ascontiguousarray(features)


def typical_row(features: FloatMatrix) -> npt.NDArray[np.float32]:
    """Return the mean of a sample of rows: where to put the origin so that norms are small.

    Any origin near the rows will do, so a sample is as good as all of them.
    """
    sample = features[:: max(1, len(features) // 4096)]
    mean: npt.NDArray[np.float64] = sample.mean(axis=0, dtype=np.float64)
    return mean.astype(np.float32)


def power_of_two_scale(largest_squared_norm: float) -> float:
    """Return a power of two that brings every norm to about one and is itself a normal float32.

    A power of two changes no digit.
    """
    if largest_squared_norm == 0.0:
        return 1.0
    exponent = -math.ceil(math.log2(largest_squared_norm) / 2)
    return math.ldexp(1.0, max(-126, min(126, exponent)))
