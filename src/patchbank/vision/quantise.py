"""Quantise a feature graph with NNCF in a separate process.

NNCF affects the process it is imported into: it prints progress and warnings to standard output,
replaces the logger class, keeps hundreds of megabytes, and reports usage to its authors. In a
separate process, all that ends with the process.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from contextlib import suppress
from typing import Final

import numpy as np
import numpy.typing as npt

from patchbank.environment import install_command
from patchbank.errors import MissingExtraError, QuantisationError
from patchbank.progress import Progress, silent
from patchbank.vision._workers import last_line, worker
from patchbank.vision.backbones import get_backbone
from patchbank.vision.backbones.features import write_feature_graph
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.quantised import QuantisedGraph

_WORKER: Final = "patchbank.vision._quantise_worker"


def check_can_quantise() -> None:
    """Check that NNCF is installed.

    Raises
    ------
    MissingExtraError
        If it is not.
    """
    if importlib.util.find_spec("nncf") is None:
        raise MissingExtraError(
            "fitting with precision int8 needs NNCF, which is not installed; "
            f"run: {install_command('patchbank[int8]')}, or fit with precision f32"
        )


def quantise(
    settings: ExtractorSettings,
    images: npt.NDArray[np.uint8],
    *,
    threads: int = 0,
    progress: Progress = silent,
) -> QuantisedGraph:
    """Return the graph for these settings with 8-bit weights and activations.

    The activations' ranges are taken from the images. The same images give the same graph.

    Parameters
    ----------
    settings : ExtractorSettings
        Backbone, layers, sizes and pooling matter; the precision does not.
    images : ndarray of uint8 (n, side, side, 3)
        At least one, preprocessed for the network.
    threads : int
        Cores to use; 0 for all that this process has.
    progress : Progress
        Called as images are processed; the last one counts when everything is done.

    Raises
    ------
    QuantisationError
        If NNCF fails.
    """
    check_can_quantise()
    onnx = write_feature_graph(
        get_backbone(settings.backbone),
        settings.layers,
        settings.preprocessing.side,
        settings.pooling,
    )
    request = {"onnx": len(onnx), "images": images.shape, "threads": threads}
    with tempfile.TemporaryFile() as stderr, worker(_WORKER, stderr) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # If the process dies before reading everything, its standard error says why.
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.write(onnx)
            process.stdin.write(np.ascontiguousarray(images).data)
            process.stdin.close()
        for line in process.stdout:
            message = json.loads(line)
            if "description" in message:
                description = process.stdout.read(message["description"])
                weights = process.stdout.read(message["weights"])
                if len(weights) == message["weights"]:
                    progress("quantise", len(images), len(images))
                    return QuantisedGraph(description, weights)
                break
            progress("quantise", message["done"], len(images))
        code = process.wait()
        raise QuantisationError(
            f"the network {settings.backbone} could not be quantised: "
            f"{last_line(stderr) or f'the process exited with code {code}'}; fit with precision f32"
        )
