"""How long an inspection takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patchbank.errors import ImageError
from patchbank.inspection.judging.judge import Judge
from patchbank.vision.decoded_image import ImageLimits, ImageSource
from patchbank.vision.extractor import Extractor

# Images judged one at a time to tell how long that takes; one more comes first and does not count.
TIMED = 10


@dataclass(frozen=True, slots=True)
class InspectionTime:
    """Milliseconds of an inspection from file to verdict and map, and of reading the file alone.

    `cores` is how many cores were at work for it; below one, other programs were.
    """

    total: float
    reading: float
    cores: float


def inspection_time(
    judge: Judge,
    extractor: Extractor,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    limits: ImageLimits,
) -> InspectionTime | None:
    """Return how long one image takes, the medians of a few; None where none can be judged."""
    times = []
    wall, cpu = time.perf_counter(), time.process_time()
    for source, name in list(zip(sources, names, strict=True))[: TIMED + 1]:
        began = time.perf_counter()
        try:
            extraction = extractor.extract_one(source, name=name, limits=limits)
        except ImageError:
            continue  # reported where all are judged
        image = extraction.image
        judge(extraction.patches, image.width, image.height, embedding=extraction.embedding)
        times.append((1e3 * (time.perf_counter() - began), extraction.timings_ms["decode"]))
    if len(times) < 2:
        return None
    cores = (time.process_time() - cpu) / (time.perf_counter() - wall)
    total, reading = np.median(times[1:], axis=0)
    return InspectionTime(float(total), float(reading), cores)
