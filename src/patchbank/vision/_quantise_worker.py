"""The process in which NNCF quantises a graph; `quantise` starts it and talks to it.

Standard input brings one line of JSON, the ONNX model and the images. Standard output gives lines
of JSON, ``{"done": 3}`` after every image, and at last the sizes of the graph's two parts and the
parts. Whatever NNCF prints goes to standard error.
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

# Averaging, enlarging and joining the finished maps costs little in f32. With their inputs
# quantised, OpenVINO 2026.4 gives features that have little to do with those in f32: relative error
# 1.0 for blocks.4 (0.3 for the same graph where OpenVINO's own optimisations of int8 are off).
_KEPT_IN_F32 = ("AvgPool", "Interpolate", "Concat")


def main() -> None:
    """Answer the one request on standard input."""
    answers = take_standard_output()
    request = json.loads(sys.stdin.buffer.readline())
    onnx = sys.stdin.buffer.read(request["onnx"])
    shape = request["images"]
    images = np.frombuffer(sys.stdin.buffer.read(int(np.prod(shape))), np.uint8).reshape(shape)
    if request["threads"] and hasattr(os, "sched_setaffinity"):
        # NNCF compiles graphs with OpenVINO's defaults, which are all the cores there are.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: request["threads"]])
    description, weights = _quantised(onnx, _Watched(images, answers))
    _say(answers, {"description": len(description), "weights": len(weights)})
    answers.write(description)
    answers.write(weights)
    answers.flush()


def _quantised(onnx: bytes, images: _Watched) -> tuple[bytes, bytes]:
    # NNCF and OpenVINO's model converter would report their use to their makers.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import nncf
    import openvino

    # The converter folds constants; NNCF does not find the biases without, and corrects none.
    model = openvino.convert_model(io.BytesIO(onnx))
    quantised = nncf.quantize(
        model,
        nncf.Dataset(images),
        # Symmetric ranges: here two thirds of the error of asymmetric ones or less, and quicker.
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(images),
        # The thorough correction takes some five seconds more and makes up for a third of the loss.
        fast_bias_correction=False,
        ignored_scope=nncf.IgnoredScope(types=list(_KEPT_IN_F32)),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            # Weights of seven bits: sums of two products fit into 16 bits, so that processors
            # without VNNI, which add them so, give the same features as those with it.
            overflow_fix=nncf.OverflowFix.ENABLE
        ),
    )
    # OpenVINO numbers what has no name by a count of the process, which differs between runs.
    for number, operation in enumerate(quantised.get_ordered_ops()):
        if operation.get_type_name() not in ("Parameter", "Result"):
            operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.xml"
        openvino.save_model(quantised, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


class _Watched:
    """Images one by one, as often as they are asked for; says how many the first round has seen."""

    def __init__(self, images: npt.NDArray[np.uint8], answers: BinaryIO) -> None:
        self._images, self._answers = images, answers
        self._first = True

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        first, self._first = self._first, False
        for number in range(len(self)):
            yield self._images[number : number + 1]
            if first:
                _say(self._answers, {"done": number + 1})

    def __getitem__(self, number: int) -> npt.NDArray[np.uint8]:
        return self._images[number : number + 1]


def _say(answers: BinaryIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
