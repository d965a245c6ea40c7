"""A fit of 3,000 images under a memory limit, in parts, against exact fits of all and of fewer.

The images are the demo set's 200 good mono cells, each in 15 variants (turned over, darker or
brighter, shifted). Every fit runs in a process of its own, whose address space is limited to 4 GB
as by `ulimit -v`; its peak of resident memory is reported, and the AUROC of its bank on the demo
set's test split, which is not augmented.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.apart import measured_apart
from benchmarks.memory import peak_bytes
from patchbank.datasets.demo import demo_split
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.metrics import image_metrics
from patchbank.store.embedded.server import EmbeddedServer
from patchbank.vision.extraction import Extraction

VARIANTS = 15
ADDRESS_SPACE = 4_000_000_000
# One per cent of 3,000 images is a bank of 23,520 patches: about that of 200 images at 10 %.
RATIO = 0.01
RUNS: dict[str, dict[str, Any]] = {
    "200 images, exact": {"images": "few", "ratio": 0.1, "limit": "3GB"},
    "3,000 images, exact": {"images": "many", "ratio": RATIO, "limit": "3GB"},
    "3,000 images, streamed": {"images": "many", "ratio": RATIO, "limit": "1GB"},
    # The default, last: it takes longer than all others.
    "3,000 images at 10 %, exact": {"images": "many", "ratio": 0.1, "limit": "3GB"},
}


def make_images(folder: Path, variants: int = VARIANTS) -> int:
    """Write variants of the demo set's reference cells and return their number."""
    samples = demo_split("mono").train
    random = np.random.default_rng(0)
    for sample in samples:
        pixels = np.asarray(Image.open(sample.path).convert("L"))
        for variant in range(variants):
            path = folder / f"{Path(sample.name).stem}-{variant:02d}.png"
            Image.fromarray(_variant(pixels, variant, random)).save(path, compress_level=1)
    return len(samples) * variants


def _variant(
    pixels: npt.NDArray[np.uint8], variant: int, random: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return the picture itself for variant 0, and otherwise one that is turned and changed."""
    if variant == 0:
        return pixels
    turned = pixels[:: -1 if variant & 1 else 1, :: -1 if variant & 2 else 1]
    shifted = np.roll(turned, random.integers(-4, 5, size=2), axis=(0, 1))
    brightened = shifted.astype(np.float64) * random.uniform(0.9, 1.1)
    return np.asarray(np.clip(np.rint(brightened), 0, 255), dtype=np.uint8)


def measure(folder: str, images: str, ratio: float, limit: str) -> dict[str, Any]:
    """Fit in this process, whose peak memory is the fit's; then judge the test split."""
    samples = demo_split("mono")
    paths = [sample.path for sample in samples.train]
    if images == "many":
        paths = sorted(Path(folder).glob("*.png"))
    with tempfile.TemporaryDirectory() as home:
        try:
            with Workspace(home=Path(home)) as workspace:
                # The server is another process, with limits of its own.
                workspace.database.status()
                resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
                settings = make_fit_settings(coreset_ratio=ratio)
                report = fit(workspace, "cells", paths, settings, memory_limit=limit)
                peak = peak_bytes()
                judge = Judge(report.bank.features, settings, report.bank.calibration)
                stream = workspace.extractor(settings.extractor).extract_many(
                    [sample.path for sample in samples.test]
                )
                scores = [
                    judge(found.patches, found.image.width, found.image.height).score
                    for found in stream
                    if isinstance(found, Extraction)
                ]
        finally:
            EmbeddedServer(Path(home)).stop()
    anomalous = np.array([sample.label == "anomalous" for sample in samples.test])
    document = report.to_json()
    return {
        "images": document["images"],
        "memory_limit": limit,
        "peak_megabytes": round(peak / 1e6),
        "bank_size": document["bank_size"],
        "covering_radius": round(document["covering_radius"], 3),
        "streaming": document["streaming"],
        "fail_above": round(document["fail_above"], 3),
        "timings_s": document["timings_s"],
        "image_auroc": image_metrics(anomalous, np.array(scores)).image_auroc,
    }


def main() -> dict[str, Any]:
    """Measure each run in a fresh process and print the figures."""
    documents: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder))
        for name, run in RUNS.items():
            document = measured_apart("large_fit", folder=folder, **run)
            documents[name] = document
            streaming = document["streaming"]
            print(
                f"{name}: AUROC {document['image_auroc']:.4f}, limit {document['memory_limit']}, "
                f"peak {document['peak_megabytes']:,} MB, {document['bank_size']:,} patches, "
                f"{document['timings_s']['total']:.0f} s"
            )
            if streaming is not None:
                print(
                    f"  in {streaming['parts']} parts; radius at most "
                    f"{streaming['radius_bound']:.2f}, {streaming['radius_seen']:.2f} seen"
                )
            print(f"  seconds: {document['timings_s']}")
            sys.stdout.flush()
    return documents
