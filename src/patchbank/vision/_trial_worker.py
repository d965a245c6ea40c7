"""The process that tries a network from elsewhere; `trial` starts it.

Standard input is a line of JSON and, for a quantised graph, its two parts. Standard output is a
line of JSON: the result, or the error raised.
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

# PR_SET_PDEATHSIG in <sys/prctl.h>.
_DIE_WITH_PARENT = 1
# In OpenVINO's message when memory runs out.
_NO_MEMORY = "bad_alloc"


def main() -> None:
    """Run the trial requested on standard input."""
    output = take_standard_output()
    _die_with(os.getppid())
    request = json.loads(sys.stdin.buffer.readline())
    _limit(request["seconds"], request["memory"])
    try:
        response = _response(request)
    except MemoryError:
        response = _too_large(request)
    except PatchbankError as error:
        response = {"error": type(error).__name__, "message": str(error)}
        if _NO_MEMORY in str(error):
            response = _too_large(request)
    output.write(json.dumps(response).encode())
    output.flush()


def _too_large(request: dict[str, Any]) -> dict[str, Any]:
    memory = request["memory"] / 1e9
    message = (
        f"{request['name']}: trying it takes more than {memory:.1f} GB of memory; if the machine "
        "has more, raise PATCHBANK_MEMORY_LIMIT"
    )
    return {"error": WeightsError.__name__, "message": message}


def _die_with(parent: int) -> None:
    """End when the parent ends, even if it is killed; outside Linux only the limits apply."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)


def _limit(seconds: float, memory: int) -> None:
    """Have the system end this process if it exceeds the limits."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    limits = {
        resource.RLIMIT_CPU: int(seconds * cores) + 1,
        # Data only, because libraries reserve far more address space than they use.
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        allowed = resource.getrlimit(kind)[1]
        limit = limit if allowed == resource.RLIM_INFINITY else min(limit, allowed)
        resource.setrlimit(kind, (limit, allowed))


def _response(request: dict[str, Any]) -> dict[str, Any]:
    if "file" in request:
        return _examine(request)
    _run_graph(request)
    return {}


def _examine(request: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import replace

    from patchbank.vision.backbones import weights_folder
    from patchbank.vision.backbones.onnx_network import OnnxNetwork, examine

    file = Path(request["file"])
    mean, std = tuple(request["mean"]), tuple(request["std"])
    network = examine(file, request["outputs"], mean, std)
    kept = TypeAdapter(weights_folder.Kept).validate_python(request["kept"])
    OnnxNetwork(replace(kept, network=network), file).check_runs()
    return {"network": TypeAdapter(weights_folder.Network).dump_python(network, mode="json")}


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
        # From OpenVINO for anything it cannot do, and from NumPy for other shapes.
        reason = " ".join(str(error).split())[-200:]
        raise WeightsError(f"{request['name']}: cannot be run ({reason})") from error
    if not (np.isfinite(features.patches).all() and np.isfinite(features.embeddings).all()):
        raise WeightsError(f"{request['name']}: its outputs are not finite")


if __name__ == "__main__":
    main()
