"""Try networks from elsewhere in a separate process, with limits on time and memory.

A network's file is a program: it may loop forever, or use too much memory.
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from patchbank import errors
from patchbank.errors import PatchbankError, WeightsError
from patchbank.settings import get_settings
from patchbank.vision._workers import last_line, worker
from patchbank.vision.backbones import weights_folder
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.quantised import QuantisedGraph

_WORKER: Final = "patchbank.vision._trial_worker"
_NETWORK: Final = TypeAdapter(weights_folder.Network)
_KEPT: Final = TypeAdapter(weights_folder.Kept)


def try_network(
    kept: weights_folder.Kept,
    file: Path,
    outputs: Sequence[str],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    *,
    memory: int,
) -> weights_folder.Network:
    """Run a user's network and return its description; see `onnx_network.examine`.

    Parameters
    ----------
    kept : Kept
        The network's record, without a description.
    file : Path
    outputs : sequence of str
    mean, std : tuple of float
    memory : int
        The memory limit in bytes.
    """
    response = _try(
        str(file),
        {
            "kept": _KEPT.dump_python(kept, mode="json"),
            "file": str(file),
            "outputs": list(outputs),
            "mean": mean,
            "std": std,
        },
        memory,
    )
    return _NETWORK.validate_python(response["network"])


def try_graph(
    name: str, settings: ExtractorSettings, graph: QuantisedGraph, *, memory: int
) -> None:
    """Run a quantised graph from elsewhere once.

    Parameters
    ----------
    name : str
        The graph's name in messages.
    settings : ExtractorSettings
        The graph's settings.
    graph : QuantisedGraph
    memory : int
        The memory limit in bytes.
    """
    sizes = {"description": len(graph.description), "weights": len(graph.weights)}
    request = {"settings": settings.to_json(), **sizes}
    _try(name, request, memory, graph.description + graph.weights)


def _try(name: str, request: dict[str, Any], memory: int, content: bytes = b"") -> dict[str, Any]:
    seconds = get_settings().trial_seconds
    line = (
        json.dumps({**request, "name": name, "seconds": seconds, "memory": memory}).encode() + b"\n"
    )
    with tempfile.TemporaryFile() as stderr, worker(_WORKER, stderr) as process:
        try:
            output, _ = process.communicate(line + content, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise _too_slow(name, seconds) from error
        if process.returncode == -signal.SIGXCPU:
            raise _too_slow(name, seconds)
        if process.returncode != 0 or not output:
            raise WeightsError(
                f"{name}: cannot be run: trying it ended its process "
                f"({last_line(stderr) or f'code {process.returncode}'}); it may need more than "
                f"{memory / 1e9:.1f} GB of memory"
            )
    response: dict[str, Any] = json.loads(output)
    if "error" in response:
        kind = getattr(errors, response["error"], None)
        assert isinstance(kind, type)
        assert issubclass(kind, PatchbankError)
        raise kind(response["message"])
    return response


def _too_slow(name: str, seconds: float) -> WeightsError:
    return WeightsError(
        f"{name}: trying it did not finish within {seconds:g} seconds; if it needs more time, "
        "raise PATCHBANK_TRIAL_SECONDS"
    )
