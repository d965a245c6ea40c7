"""The process in which somebody else's network is tried; `trial` starts it and talks to it.

Standard input brings one line of JSON and, for a quantised graph, its two parts. Standard output
gives one line of JSON: the answer, or the error that was raised.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from patchbank.errors import PatchbankError, WeightsError
from patchbank.vision._workers import take_standard_output

# Of <sys/prctl.h>.
_DIE_WITH_PARENT = 1
# What OpenVINO says where it gets none.
_NO_MEMORY = "bad_alloc"


def main() -> None:
    """Answer the one request on standard input."""
    answers = take_standard_output()
    _die_with(os.getppid())
    request = json.loads(sys.stdin.buffer.readline())
    _limit(request["seconds"], request["memory"])
    try:
        answer = _answer(request)
    except MemoryError:
        answer = _too_large(request)
    except PatchbankError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
        if _NO_MEMORY in str(error):
            answer = _too_large(request)
    answers.write(json.dumps(answer).encode())
    answers.flush()


def _too_large(request: dict[str, Any]) -> dict[str, Any]:
    memory = request["memory"] / 1e9
    message = (
        f"{request['name']}: trying it takes more than {memory:.1f} GB of memory; if there is "
        "more, raise PATCHBANK_MEMORY_LIMIT"
    )
    return {"error": WeightsError.__name__, "message": message}


def _die_with(parent: int) -> None:
    """End when the parent does, even where it is killed; elsewhere than on Linux, limits do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)


def _limit(seconds: float, memory: int) -> None:
    """Have the system end this process where it takes more, whatever it is doing."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    limits = {
        resource.RLIMIT_CPU: int(seconds * cores) + 1,
        # What is written to; libraries reserve far more than they take.
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        allowed = resource.getrlimit(kind)[1]
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(kind, (most, allowed))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    if "file" in request:
        return _network(request)
    _run_graph(request)
    return {}


def _network(request: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import replace

    from patchbank.vision.backbones import shelf
    from patchbank.vision.backbones.onnx_network import OnnxNetwork, examine

    file = Path(request["file"])
    mean, std = tuple(request["mean"]), tuple(request["std"])
    network = examine(file, request["outputs"], mean, std)
    kept = TypeAdapter(shelf.Kept).validate_python(request["kept"])
    OnnxNetwork(replace(kept, network=network), file).check_runs()
    return {"network": TypeAdapter(shelf.Network).dump_python(network, mode="json")}


def _run_graph(request: dict[str, Any]) -> None:
    from patchbank.vision.extractor import Extractor
    from patchbank.vision.extractor_settings import ExtractorSettings
    from patchbank.vision.quantised import QuantisedGraph

    read = sys.stdin.buffer.read
    graph = QuantisedGraph(read(request["description"]), read(request["weights"]))
    settings = ExtractorSettings.from_json(request["settings"])
    side = settings.preprocessing.side
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    try:
        with Extractor(settings, quantised=graph, threads=1) as extractor:
            features = extractor.extract([image])
    except (RuntimeError, ValueError, LookupError) as error:
        # What OpenVINO raises for whatever it cannot do, and NumPy for other shapes.
        reason = " ".join(str(error).split())[-200:]
        raise WeightsError(f"{request['name']}: cannot be run ({reason})") from error
    if not (np.isfinite(features.patches).all() and np.isfinite(features.embeddings).all()):
        raise WeightsError(f"{request['name']}: gives numbers that are not finite")


if __name__ == "__main__":
    main()
