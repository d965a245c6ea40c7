"""What is measured, and where the results are kept: ``build/bench/NAME.json``."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "build" / "bench"


@dataclass(frozen=True)
class Measurement:
    """One measurement: what it says, and whether it runs unless it is named."""

    what: str
    by_default: bool = True


MEASUREMENTS = {
    "coreset": Measurement("the coreset against textbook loops in NumPy and PyTorch"),
    "neighbours": Measurement("exact nearest neighbours against NumPy and faiss"),
    "living": Measurement("neighbours in a bank whose rows come and go", False),
    "living_bank": Measurement("banks that grow and shrink against fits; half an hour", False),
    "writers": Measurement("a minute of two writers beside four readers; confirmations", False),
    "extractor": Measurement("an image's features against the network alone"),
    "stages": Measurement("a fit and its memory; each stage of one inspection, warm"),
    "wide": Measurement("wide_resnet50_2: a whole inspection beside the network alone", False),
    "folder": Measurement("images per second over a folder"),
    "cold": Measurement("the command `patchbank inspect` from its start to its end"),
    "growth": Measurement("fit and inspection with 50 to 800 reference images; draws a chart"),
    "similarity": Measurement("how similarities of good images spread; draws a chart"),
    "service": Measurement("inspections over HTTP: 1 client, 8 clients, memory", False),
    "pages": Measurement("the pages in a browser: first views, a verdict on the line", False),
    "inspections": Measurement("200,000 recorded inspections: listed, filtered, as CSV", False),
    "drift": Measurement("how soon changes of the images are found, and false alarms", False),
    "million": Measurement("a million recorded inspections: inserted, paged, removed", False),
    "regions": Measurement("false alarms of a changing label, with and without a region", False),
    "defect_labels": Measurement("how often the label of a defect is right and said", False),
    "large_fit": Measurement("3,000 images under a memory limit; three quarters of an hour", False),
    "large_images": Measurement("12 and 100 megapixels: found, time, memory, seams", False),
    "accuracy": Measurement("AUROC and false alarms on the demo set; some minutes", False),
    "labelled": Measurement("what labelled defects bring; a quarter of an hour", False),
    "calibration": Measurement("the rate asked for over twenty splits of the demo set", False),
    "dependence": Measurement("the promise for references of the same parts; half an hour", False),
    "contamination": Measurement("defects among the references; half an hour", False),
    "scores": Measurement("ways to score an image, on four sets; half an hour", False),
}

#: Those that take as long as they are given.
TIMED = ("service",)


def run(name: str, **arguments: float) -> None:
    """Measure in this process, and keep the figures with the machine and its load."""
    from patchbank.settings import usable_cores
    from patchbank.vision.runtime import processor

    load, start = _load(), time.perf_counter()
    figures = import_module(f"benchmarks.{name}").main(**arguments)
    document = {
        "measurement": name,
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor()[0],
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load before and after": [load, _load()],
        "seconds": round(time.perf_counter() - start, 1),
        "figures": figures,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    # Moved into its place when whole: an interruption leaves the earlier result.
    unfinished = RESULTS / f"{name}.json.part"
    unfinished.write_text(json.dumps(document, indent=2) + "\n")
    unfinished.replace(RESULTS / f"{name}.json")


def kept() -> dict[str, dict[str, Any]]:
    """Return the documents of all finished measurements by name."""
    found = {}
    for name in MEASUREMENTS:
        path = RESULTS / f"{name}.json"
        document = json.loads(path.read_text()) if path.exists() else None
        # Earlier versions kept the figures alone.
        if isinstance(document, dict) and "figures" in document:
            found[name] = document
    return found


def _load() -> float | None:
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
