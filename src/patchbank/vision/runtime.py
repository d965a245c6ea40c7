"""Run graphs with OpenVINO, and keep the compiled ones on disk."""

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
# A quantised graph belongs to one bank, so that refits would fill the folder.
_UNUSED_SECONDS: Final = 90 * 24 * 3600
_CONVERTER: Final = "openvino.tools.ovc"
_import_lock = threading.Lock()
# OpenVINO's Python binding makes its tables of element types in the first inference of a process,
# guarded by a lock of C++, and lets go of the interpreter lock meanwhile. A second thread that gets
# there holds the interpreter lock and waits for the table: both wait for ever. So nobody else runs
# until one inference is done.
_first_inference_lock = threading.Lock()
_first_inference_done = threading.Event()
# Held while OpenVINO reads or compiles a graph, so that nobody forks meanwhile.
_building = threading.RLock()
# Held by who forks: one after the other.
_forking = threading.RLock()
# A fork waits this long for the images that are in the networks.
_FORK_SECONDS: Final = 10.0


def processor() -> tuple[str, list[str]]:
    """Return this processor's name and the precisions it computes in, as OpenVINO knows them."""
    return str(_core().get_property("CPU", "FULL_DEVICE_NAME")), sorted(_capabilities())


@cache
def _core() -> Any:
    """Return this process's OpenVINO, imported on first use and without its model converter."""
    with _import_lock:
        if "openvino" in sys.modules or _CONVERTER in sys.modules:
            import openvino
        else:
            # The converter is half of the time of the import. It also imports openvino_telemetry,
            # which writes files into the user's home and may open a connection. OpenVINO does
            # without where it is absent.
            sys.modules[_CONVERTER] = None  # type: ignore[assignment]
            try:
                import openvino
            finally:
                del sys.modules[_CONVERTER]
            # Others in this process may want it.
            openvino.convert_model = _convert_model
        return openvino.Core()


def _convert_model(*arguments: Any, **options: Any) -> Any:
    """Do what OpenVINO's function of this name does, which is imported now."""
    return importlib.import_module(_CONVERTER).convert_model(*arguments, **options)


def openvino_version() -> str:
    """Return the version of OpenVINO."""
    _core()
    import openvino

    return str(openvino.get_version())


def check_precision(precision: str) -> None:
    """Check that this processor computes in `precision`.

    Raises
    ------
    ParameterError
        It does not.
    """
    if precision == "bf16" and "BF16" not in _capabilities():
        raise ParameterError(
            "precision bf16 needs a processor with AVX-512 BF16 or AMX, which this is not; "
            "fit with precision f32"
        )


def describe_outputs(onnx: bytes) -> list[tuple[tuple[int, ...], str]]:
    """Return shape and type of a graph's outputs without compiling it.

    A shape has 0 where it is not fixed; types are called as OpenVINO does: ``"f32"``, ``"i64"``.

    Raises
    ------
    RuntimeError
        OpenVINO does not know the graph.
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
    return [str(item) for item in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")]


class CompiledGraph:
    """A compiled graph of one image at a time, with as many requests as it has streams.

    Any number of threads may call `run`; they wait for a free request.

    Parameters
    ----------
    build : callable returning openvino.CompiledModel
        Compiles it, with one input and any number of outputs; called again after a fork.
    requests : int
        How many images it works on at once.
    """

    def __init__(self, build: Callable[[], Any], requests: int) -> None:
        self._build = build
        self._compiled: Any = build()
        self._requests = requests
        self._halted: list[Any] = []
        # None stands for a request that is still to be made.
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(requests):
            self._free.put(None)
        _graphs.add(self)

    @contextlib.contextmanager
    def run(self, image: Square) -> Iterator[list[npt.NDArray[np.float32]]]:
        """Run the graph and lend its outputs, which are overwritten after the ``with`` block.

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
        """Wait until nobody uses it and let nobody begin, until `put_away` is called.

        The deadline is one of `time.monotonic`; after it, whoever uses it goes on.
        """
        with contextlib.suppress(queue.Empty):
            while len(self._halted) < self._requests:
                left = max(0.0, deadline - time.monotonic())
                self._halted.append(self._free.get(timeout=left))

    def put_away(self) -> None:
        """Let go of all that OpenVINO made, unless somebody still uses it, until the next image."""
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
    """Leave nothing of OpenVINO to a forked child.

    Its threads do not live on there, but OpenVINO counts on them: new graphs, and even the end of
    the child, would wait for them for ever. The parent reads its graphs again when it needs them.
    """
    _forking.acquire()
    deadline = time.monotonic() + _FORK_SECONDS
    graphs = set(_graphs)
    for graph in graphs:
        graph.halt(deadline)
    _building.acquire()
    for graph in set(_graphs) - graphs:  # made meanwhile
        graph.halt(deadline)
    for graph in set(_graphs):
        graph.put_away()
    if _core.cache_info().currsize:
        # Otherwise the threads of its pool stay when nobody needs them any more.
        _core().set_property({"FORCE_TBB_TERMINATE": True})
        _core.cache_clear()


