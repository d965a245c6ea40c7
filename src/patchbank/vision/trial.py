"""Try what others made in a process of its own, with a limit of time and of memory.

A network's file is a program: it may loop without end, or ask for more memory than there is.
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
from patchbank.vision.backbones import shelf
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.quantised import QuantisedGraph

_WORKER: Final = "patchbank.vision._trial_worker"
_NETWORK: Final = TypeAdapter(shelf.Network)
_KEPT: Final = TypeAdapter(shelf.Kept)


def try_network(
    kept: shelf.Kept,
    file: Path,
    outputs: Sequence[str],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    *,
    memory: int,
) -> shelf.Network:
    """Return what is to know of a user's network, which has run: see `onnx_network.examine`.

    Parameters
    ----------
    kept : Kept
        Its record, without a network.
    file : Path
    outputs : sequence of str
    mean, std : tuple of float
    memory : int
        The most that trying it may take, in bytes.

    Raises
    ------
    WeightsError
        The file is no network that can be run, or trying it takes too long or too much memory.
    ParameterError
        There is no such output, or it is no feature map.
    """
    answer = _tried(
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
    return _NETWORK.validate_python(answer["network"])


def try_graph(
    name: str, settings: ExtractorSettings, graph: QuantisedGraph, *, memory: int
) -> None:
    """Run a quantised graph that somebody else made once.

    Parameters
    ----------
    name : str
        What messages call it.
    settings : ExtractorSettings
        What it computes.
    graph : QuantisedGraph
    memory : int
        The most that trying it may take, in bytes.

    Raises
    ------
    WeightsError
        It cannot be run, gives something else, or takes too long or too much memory.
    """
    sizes = {"description": len(graph.description), "weights": len(graph.weights)}
    request = {"settings": settings.to_json(), **sizes}
    _tried(name, request, memory, graph.description + graph.weights)


def _tried(name: str, request: dict[str, Any], memory: int, content: bytes = b"") -> dict[str, Any]:
    seconds = get_settings().trial_seconds
    line = (
        json.dumps({**request, "name": name, "seconds": seconds, "memory": memory}).encode() + b"\n"
    )
    with tempfile.TemporaryFile() as talk, worker(_WORKER, talk) as process:
        try:
            said, _ = process.communicate(line + content, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise _too_slow(name, seconds) from error
        if process.returncode == -signal.SIGXCPU:
            raise _too_slow(name, seconds)
        if process.returncode != 0 or not said:
            raise WeightsError(
                f"{name}: cannot be run: trying it ended its process "
                f"({last_line(talk) or f'code {process.returncode}'}); it may take more than "
                f"{memory / 1e9:.1f} GB of memory"
            )
    answer: dict[str, Any] = json.loads(said)
    if "error" in answer:
        kind = getattr(errors, answer["error"], None)
        assert isinstance(kind, type)
        assert issubclass(kind, PatchbankError)
        raise kind(answer["message"])
    return answer


def _too_slow(name: str, seconds: float) -> WeightsError:
    return WeightsError(
        f"{name}: trying it had not ended after {seconds:g} seconds; if it only needs longer, "
        "raise PATCHBANK_TRIAL_SECONDS"
    )
