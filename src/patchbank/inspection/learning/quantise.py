"""The quantised graph of a bank in int8, made from a sample of its reference images."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import ImageError, NoImagesError
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress
from patchbank.settings import usable_cores
from patchbank.vision.content import check_content
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import decode
from patchbank.vision.quantise import check_can_quantise, quantise
from patchbank.vision.quantised import QuantisedGraph

# More images hardly move the ranges of the activations, and every one costs time.
SAMPLE_IMAGES = 200
# Large inputs take more memory each, in NNCF many times their own size.
_SAMPLE_BYTES = 32_000_000
_FEWEST_IMAGES = 8


def quantised_graph(
    workspace: Workspace,
    settings: ExtractorSettings,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    progress: Progress,
) -> QuantisedGraph:
    """Quantise the network of `settings` with a sample of the images.

    The sample is spread evenly over the sources; it depends on nothing else. An image of it that
    cannot be used is left out.

    Raises
    ------
    MissingExtraError, WeightsError
        NNCF or the weights are not installed.
    NoImagesError
        No image of the sample can be used.
    QuantisationError
        NNCF could not do it.
    """
    check_can_quantise()
    threads = workspace.settings.threads or usable_cores()
    chosen = _spread(len(sources), settings.preprocessing.side)
    problems: list[str] = []

    def prepared(number: int) -> NDArray[np.uint8] | None:
        try:
            image = decode(
                sources[number],
                limits=workspace.limits,
                name=names[number],
                bit_depth=settings.bit_depth,
            )
            square = settings.preprocessing.apply(image.pixels, grey=image.grey)
            check_content(image, square, names[number])
        except ImageError as error:
            problems.append(str(error))
            return None
        if settings.preprocessing.is_tiled:
            # One of each image's tiles, so that the sample shows many images.
            down, across = (
                settings.tiling.spans(count) for count in settings.tiling.grid(*square.shape[:2])
            )
            tile = down[number % len(down)].origin, across[number % len(across)].origin
            square = settings.tiling.cut(square, *tile)
        return np.asarray(square, np.uint8)

    squares: list[NDArray[np.uint8]] = []
    workers = ThreadPoolExecutor(threads, "patchbank-quantise")
    try:
        for done, square in enumerate(workers.map(prepared, chosen), start=1):
            if square is not None:
                squares.append(square)
            progress("sample", done, len(chosen))
    finally:
        workers.shutdown(cancel_futures=True)
    if not squares:
        found = f"; {problems[0]}" if problems else ""
        raise NoImagesError(f"no image of {len(chosen)} can be used to quantise the network{found}")
    return quantise(settings, np.stack(squares), threads=threads, progress=progress)


def _spread(count: int, side: int) -> list[int]:
    """Return the places of the sample among `count` images."""
    most = max(_FEWEST_IMAGES, min(SAMPLE_IMAGES, _SAMPLE_BYTES // (3 * side * side)))
    places = np.linspace(0, count - 1, min(count, most)) if count else np.empty(0)
    return [int(position) for position in places.round()]
