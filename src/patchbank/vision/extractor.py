"""Compute patch features of images."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

from patchbank.errors import ImageError, ParameterError
from patchbank.forks import Opener
from patchbank.progress import Progress, silent
from patchbank.settings import usable_cores
from patchbank.vision.appearance import appearance_of
from patchbank.vision.backbones import get_backbone
from patchbank.vision.backbones.features import FeatureShape, feature_shape
from patchbank.vision.content import (
    check_content,
    check_scaled_size,
    check_unsettled_depth,
    inspected_patches,
)
from patchbank.vision.decoded_image import DEFAULT_LIMITS, ImageLimits, ImageSource, Pixels
from patchbank.vision.extraction import Extraction, Features, Refusal
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.feature_graph import graph_of
from patchbank.vision.images import decode, thumbnail
from patchbank.vision.preprocess import Square, painted_over
from patchbank.vision.quantised import QuantisedGraph
from patchbank.vision.runtime import (
    CompiledGraph,
    check_precision,
    compile_graph,
    openvino_version,
)
from patchbank.vision.tiling import Span

Result = TypeVar("Result")


class Extractor:
    """A network that computes features of images; thread-safe.

    An image's features do not depend on other images or on the number of threads.

    Parameters
    ----------
    settings : ExtractorSettings
        What to compute.
    quantised : QuantisedGraph, optional
        The graph for these settings with precision int8; None for other precisions.
    threads : int
        Cores to use; 0 for all that this process has.
    cache_folder : Path, optional
        Folder of compiled graphs, which let the next process start faster.
    """

    def __init__(
        self,
        settings: ExtractorSettings | None = None,
        *,
        quantised: QuantisedGraph | None = None,
        threads: int = 0,
        cache_folder: Path | None = None,
    ) -> None:
        if threads < 0:
            raise ParameterError(
                f"threads is {threads}; give a positive number, or 0 for all cores"
            )
        self.settings: Final = settings or ExtractorSettings()
        self.preprocessing: Final = self.settings.preprocessing
        if self.settings.is_quantised != (quantised is not None):
            raise ParameterError(
                f"precision {self.settings.precision}: int8 needs a quantised graph, "
                "and other precisions must not have one"
            )
        self.quantised: Final = quantised
        self._graph_sha256 = None if quantised is None else quantised.sha256
        self.fingerprint: Final = self.settings.fingerprint(self._graph_sha256)
        self._threads = threads or usable_cores()
        self._cache_folder = cache_folder
        self._backbone = get_backbone(self.settings.backbone)
        self._shape: FeatureShape = feature_shape(
            self._backbone, self.settings.layers, self.preprocessing.side
        )
        self._opener = Opener(f"the extractor {self.settings.backbone}")
        self._lock = threading.Lock()
        check_precision(self.settings.precision)
        self._single: CompiledGraph = self._compile(streams=1)
        self._parallel: CompiledGraph | None = None
        self._workers: ThreadPoolExecutor | None = None

    @property
    def dimension(self) -> int:
        """Length of a patch feature."""
        return self._shape.dimension

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of every image's patches; None where they depend on its size."""
        return None if self.preprocessing.is_tiled else self._shape.grid

    def grid_of(self, width: int, height: int) -> tuple[int, int]:
        """Return the rows and columns of an image's patches."""
        return self.settings.grid_of(width, height)

    @property
    def embedding_dimension(self) -> int:
        """Length of an image's embedding."""
        return self._shape.embedding_dimension

    def describe(self) -> dict[str, Any]:
        """Return a JSON-compatible description of this extractor."""
        return {
            **self.settings.to_json(),
            "fingerprint": self.fingerprint,
            "grid": None if self.grid is None else list(self.grid),
            "dimension": self.dimension,
            "embedding_dimension": self.embedding_dimension,
            "licence": self._backbone.licence,
            "weights_sha256": self._backbone.weights_sha256,
            "graph_sha256": self._graph_sha256,
            "threads": self._threads,
            "openvino": openvino_version(),
        }

    def write_graph(self) -> tuple[bytes, ...]:
        """Return the graph for `patchbank.vision.runtime.compile_graph`."""
        return graph_of(self.settings, self.quantised)

    def extract(self, batch: Sequence[Pixels]) -> Features:
        """Return the features of images with equal numbers of patches.

        Parameters
        ----------
        batch : sequence of ndarray of uint8 (height, width, 3)
            RGB, such as `pixels` from `patchbank.vision.images.decode`. They may differ in size
            where every image is resized to a square.
        """
        self._opener.check()
        grids = {self.grid_of(pixels.shape[1], pixels.shape[0]) for pixels in batch}
        if len(grids) > 1:
            raise ParameterError(
                "images of different sizes have different numbers of patches here; "
                "extract them one by one"
            )
        rows, columns = grids.pop() if grids else self._shape.grid
        features = Features(
            np.empty((len(batch), rows, columns, self.dimension), np.float32),
            np.empty((len(batch), self.embedding_dimension), np.float32),
        )

        def fill(index: int, graph: CompiledGraph) -> None:
            height, width = batch[index].shape[:2]
            inspected = self.settings.inspected_of(width, height)
            resized = painted_over(
                self.preprocessing.apply(batch[index]), self.settings.hidden_of(width, height)
            )
            features.patches[index], features.embeddings[index] = self._features(
                resized, graph, inspected
            )

        if len(batch) == 1 or self._threads == 1:
            for index in range(len(batch)):
                fill(index, self._single)
        elif batch:
            graph, workers = self._many()
            for future in [workers.submit(fill, index, graph) for index in range(len(batch))]:
                future.result()
        return features

    def extract_one(
        self,
        source: ImageSource,
        *,
        name: str = "",
        limits: ImageLimits = DEFAULT_LIMITS,
        thumbnail_side: int | None = None,
        alone: bool = True,
    ) -> Extraction:
        """Decode an image and compute its features with all cores, the fastest for one image.

        `name` names an image without a path in messages. With ``alone=False``, one core is used,
        because other threads work on other images.
        """
        self._opener.check()
        graph = self._single if alone else self._many()[0]
        return self._extract(source, name, graph, limits, thumbnail_side)

    def extract_many(
        self,
        sources: Iterable[ImageSource],
        *,
        names: Iterable[str] = (),
        limits: ImageLimits = DEFAULT_LIMITS,
        thumbnail_side: int | None = None,
        stage: str = "features",
        progress: Progress = silent,
    ) -> Generator[Extraction | Refusal, None, None]:
        """Decode images and compute their features, several at once; yield them in order.

        Sources are read as needed: besides those the caller keeps, at most two images per thread
        are in memory. An image that cannot be used yields a `Refusal`.

        Parameters
        ----------
        sources : iterable of ImageSource
            Any number of images.
        names : iterable of str
            Names for messages of images without a path, in order.
        limits : ImageLimits
            Larger images are refused.
        thumbnail_side : int, optional
            Longer side of the thumbnails in pixels; None for no thumbnails.
        stage : str
            Name of the work in `progress`.
        progress : Progress
            Called after every image; its total is the number of sources if known, else the number
            done.
        """
        total = len(sources) if isinstance(sources, Sized) else None
        stream = self.map_many(
            _unchanged, sources, names=names, limits=limits, thumbnail_side=thumbnail_side
        )
        with contextlib.closing(stream):
            for done, result in enumerate(stream, start=1):
                progress(stage, done, done if total is None else total)
                yield result

    def map_many(
        self,
        work: Callable[[str, Extraction | Refusal], Result],
        sources: Iterable[ImageSource],
        *,
        names: Iterable[str] = (),
        limits: ImageLimits = DEFAULT_LIMITS,
        thumbnail_side: int | None = None,
    ) -> Generator[Result, None, None]:
        """Call `work` with the features of each image, in the thread that computed them.

        There are as many threads as cores, so passing images between threads would only cost time.
        `work` gets the image's name (an empty string if `names` has none) and its features; its
        errors are raised here. Results come in the images' order; the other parameters are as in
        `extract_many`.
        """
        self._opener.check()
        graph, workers = self._many()
        window: deque[Future[Result]] = deque()

        def work_on(source: ImageSource, name: str) -> Result:
            result: Extraction | Refusal
            try:
                result = self._extract(source, name, graph, limits, thumbnail_side)
            except ImageError as error:
                result = Refusal(source, error)
            return work(name, result)

        try:
            for source, name in zip(sources, chain(names, repeat("")), strict=False):
                window.append(workers.submit(work_on, source, name))
                if len(window) >= 2 * self._threads:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for future in window:
                future.cancel()
            wait(window)

    def close(self) -> None:
        """End the worker threads; they restart when needed."""
        if not self._opener.is_this_process:
            return  # the threads belong to the parent process
        with self._lock:
            workers, self._workers = self._workers, None
        if workers is not None:
            workers.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _extract(
        self,
        source: ImageSource,
        name: str,
        graph: CompiledGraph,
        limits: ImageLimits,
        thumbnail_side: int | None,
    ) -> Extraction:
        start = time.perf_counter()
        image = decode(source, limits=limits, name=name, bit_depth=self.settings.bit_depth)
        if self.settings.bit_depth is None:
            check_unsettled_depth(image, source, name, limits)
        check_scaled_size(image, self.settings, name, limits)
        inspected = inspected_patches(image, self.settings, name)
        decoded = time.perf_counter()
        hidden = self.settings.hidden_of(image.width, image.height)
        resized = painted_over(self.preprocessing.apply(image.pixels, grey=image.grey), hidden)
        check_content(image, resized, name)
        appearance = appearance_of(resized, hidden)
        prepared = time.perf_counter()
        patches, embedding = self._features(resized, graph, inspected)
        finished = time.perf_counter()
        small = b"" if thumbnail_side is None else thumbnail(image.pixels, thumbnail_side)
        timings = {
            "decode": 1e3 * (decoded - start),
            "preprocess": 1e3 * (prepared - decoded),
            "network": 1e3 * (finished - prepared),
        }
        return Extraction(source, image, patches, embedding, small, timings, appearance, inspected)

    def _features(
        self,
        resized: Square,
        graph: CompiledGraph,
        inspected: npt.NDArray[np.bool_] | None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the patch features and the embedding of a resized image."""
        if not self.preprocessing.is_tiled:
            with graph.run(np.ascontiguousarray(resized)) as (patches, embedding):
                found, whole = patches[0].copy(), embedding[0].copy()
            if inspected is not None:
                whole = self._shape.embedding_of(found, inspected)
            return found, whole
        tiling = self.settings.tiling
        rows, columns = tiling.grid(*resized.shape[:2])
        make = np.empty if inspected is None else np.zeros
        assembled: npt.NDArray[np.float32] = make((rows, columns, self.dimension), np.float32)

        def fill(down: Span, across: Span, graph: CompiledGraph) -> None:
            with graph.run(tiling.cut(resized, down.origin, across.origin)) as (patches, _):
                assembled[down.start : down.stop, across.start : across.stop] = patches[
                    0,
                    down.start - down.origin : down.stop - down.origin,
                    across.start - across.origin : across.stop - across.origin,
                ]

        tiles = [
            (down, across)
            for down in tiling.spans(rows)
            for across in tiling.spans(columns)
            # A tile of which nothing is inspected is left out: its patches stay 0.
            if inspected is None
            or inspected[down.start : down.stop, across.start : across.stop].any()
        ]
        if graph is self._single and len(tiles) > 1 and self._threads > 1:
            # Like many images: a core for each is faster than all cores for one.
            many, workers = self._many()
            for future in [workers.submit(fill, *tile, many) for tile in tiles]:
                future.result()
        else:
            for tile in tiles:
                fill(*tile, graph)
        return assembled, self._shape.embedding_of(assembled, inspected)

    def _many(self) -> tuple[CompiledGraph, ThreadPoolExecutor]:
        """Return the graph for many images and the threads that feed it."""
        with self._lock:
            if self._parallel is None:
                # For many images, one core per image is the most efficient.
                self._parallel = (
                    self._single if self._threads == 1 else self._compile(streams=self._threads)
                )
            if self._workers is None:
                self._workers = ThreadPoolExecutor(self._threads, "patchbank-extractor")
            return self._parallel, self._workers

    def _compile(self, streams: int) -> CompiledGraph:
        return compile_graph(
            # Not a method, because the graph must not keep the extractor alive.
            partial(graph_of, self.settings, self.quantised),
            key=replace(self.settings, regions=None).fingerprint(self._graph_sha256),
            precision=self.settings.precision,
            threads=self._threads,
            streams=streams,
            cache_folder=self._cache_folder,
        )


def _unchanged(name: str, result: Extraction | Refusal) -> Extraction | Refusal:
    return result
