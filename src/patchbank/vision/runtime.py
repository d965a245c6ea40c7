"""Run graphs with OpenVINO, and cache the compiled ones on disk."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.files import LARGEST_WEIGHTS, new_file, read_regular
from patchbank.vision.preprocess import Square

_log = logging.getLogger(__name__)

_DIGEST_BYTES: Final = hashlib.sha256().digest_size
_LEFTOVER_SECONDS: Final = 24 * 3600
# A quantised graph belongs to one bank, so refits would fill the folder.
_UNUSED_SECONDS: Final = 90 * 24 * 3600
_CONVERTER: Final = "openvino.tools.ovc"
_import_lock = threading.Lock()
# OpenVINO's Python binding builds its tables of element types in the first inference of a process,
# under a C++ lock, and releases the GIL meanwhile. A second thread would hold the GIL while waiting
# for that lock: a deadlock. So other threads wait until one inference is done.
_first_inference_lock = threading.Lock()
_first_inference_done = threading.Event()
# Held while OpenVINO reads or compiles a graph, so that no thread forks meanwhile.
_building = threading.RLock()
# Held while forking, so that forks happen one after the other.
_forking = threading.RLock()
# A fork waits at most this long for running inferences.
_FORK_SECONDS: Final = 10.0


def processor() -> tuple[str, list[str]]:
    """Return this processor's name and precisions, as OpenVINO reports them."""
    return str(_core().get_property("CPU", "FULL_DEVICE_NAME")), sorted(_capabilities())


@cache
def _core() -> Any:
    """Return this process's OpenVINO core, imported on first use without the model converter."""
    with _import_lock:
        if "openvino" in sys.modules or _CONVERTER in sys.modules:
            import openvino
        else:
            # The converter takes half of the import time. It also imports openvino_telemetry, which
            # writes files to the user's home folder and may open a connection. OpenVINO works
            # without it. An entry of None stops the import, which the mapping's type does not say.
            sys.modules[_CONVERTER] = None  # type: ignore[assignment]
            try:
                import openvino
            finally:
                del sys.modules[_CONVERTER]
            # Other code in this process may use it.
            openvino.convert_model = _convert_model
        return openvino.Core()


def _convert_model(*arguments: Any, **options: Any) -> Any:
    """Import OpenVINO's function of this name and call it."""
    return importlib.import_module(_CONVERTER).convert_model(*arguments, **options)


def openvino_version() -> str:
    """Return the version of OpenVINO."""
    _core()
    import openvino

    return str(openvino.get_version())


def check_precision(precision: str) -> None:
    """Check that this processor supports `precision`.

    Raises
    ------
    ParameterError
        If it does not.
    """
    if precision == "bf16" and "BF16" not in _capabilities():
        raise ParameterError(
            "precision bf16 needs AVX-512 BF16 or AMX, which this processor does not have; "
            "fit with precision f32"
        )


def describe_outputs(onnx: bytes) -> list[tuple[tuple[int, ...], str]]:
    """Return the shapes and types of a graph's outputs without compiling it.

    Dynamic sizes are 0; types have OpenVINO's names, such as ``"f32"`` and ``"i64"``. OpenVINO
    raises `RuntimeError` if it cannot read the graph.
    """
    described = []
    with _building:
        outputs = _core().read_model(onnx).outputs
    for output in outputs:
        sizes = output.get_partial_shape()
        known = sizes if sizes.rank.is_static else ()
        shape = tuple(size.get_length() if size.is_static else 0 for size in known)
        described.append((shape, str(output.get_element_type().get_type_name())))
    return described


