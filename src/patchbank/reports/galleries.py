"""Pictures of judged images, written for a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.reports.evaluation_charts import ChartFiles
from patchbank.reports.panels import write_panels
from patchbank.reports.pictures import Pixels, SimilarImage
from patchbank.vision.own_pictures import own_mark


@dataclass(frozen=True, slots=True, eq=False)
class ShownCase:
    """A judged image in a gallery: (h, w, 3) pixels with their (h, w) map and mask.

    `rarity` is the score against good parts, in words; `label` is "good", "anomalous" or "unknown".
    """

    name: str
    kind: str
    verdict: str
    score: float
    rarity: str
    pixels: Pixels
    anomaly_map: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_] | None
    region_peaks: Sequence[float] = ()
    label: str = "unknown"

    @property
    def outcome(self) -> str:
        """The verdict, or what is wrong with it where the truth is known."""
        wrong = {("anomalous", "pass"): "missed", ("good", "fail"): "false alarm"}
        return wrong.get((self.label, self.verdict), self.verdict)


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Cases under one heading, drawn one at a time."""

    key: str
    title: str
    text: str
    cases: Iterable[ShownCase]


def write_galleries(
    folder: Path, galleries: Iterable[Gallery], map_threshold: float
) -> list[dict[str, Any]]:
    """Write the pictures of a category's cases; return the page's data for them as JSON."""
    return [
        {
            "title": gallery.title,
            "text": gallery.text,
            "cases": [
                _write_case(folder, f"{gallery.key}-{number}", case, map_threshold)
                for number, case in enumerate(gallery.cases, 1)
            ],
        }
        for gallery in galleries
    ]


def write_evidence(
    folder: Path, case: ShownCase, similar: Sequence[SimilarImage], map_threshold: float
) -> dict[str, Any]:
    """Write an image that passes and its most similar references, the best match first."""
    shown = []
    for number, image in enumerate(similar, 1):
        file = f"similar-{number}.png"
        Image.fromarray(image.pixels).save(folder / file, compress_level=4, **own_mark(".png"))
        shown.append({"file": file, "name": image.name, "similarity": image.similarity})
    return {"case": _write_case(folder, "pass", case, map_threshold), "similar": shown}


def _write_case(folder: Path, stem: str, case: ShownCase, map_threshold: float) -> dict[str, Any]:
    panels = write_panels(folder, stem, case.pixels, case.anomaly_map, case.mask, map_threshold)
    return {
        "name": case.name,
        "kind": case.kind,
        "verdict": case.verdict,
        "outcome": case.outcome,
        "score": case.score,
        "rarity": case.rarity,
        "region_peaks": list(case.region_peaks),
        "panels": asdict(panels),
    }


def charts_to_json(charts: Iterable[ChartFiles]) -> list[dict[str, str]]:
    """Return the page's data for charts as JSON."""
    return [asdict(chart) for chart in charts]