def _after_fork() -> None:
    _building.release()
    _forking.release()


def _after_fork_in_child() -> None:
    global _first_inference_lock, _import_lock
    _after_fork()
    # The parent's, of which some may still have been in use.
    _graphs.clear()
    _first_inference_lock, _import_lock = threading.Lock(), threading.Lock()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork,
    after_in_child=_after_fork_in_child,
)


def _infer(request: Any, image: Square) -> list[npt.NDArray[np.float32]]:
    # Without share_outputs the binding copies them once more than the caller does.
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
    """Compile a graph, or read it compiled from the cache.

    Parameters
    ----------
    write_graph : callable returning tuple of bytes
        Writes the graph, an ONNX model or the two parts of OpenVINO's own format; called only when
        the cache has none. It is kept, to be called again after a fork.
    key : str
        Stands for the graph's content.
    precision : str
        ``"f32"``, ``"bf16"`` or ``"int8"``: what the processor computes in.
    threads : int
        Cores used in all.
    streams : int
        How many images are worked on at once, sharing the threads.
    cache_folder : Path, optional
        Where compiled graphs are kept. Processes may share it: files are written beside their name
        and moved there, and a damaged one is written anew.
    """
    check_precision(precision)
    options: dict[str, Any] = {
        # Without this, OpenVINO takes bfloat16 by itself wherever the processor has it. A quantised
        # graph says itself what is computed in int8; all else is float32.
        "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision,
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": threads,
        # A thread bound to a core waits there for whoever has it: our own search, the database.
        "ENABLE_CPU_PINNING": False,
    }
    cached = None if cache_folder is None else _cached_file(cache_folder, key, precision)

    def build() -> Any:
        with _building:
            core = _core()
            if cached is not None and (blob := _read_cached(cached)) is not None:
                _log.debug("read the compiled graph %s", cached)
                return core.import_model(io.BytesIO(blob), "CPU", options)
            begun = time.monotonic()
            compiled = core.compile_model(core.read_model(*write_graph()), "CPU", options)
            _log.info("compiled a graph in %.1f s", time.monotonic() - begun)
            if cached is not None:
                _write_cached(cached, bytes(compiled.export_model().getvalue()))
            return compiled

    return CompiledGraph(build, streams)


def _cached_file(folder: Path, key: str, precision: str) -> Path:
    machine = repr((openvino_version(), precision, sorted(_capabilities())))
    digest = hashlib.sha256(f"{key} {machine}".encode()).hexdigest()
    return folder / f"{digest[:32]}.graph"


def _read_cached(path: Path) -> bytes | None:
    """Return the compiled graph, or None where there is none or it is damaged."""
    try:
        content = read_regular(path, LARGEST_WEIGHTS)
    except OSError:
        return None
    digest, blob = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    with contextlib.suppress(OSError):
        os.utime(path)  # it is in use
    # OpenVINO trusts what it reads: a cut-off file could crash the process.
    return blob if hashlib.sha256(blob).digest() == digest else None


def _write_cached(path: Path, blob: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        with new_file(path, durable=False) as draft:
            draft.write_bytes(hashlib.sha256(blob).digest() + blob)
    except OSError as error:
        # The cache only saves time: a full or read-only disk must not stop an inspection.
        _log.warning("the compiled graph is not kept: %s", error)


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half-written, and graphs that nobody used for long."""
    for pattern, seconds in (("*.draft", _LEFTOVER_SECONDS), ("*.graph", _UNUSED_SECONDS)):
        for file in folder.glob(pattern):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > seconds:
                    file.unlink()