def _capabilities() -> list[str]:
    return [str(name) for name in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")]


class CompiledGraph:
    """A compiled graph that processes one image per request.

    Any number of threads may call `run`; they wait for a free request.

    Parameters
    ----------
    build : callable returning openvino.CompiledModel
        Compiles the graph, with one input and any number of outputs; called again after a fork.
    requests : int
        The number of images processed at once.
    """

    def __init__(self, build: Callable[[], Any], requests: int) -> None:
        self._build = build
        self._compiled: Any = build()
        self._requests = requests
        self._halted: list[Any] = []
        # None stands for a request not created yet.
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(requests):
            self._free.put(None)
        _graphs.add(self)

    @contextlib.contextmanager
    def run(self, image: Square) -> Iterator[list[npt.NDArray[np.float32]]]:
        """Run the graph and yield its outputs, which are overwritten after the ``with`` block.

        Parameters
        ----------
        image : ndarray of uint8 or float32 (side, side, 3)
            C-contiguous.
        """
        request = self._free.get()
        try:
            if request is None:
                request = self._new_request()
            if _first_inference_done.is_set():
                yield _infer(request, image)
            else:
                with _first_inference_lock:
                    outputs = _infer(request, image)
                    _first_inference_done.set()
                yield outputs
        finally:
            self._free.put(request)

    def halt(self, deadline: float) -> None:
        """Wait for running inferences and block new ones until `put_away` is called.

        The deadline is a `time.monotonic` value; inferences still running then continue.
        """
        with contextlib.suppress(queue.Empty):
            while len(self._halted) < self._requests:
                left = max(0.0, deadline - time.monotonic())
                self._halted.append(self._free.get(timeout=left))

    def put_away(self) -> None:
        """Release OpenVINO's objects until the next image, unless they are still in use."""
        halted, self._halted = self._halted, []
        if len(halted) == self._requests:
            self._compiled = None
            halted = [None] * self._requests
        while halted:
            self._free.put(halted.pop())

    def _new_request(self) -> Any:
        with _building:
            if self._compiled is None:
                self._compiled = self._build()
            return self._compiled.create_infer_request()


_graphs: WeakSet[CompiledGraph] = WeakSet()


def _before_fork() -> None:
    """Release OpenVINO before a fork.

    Its threads do not survive a fork, but OpenVINO relies on them: new graphs, and even the child's
    exit, would wait for them forever. The parent reloads its graphs when needed.
    """
    _forking.acquire()
    deadline = time.monotonic() + _FORK_SECONDS
    graphs = set(_graphs)
    for graph in graphs:
        graph.halt(deadline)
    _building.acquire()
    for graph in set(_graphs) - graphs:  # created meanwhile
        graph.halt(deadline)
    for graph in set(_graphs):
        graph.put_away()
    if _core.cache_info().currsize:
        # Otherwise its pool's threads stay alive.
        _core().set_property({"FORCE_TBB_TERMINATE": True})
        _core.cache_clear()


def _after_fork() -> None:
    _building.release()
    _forking.release()


def _after_fork_in_child() -> None:
    global _first_inference_lock, _import_lock
    _after_fork()
    # They belong to the parent, and some may have been in use.
    _graphs.clear()
    _first_inference_lock, _import_lock = threading.Lock(), threading.Lock()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork,
    after_in_child=_after_fork_in_child,
)


def _infer(request: Any, image: Square) -> list[npt.NDArray[np.float32]]:
    # Without share_outputs the binding makes a copy besides the caller's.
    outputs = request.infer({0: image[None]}, share_inputs=True, share_outputs=True)
    return list(outputs.values())


def compile_graph(
    write_graph: Callable[[], tuple[bytes, ...]],
    *,
    key: str,
    precision: str,
    threads: int,
    streams: int,
    cache_folder: Path | None,
) -> CompiledGraph:
    """Compile a graph, or load it from the cache.

    Parameters
    ----------
    write_graph : callable returning tuple of bytes
        Writes the graph, an ONNX model or the two parts of OpenVINO's format; called only if the
        graph is not cached, and again after a fork.
    key : str
        Identifies the graph's content.
    precision : str
        The processor's number format: ``"f32"``, ``"bf16"`` or ``"int8"``.
    threads : int
        Cores to use in total.
    streams : int
        The number of images processed at once, sharing the threads.
    cache_folder : Path, optional
        Folder of compiled graphs. Processes may share it: files are replaced atomically, and a
        damaged file is written again.
    """
    check_precision(precision)
    options: dict[str, Any] = {
        # Otherwise OpenVINO uses bfloat16 wherever the processor supports it. A quantised graph
        # defines what is computed in int8; everything else is float32.
        "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision,
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": threads,
        # A pinned thread would wait for its core while our search or the database uses it.
        "ENABLE_CPU_PINNING": False,
    }
    cached = None if cache_folder is None else _cached_file(cache_folder, key, precision)

    def build() -> Any:
        with _building:
            core = _core()
            if cached is not None and (blob := _read_cached(cached)) is not None:
                _log.debug("read the compiled graph %s", cached)
                return core.import_model(io.BytesIO(blob), "CPU", options)
            start = time.monotonic()
            compiled = core.compile_model(core.read_model(*write_graph()), "CPU", options)
            _log.info("compiled a graph in %.1f s", time.monotonic() - start)
            if cached is not None:
                _write_cached(cached, bytes(compiled.export_model().getvalue()))
            return compiled

    return CompiledGraph(build, streams)


def _cached_file(folder: Path, key: str, precision: str) -> Path:
    machine = repr((openvino_version(), precision, sorted(_capabilities())))
    digest = hashlib.sha256(f"{key} {machine}".encode()).hexdigest()
    return folder / f"{digest[:32]}.graph"


def _read_cached(path: Path) -> bytes | None:
    """Return the compiled graph, or None if it is missing or damaged."""
    try:
        content = read_regular(path, LARGEST_WEIGHTS)
    except OSError:
        return None
    digest, blob = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    with contextlib.suppress(OSError):
        os.utime(path)  # marks it as used
    # OpenVINO does not check the file: a truncated one could crash the process.
    return blob if hashlib.sha256(blob).digest() == digest else None


def _write_cached(path: Path, blob: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        with new_file(path, durable=False) as draft:
            draft.write_bytes(hashlib.sha256(blob).digest() + blob)
    except OSError as error:
        # The cache only saves time: a full or read-only disk must not stop an inspection.
        _log.warning("the compiled graph was not cached: %s", error)


def _remove_leftovers(folder: Path) -> None:
    """Remove partial files of killed processes, and graphs not used for a long time."""
    for pattern, seconds in (("*.draft", _LEFTOVER_SECONDS), ("*.graph", _UNUSED_SECONDS)):
        for file in folder.glob(pattern):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > seconds:
                    file.unlink()
