"""A curve as two arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)  # arrays compare element by element
class Curve:
    """The points of a curve, in order: float64 arrays of equal length.

    For ROC, `x` is the false-positive rate and `y` the true-positive rate; for precision and recall
    `x` is recall and `y` precision; for PRO, `x` is the false-positive rate and `y` the overlap.
    """

    x: FloatArray
    y: FloatArray

    def __post_init__(self) -> None:
        if self.x.ndim != 1 or self.x.shape != self.y.shape:
            raise ValueError(
                f"expected two arrays of equal length, got {self.x.shape} and {self.y.shape}"
            )
