"""Where the time goes: a fit of 200 images with its peak memory, and one image inspected warm."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_bytes
from patchbank.datasets.demo import demo_split
from patchbank.inspection.fit import fit
from patchbank.inspection.inspect import Inspector
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.store.embedded import EmbeddedServer

WARM_IMAGES = 100


def measure() -> dict[str, Any]:
    """Fit and inspect in this process; its peak memory is the process's."""
    samples = demo_split("mono")
    with tempfile.TemporaryDirectory() as home:
        try:
            with Workspace(home=Path(home)) as workspace:
                report = fit(workspace, "cells", [one.path for one in samples.train], FitSettings())
                peak = peak_bytes()
                inspector = Inspector(workspace, "cells")
                paths = [one.path for one in samples.test[: WARM_IMAGES + 5]]
                runs = [inspector.inspect(path).timings_ms for path in paths][5:]
        finally:
            EmbeddedServer(Path(home)).stop()
    stages = {
        name: {
            "median_ms": round(statistics.median(run[name] for run in runs), 2),
            "p95_ms": round(statistics.quantiles([run[name] for run in runs], n=20)[-1], 2),
        }
        for name in runs[0]
    }
    return {
        "fit_images": len(samples.train),
        "fit_seconds": {name: round(value, 2) for name, value in report.timings_s.items()},
        "fit_peak_megabytes": round(peak / 1e6),
        "inspect_images": len(runs),
        "inspect": stages,
    }


def main() -> dict[str, Any]:
    """Measure in a fresh process, so that the peak memory is that of this work alone."""
    done = subprocess.run(
        [sys.executable, "-c", "import json; from benchmarks import stages;"
         " print(json.dumps(stages.measure()))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"fit of {document['fit_images']} images, seconds: {document['fit_seconds']}")
    print(f"peak memory of the fit: {document['fit_peak_megabytes']:,} MB")
    print(f"one image, warm, {document['inspect_images']} images: median and 95th percentile in ms")
    for name, figures in document["inspect"].items():
        print(f"  {name:<12} {figures['median_ms']:7.2f} {figures['p95_ms']:7.2f}")
    return document
