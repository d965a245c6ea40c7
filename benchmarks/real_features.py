"""Patch features of the demo set's cells, as the memory's measurements use them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchbank.datasets.demo import CellKind, demo_split
from patchbank.vision.extraction import Extraction
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings

Floats = npt.NDArray[np.float32]

#: Every layer of EfficientNet-Lite0 of stride 8 to 32: 1,744 channels.
WIDE_LAYERS = tuple(f"blocks.{number}" for number in range(3, 16))
WIDE_DIMENSIONS = 1536
#: Said beside every figure of the wide features.
WIDE = "the last 1,536 of the 1,744 channels of EfficientNet-Lite0's blocks 3 to 15, on real cells"


def reference_paths(kind: CellKind, count: int) -> list[Path]:
    """Return the first cells of those learned from."""
    return [sample.path for sample in demo_split(kind).train[:count]]


def judged_paths(kind: CellKind, label: str, count: int) -> list[Path]:
    """Return the first judged cells that are ``good`` or ``anomalous``."""
    return [sample.path for sample in demo_split(kind).test if sample.label == label][:count]


def patch_features(paths: Sequence[Path], *, wide: bool = False) -> Floats:
    """Return float32 (images, 784, 152), or of `WIDE_DIMENSIONS`."""
    settings = ExtractorSettings(layers=WIDE_LAYERS) if wide else ExtractorSettings()
    dimensions = WIDE_DIMENSIONS if wide else 152
    features = np.empty((len(paths), 784, dimensions), np.float32)
    with Extractor(settings) as extractor:
        for number, extraction in enumerate(extractor.extract_many(paths)):
            if not isinstance(extraction, Extraction):
                raise extraction.error
            patches = extraction.patches.reshape(784, -1)
            features[number] = patches[:, -dimensions:]
    return features
