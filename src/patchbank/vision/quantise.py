"""Quantise a feature graph with NNCF, in a process of its own.

NNCF changes the process it is imported into: it prints progress and warnings on standard output,
replaces the logger class, keeps hundreds of megabytes, and reports its use to its makers. What it
does in another process ends with that.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from contextlib import suppress
from typing import Final

import numpy as np
import numpy.typing as npt

from patchbank.errors import MissingExtraError, QuantisationError
from patchbank.progress import Progress, silent
from patchbank.vision._workers import last_line, worker
from patchbank.vision.backbones import get_backbone
from patchbank.vision.backbones.features import write_feature_graph
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.quantised import QuantisedGraph

_WORKER: Final = "patchbank.vision._quantise_worker"


def check_can_quantise() -> None:
    """Check that what quantising needs is installed.

    Raises
    ------
    MissingExtraError
        It is not.
    """
    if importlib.util.find_spec("nncf") is None:
        raise MissingExtraError(
            "learning in int8 needs NNCF, which is not installed; "
            "run: pip install 'patchbank[int8]', or fit with precision f32"
        )


def quantise(
    settings: ExtractorSettings,
    images: npt.NDArray[np.uint8],
    *,
    threads: int = 0,
    progress: Progress = silent,
) -> QuantisedGraph:
    """Return the graph of these settings with 8-bit weights and activations.

    The ranges of the activations are those that NNCF sees in the images. The same images give the
    same graph.

    Parameters
    ----------
    settings : ExtractorSettings
        Backbone, layers, sizes and pooling count; the precision does not.
    images : ndarray of uint8 (n, side, side, 3)
        As the network gets them, at least one.
    threads : int
        Cores used; 0 for all that this process has.
    progress : Progress
        Called as the network sees the images; the last one counts when all is done.

    Raises
    ------
    MissingExtraError, WeightsError
        NNCF or the weights are not installed, or the weights are damaged.
    QuantisationError
        NNCF could not do it.
    """
    check_can_quantise()
    onnx = write_feature_graph(
        get_backbone(settings.backbone),
        settings.layers,
        settings.preprocessing.side,
        settings.pooling,
    )
    request = {"onnx": len(onnx), "images": images.shape, "threads": threads}
    with tempfile.TemporaryFile() as talk, worker(_WORKER, talk) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # Where it dies before it has read all, what it said is found below.
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.write(onnx)
            process.stdin.write(np.ascontiguousarray(images).data)
            process.stdin.close()
        for line in process.stdout:
            answer = json.loads(line)
            if "description" in answer:
                description = process.stdout.read(answer["description"])
                weights = process.stdout.read(answer["weights"])
                if len(weights) == answer["weights"]:
                    progress("quantise", len(images), len(images))
                    return QuantisedGraph(description, weights)
                break
            progress("quantise", answer["done"], len(images))
        code = process.wait()
        raise QuantisationError(
            f"the network {settings.backbone} could not be quantised: "
            f"{last_line(talk) or f'the process ended with code {code}'}; fit with precision f32"
        )
