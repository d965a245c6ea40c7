"""What an inspection answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import ParameterError
from patchbank.memory.scoring import Region, place

Verdict = Literal["pass", "review", "fail"]
VERDICTS: tuple[Verdict, ...] = ("pass", "review", "fail")
# Why the verdict may be pass although a region is outlined.
PASSES_WITH_REGION = (
    "passes although a region is outlined: the score of the whole image is below its threshold; "
    "look at the region, and fit with --score max where a small defect must fail"
)


@dataclass(frozen=True)
class Refused:
    """An image that could not be used, and why, in one line."""

    image: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the commands print."""
        return {"image": self.image, "error": self.reason}


@dataclass(frozen=True)
class Similar:
    """A known-good image that looks like the one inspected; similarity = 1 - cosine distance."""

    image: str
    similarity: float

    def __post_init__(self) -> None:
        if not -1.0 - 1e-6 <= self.similarity <= 1.0 + 1e-6:
            raise ParameterError(f"similarity must lie in [-1, 1], got {self.similarity}")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the commands print."""
        return {"image": self.image, "similarity": round(self.similarity, 6)}


@dataclass(frozen=True, eq=False)
class Inspection:
    """One image judged once.

    Attributes
    ----------
    score, threshold
        Anomaly score of the image and the score above which it fails, in units of feature distance.
    p_value
        Share of known-good images expected to score at least this high (split-conformal).
    regions
        Where the anomaly map exceeds the map's own threshold, strongest first.
    similar
        The most similar known-good images, most similar first.
    anomaly_map
        float32 (side, side), over the part of the image that was inspected.
    inspected_box
        That part as (x0, y0, x1, y1) in pixels of the original image.
    timings_ms
        Milliseconds each stage took, and their ``total``.
    recorded
        Whether the database has it.
    remarks
        What one should know of it, as why it was not recorded though it should have been.
    """

    image: str
    category: str
    verdict: Verdict
    score: float
    threshold: float
    p_value: float
    regions: tuple[Region, ...]
    similar: tuple[Similar, ...]
    bank_version: int
    width: int
    height: int
    anomaly_map: NDArray[np.float32]
    inspected_box: tuple[int, int, int, int]
    map_threshold: float
    heatmap: Path | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    recorded: bool = False
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ParameterError(f"verdict must be one of {VERDICTS}, got {self.verdict!r}")
        if not 0.0 < self.p_value <= 1.0:
            raise ParameterError(f"p_value must lie in (0, 1], got {self.p_value}")
        if self.anomaly_map.ndim != 2:
            raise ParameterError(
                f"anomaly_map must have shape (side, side), got {self.anomaly_map.shape}"
            )

    def explained(self) -> Inspection:
        """Return the inspection with a remark if it passes though it outlines a region."""
        if not self.passed or not self.regions:
            return self
        return replace(self, remarks=(*self.remarks, PASSES_WITH_REGION))

    @property
    def passed(self) -> bool:
        """Whether the verdict is ``pass``."""
        return self.verdict == "pass"

    def full_map(self) -> NDArray[np.float32]:
        """Return the map on the whole original image, (height, width), NaN where uninspected."""
        return place(self.anomaly_map, self.inspected_box, self.width, self.height)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the commands print."""
        return {
            "image": self.image,
            "category": self.category,
            "verdict": self.verdict,
            "score": self.score,
            "threshold": self.threshold,
            "p_value": self.p_value,
            "regions": [region_to_json(region) for region in self.regions],
            "similar": [one.to_json() for one in self.similar],
            "bank_version": self.bank_version,
            "heatmap": None if self.heatmap is None else str(self.heatmap),
            "timings_ms": {name: round(value, 3) for name, value in self.timings_ms.items()},
            "recorded": self.recorded,
            "remarks": list(self.remarks),
        }


def region_to_json(region: Region) -> dict[str, Any]:
    """Return a region as the JSON object the commands print and the database keeps."""
    return {
        "box": list(region.box_xyxy),
        "area_pixels": region.area_pixels,
        "area_percent": round(region.area_percent, 4),
        "peak_score": region.peak_score,
    }
