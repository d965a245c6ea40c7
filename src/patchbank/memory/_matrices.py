"""Checks and scales of feature matrices."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError

# Rows checked at once, so that temporary arrays stay small.
_ROWS_AT_ONCE = 16_384

FloatMatrix = npt.NDArray[np.float32]


def checked_features(features: npt.NDArray[np.float32], name: str = "features") -> FloatMatrix:
    """Return `features` as a contiguous, finite, nonempty float32 matrix, or raise."""
    if features.ndim != 2 or features.dtype != np.float32 or 0 in features.shape:
        raise ParameterError(
            f"{name}: expected a nonempty float32 matrix (rows, dimensions), "
            f"got {features.dtype} of shape {features.shape}"
        )
    for start in range(0, len(features), _ROWS_AT_ONCE):
        if not np.isfinite(features[start : start + _ROWS_AT_ONCE]).all():
            raise ParameterError(f"{name}: some values are not finite (NaN or infinity)")
    return np.ascontiguousarray(features)


def typical_row(features: FloatMatrix) -> npt.NDArray[np.float32]:
    """Return the mean of a sample of rows, an origin that makes norms small.

    Any origin near the rows will do, so a sample is enough.
    """
    sample = features[:: max(1, len(features) // 4096)]
    mean: npt.NDArray[np.float64] = sample.mean(axis=0, dtype=np.float64)
    return mean.astype(np.float32)


def power_of_two_scale(largest_squared_norm: float) -> float:
    """Return a power of two that scales every norm to about one and is a normal float32.

    Scaling by a power of two is exact.
    """
    if largest_squared_norm == 0.0:
        return 1.0
    exponent = -math.ceil(math.log2(largest_squared_norm) / 2)
    return math.ldexp(1.0, max(-126, min(126, exponent)))
