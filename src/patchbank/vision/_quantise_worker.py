"""The process in which NNCF quantises a graph; `quantise` starts it.

Standard input is a line of JSON, the ONNX model and the images. Standard output is a line of JSON
per image, such as ``{"done": 3}``, then a line with the sizes of the graph's two parts, and the
parts. NNCF's output goes to standard error.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from patchbank.vision._workers import take_standard_output

# Averaging, resizing and concatenating the final maps costs little in f32. If their inputs are
# quantised, OpenVINO 2026.4 gives features unrelated to those in f32: relative error 1.0 for
# blocks.4 (0.3 for the same graph with OpenVINO's int8 optimisations off).
_KEPT_IN_F32 = ("AvgPool", "Interpolate", "Concat")


def main() -> None:
    """Quantise the graph on standard input."""
    output = take_standard_output()
    request = json.loads(sys.stdin.buffer.readline())
    onnx = sys.stdin.buffer.read(request["onnx"])
    shape = request["images"]
    images = np.frombuffer(sys.stdin.buffer.read(int(np.prod(shape))), np.uint8).reshape(shape)
    if request["threads"] and hasattr(os, "sched_setaffinity"):
        # NNCF compiles graphs with OpenVINO's defaults, which use all cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: request["threads"]])
    description, weights = _quantised(onnx, _ReportingImages(images, output))
    _send(output, {"description": len(description), "weights": len(weights)})
    output.write(description)
    output.write(weights)
    output.flush()


def _quantised(onnx: bytes, images: _ReportingImages) -> tuple[bytes, bytes]:
    # NNCF and OpenVINO's model converter would report usage to their authors.
    # An entry of None stops the import, which the type of the mapping does not say.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import nncf
    import openvino

    # The converter folds constants; without that, NNCF does not find the biases to correct.
    model = openvino.convert_model(io.BytesIO(onnx))
    quantised = nncf.quantize(
        model,
        nncf.Dataset(images),
        # Symmetric ranges: at most two thirds of the error of asymmetric ones here, and faster.
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(images),
        # The accurate correction takes about five seconds more and recovers a third of the loss.
        fast_bias_correction=False,
        # Graphs of a single layer have none of these.
        ignored_scope=nncf.IgnoredScope(types=list(_KEPT_IN_F32), validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            # 7-bit weights: sums of two products fit into 16 bits, so that processors without VNNI,
            # which add in 16 bits, give the same features as those with it.
            overflow_fix=nncf.OverflowFix.ENABLE
        ),
    )
    # OpenVINO numbers unnamed operations with a per-process counter, which differs between runs.
    for number, operation in enumerate(quantised.get_ordered_ops()):
        if operation.get_type_name() not in ("Parameter", "Result"):
            operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.xml"
        openvino.save_model(quantised, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


class _ReportingImages:
    """Images that report progress the first time they are iterated over."""

    def __init__(self, images: npt.NDArray[np.uint8], output: BinaryIO) -> None:
        self._images, self._output = images, output
        self._first = True

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        first, self._first = self._first, False
        for number in range(len(self)):
            yield self._images[number : number + 1]
            if first:
                _send(self._output, {"done": number + 1})

    def __getitem__(self, number: int) -> npt.NDArray[np.uint8]:
        return self._images[number : number + 1]


def _send(output: BinaryIO, message: dict[str, Any]) -> None:
    output.write(json.dumps(message).encode() + b"\n")
    output.flush()


if __name__ == "__main__":
    main()
