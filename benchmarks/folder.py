"""Images per second over a folder, beside its features alone and beside one image after another."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.apart import measured_apart
from benchmarks.place import CATEGORY, temporary_place
from benchmarks.timing import Lap, ratio, spread, spread_text
from patchbank.datasets.demo import demo_split
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.verdicts import Inspection
from patchbank.vision.extraction import Extraction
from patchbank.vision.extractor import Extractor

IMAGES = 400
PASSES = 5
MANY, SINGLY, FEATURES = "inspect_many", "inspect in a loop", "extract_many alone"


def measure(images: int = IMAGES, passes: int = PASSES) -> dict[str, Any]:
    """Return the document of ``python -m benchmarks folder``."""
    samples = demo_split("mono")
    paths = [sample.path for sample in samples.test[:images]]
    settings = FitSettings()
    with temporary_place() as place:
        fit(place.workspace, CATEGORY, [sample.path for sample in samples.train], settings)
        inspector = Inspector(place.workspace, CATEGORY)
        extractor = place.workspace.extractor(settings.extractor)
        works: dict[str, Callable[[], int]] = {
            MANY: lambda: _inspect_many(inspector, paths),
            SINGLY: lambda: _inspect_singly(inspector, paths),
            FEATURES: lambda: _extract_many(extractor, paths),
        }
        laps: dict[str, list[Lap]] = {name: [] for name in works}
        database: dict[str, list[float]] = {name: [] for name in works}

        def own() -> float:
            return time.process_time() + place.database_seconds()

        for turn in range(passes + 1):
            for name, work in works.items():
                before = place.database_seconds()
                lap = Lap(own)
                if work() != len(paths):
                    raise AssertionError(f"{name}: not all of {len(paths)} images were used")
                lap.stop()
                # The first pass fills caches and does not count.
                if turn:
                    laps[name].append(lap)
                    database[name].append(place.database_seconds() - before)
    return {
        "images": len(paths),
        "passes": passes,
        **{
            name: _figures(len(paths), each, database[name])
            for name, each in laps.items()
        },
        "times as long": {
            f"{name} / {reference}": ratio(
                [lap.wall for lap in laps[name]], [lap.wall for lap in laps[reference]]
            )
            for name, reference in ((MANY, FEATURES), (SINGLY, MANY))
        },
    }  # fmt: skip


def _inspect_many(inspector: Inspector, paths: Sequence[Path]) -> int:
    return sum(isinstance(inspection, Inspection) for inspection in inspector.inspect_many(paths))


def _inspect_singly(inspector: Inspector, paths: Sequence[Path]) -> int:
    return sum(bool(inspector.inspect(path).verdict) for path in paths)


def _extract_many(extractor: Extractor, paths: Sequence[Path]) -> int:
    return sum(isinstance(extraction, Extraction) for extraction in extractor.extract_many(paths))


def _figures(images: int, laps: Sequence[Lap], database: Sequence[float]) -> dict[str, Any]:
    processor = statistics.median(lap.processor for lap in laps)
    apart = statistics.median(database)
    return {
        "images_per_second": spread((images / lap.wall for lap in laps), 1),
        "processor_ms_per_image": round(1e3 * (processor - apart) / images, 2),
        "database_ms_per_image": round(1e3 * apart / images, 2),
        "quiet_passes": sum(lap.quiet for lap in laps),
    }


def main() -> dict[str, Any]:
    """Measure in a fresh process, whose threads do nothing else, and print."""
    document: dict[str, Any] = measured_apart("folder")
    print(
        f"{document['images']} images, {document['passes']} passes in turns: images/s, median"
        " (least to most); processor ms an image, the database's beside"
    )
    for name in (MANY, SINGLY, FEATURES):
        measured = document[name]
        print(
            f"  {name:<20} {spread_text(measured['images_per_second'])},"
            f" {measured['processor_ms_per_image']} + {measured['database_ms_per_image']} ms,"
            f" {measured['quiet_passes']} passes quiet"
        )
    for name, figures in document["times as long"].items():
        print(f"  {name}: {spread_text(figures)} times as long")
    return document
