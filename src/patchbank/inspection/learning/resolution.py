"""How closely to look: what a fit chooses by its images' sizes and a time budget."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import ImageError, ParameterError
from patchbank.inspection.learning.settled_regions import largest_inspected
from patchbank.inspection.learning.sizes import (
    SMALLEST_TILE,
    Sizes,
    is_small,
    remarks_on_sizes,
    remarks_on_tile,
    sizes_of,
    typical,
    with_fitting_tile,
    work_of,
)
from patchbank.inspection.settings import DEFAULT_BUDGET_MS_PER_MEGAPIXEL, FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.coreset import greedy_k_center
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.scoring import image_score
from patchbank.progress import Progress, silent
from patchbank.settings import usable_cores
from patchbank.vision.backbones import get_backbone
from patchbank.vision.decoded_image import ImageLimits, ImageSource, Pixels
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import decode
from patchbank.vision.synthetic import small_defect

# Side of the network's usual square.
SQUARE = 224
# Each step has half the pixels; a fit chooses no more than 1.
_SCALES = tuple(float(f"{2 ** (-step / 2):.2g}") for step in range(-1, 14))
# Rows of the bank: beyond, searching costs more than it brings.
_MOST_ROWS = 25_000
# The growth of an exact search with the rows of the bank (docs/performance.md, "How it grows").
_SEARCH_EXPONENT = 0.7

# What an inspection costs is measured with some of the trial's pieces.
_COST_IMAGES = 4
_COST_ROWS = 4_000

# The trial: most images are learned, the others judged as they are and with small defects.
_TRIAL_IMAGES = 48
_FEWEST_TRIAL_IMAGES = 8
_JUDGED_SHARE = 3
_TRIAL_ROWS = 10_000
_TRIAL_SIDE = 640
_DEFECT_SIZES = (4, 6, 9, 14, 21)
# A defect is visible where it raises the score by so much, and a size where most defects are.
_RAISED = 1.05
_MOST = 0.8
# Other layers than the default ones only where they show clearly more, as the deeper ones know what
# belongs together: without them 1.6 to 2.8 times as much on circuit boards of which no two are
# alike, 1.0 to 1.2 times on solar cells, where they help (docs/resolution.md).
_CLEARLY_MORE = 1.4
_LEAST_MORE = 0.05


def settled_resolution(
    workspace: Workspace,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    settings: FitSettings,
    progress: Progress = silent,
) -> tuple[FitSettings, tuple[str, ...]]:
    """Return the settings with all chosen that was left to a fit, and a line on each choice.

    Parameters
    ----------
    sources, names
        The references.
    """
    if settings.extractor.scale is None and not settings.to_choose:
        return settings, ()
    sizes = sizes_of(workspace, sources)
    if not sizes:
        return replace(settings, to_choose=frozenset()), ()
    lines = remarks_on_sizes(sizes)
    if "resolution" in settings.to_choose:
        settings = with_fitting_budget(settings, sizes)
        if not is_small(*typical(sizes)):
            chosen = _choose(workspace, sources, names, settings, sizes, progress)
            settings = replace(chosen.settings, resolution=chosen.describe())
            lines = (f"resolution chosen: {settings.resolution}", *lines)
    elif settings.extractor.scale is not None:
        if "tile" in settings.to_choose:
            settings = replace(settings, extractor=with_fitting_tile(settings.extractor, sizes))
        else:
            lines = (*remarks_on_tile(settings.extractor, sizes), *lines)
        settings = with_fitting_ratio(settings, sizes)
    return replace(settings, to_choose=frozenset()), lines


@dataclass(frozen=True)
class _Chosen:
    """Settings, what they cost and what they show."""

    settings: FitSettings
    milliseconds: float
    smallest_defect: int | None
    visible: float

    def describe(self) -> str:
        extractor = self.settings.extractor
        if self.smallest_defect is None:
            seen = f"of synthetic dots and scratches of {_DEFECT_SIZES[0]} to {_DEFECT_SIZES[-1]} "
            seen += f"pixels, {100 * self.visible:.0f} % are visible"
        else:
            seen = f"synthetic dots and scratches from {self.smallest_defect} pixels on are visible"
        if math.isnan(self.visible):
            seen = f"too few images to try what is visible ({_FEWEST_TRIAL_IMAGES} are needed)"
        budget = self.settings.budget_ms
        cost = f"about {self.milliseconds:.0f} ms an image"
        over = "" if self.milliseconds <= budget else ", the least that is possible"
        return (
            f"{extractor.input_in_words()}, "
            f"{' and '.join(extractor.layers)}, {100 * self.settings.coreset_ratio:.2g} % of the "
            f"patches: {seen}; {cost} (budget {budget:g} ms{over})"
        )


def _choose(
    workspace: Workspace,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    settings: FitSettings,
    sizes: Sizes,
    progress: Progress,
) -> _Chosen:
    """Try the layers that are worth it, the default ones first."""
    candidates = layers_to_try(settings)
    pictures = crops_of(sources, names, settings, workspace.limits)
    best: _Chosen | None = None
    for number, candidate in enumerate(candidates):
        progress("resolution", number, len(candidates))
        if best is None:
            best = _try(workspace, settings, candidate, sizes, pictures)
        elif clearly_more(1, best.visible):
            other = _try(workspace, settings, candidate, sizes, pictures)
            best = other if clearly_more(other.visible, best.visible) else best
    progress("resolution", len(candidates), len(candidates))
    assert best is not None
    extractor = replace(best.settings.extractor, precision=settings.extractor.precision)
    return replace(best, settings=replace(best.settings, extractor=extractor))


def clearly_more(other: float, visible: float) -> bool:
    """Return whether a share of visible defects is so much larger than another; False for NaN."""
    return other > max(_CLEARLY_MORE * visible, visible + _LEAST_MORE)


def layers_to_try(settings: FitSettings) -> list[tuple[str, ...]]:
    """Return the layers as given; else the default ones, the shallowest, and it with a finer one.

    The finer one is the deepest of those with more positions.
    """
    layers = settings.extractor.layers
    if "layers" not in settings.to_choose:
        return [layers]
    backbone = get_backbone(settings.extractor.backbone)
    stride = backbone.layer(layers[0]).stride
    finer = [layer.name for layer in backbone.layers if layer.stride < stride]
    found = [layers, layers[:1], *((name, layers[0]) for name in finer[-1:])]
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Cost:
    """What inspections with some layers cost on this machine.

    Attributes
    ----------
    per_pixel
        Milliseconds per pixel of a tile.
    per_search
        Milliseconds per patch and power of the bank's rows.
    """

    per_pixel: float
    per_search: float

    def milliseconds(self, settings: FitSettings, sizes: Sizes) -> float:
        """Return about how long an image takes with a bank of images of these sizes."""
        patches = settings.extractor.patches_of(*typical(sizes))
        bank = settings.coreset_ratio * sizes.total() * patches
        search: float = self.per_search * patches * bank**_SEARCH_EXPONENT
        return self.per_pixel * work_of(settings.extractor, sizes) + search


def trial_extractor(extractor: ExtractorSettings, layers: tuple[str, ...]) -> ExtractorSettings:
    """Return settings with which pieces of images are seen at scale 1."""
    # A graph in int8 is made of the images at the resolution that is looked for here.
    precision = "f32" if extractor.is_quantised else extractor.precision
    coarse = replace(extractor, layers=layers).tiling.coarse
    return replace(
        extractor,
        layers=layers,
        scale=1.0,
        image_size=_TRIAL_SIDE - _TRIAL_SIDE % coarse,
        overlap=None,
        precision=precision,
    )


def at_scales(settings: FitSettings, sizes: Sizes, largest: float = 1.0) -> list[FitSettings]:
    """Return settings for images of these sizes at each scale that makes sense, largest first.

    The share of patches kept is chosen too if it was left to a fit.
    """
    longer = max(typical(sizes))
    scales = [scale for scale in _SCALES if scale <= largest and scale * longer >= SQUARE] or [1.0]
    options = []
    for scale in scales:
        extractor = with_fitting_tile(replace(settings.extractor, scale=scale), sizes)
        options.append(with_fitting_ratio(replace(settings, extractor=extractor), sizes))
    return options


def with_fitting_ratio(settings: FitSettings, sizes: Sizes) -> FitSettings:
    """Return settings with the share of patches kept of images of these sizes, unless given."""
    if "coreset_ratio" not in settings.to_choose:
        return settings
    patches = max(1, settings.extractor.patches_of(*typical(sizes)))
    ratio = min(settings.coreset_ratio, _MOST_ROWS / (sizes.total() * patches))
    return replace(settings, coreset_ratio=ratio)


def with_fitting_budget(settings: FitSettings, sizes: Sizes) -> FitSettings:
    """Return settings with the time that images of these sizes may take, unless given."""
    if "budget_ms" not in settings.to_choose:
        return settings
    width, height = typical(sizes)
    enough = round(DEFAULT_BUDGET_MS_PER_MEGAPIXEL * width * height / 1e6)
    return replace(settings, budget_ms=max(settings.budget_ms, enough))


def _try(
    workspace: Workspace,
    settings: FitSettings,
    layers: tuple[str, ...],
    sizes: Sizes,
    pictures: Sequence[Pixels],
) -> _Chosen:
    """Return settings of the largest scale within the budget, and what a trial finds with them."""
    settings = replace(settings, extractor=trial_extractor(settings.extractor, layers))
    cost = cost_of(workspace, settings.extractor, pictures)
    options = [(option, cost.milliseconds(option, sizes)) for option in at_scales(settings, sizes)]
    chosen, milliseconds = next(
        (option for option in options if option[1] <= settings.budget_ms), options[-1]
    )
    visible, smallest = _trial(workspace, chosen, pictures)
    return _Chosen(chosen, milliseconds, smallest, visible)


def cost_of(workspace: Workspace, extractor: ExtractorSettings, pictures: Sequence[Pixels]) -> Cost:
    """Measure what an inspection costs, with pieces of images and a `trial_extractor`."""
    picture, *others = pictures[: _COST_IMAGES + 1]
    # Pieces have no regions to ignore: they are drawn from what is inspected.
    with workspace.temporary_extractor(replace(extractor, regions=None)) as network:

        def rows_of(picture: Pixels) -> NDArray[np.float32]:
            found = network.extract([picture]).patches
            return np.ascontiguousarray(found.reshape(-1, network.dimension))

        rows = rows_of(picture)
        cores = workspace.settings.threads or usable_cores()
        extract_ms = _milliseconds(lambda: network.extract([picture]), cores)
        # As in a bank: rows that are not alike, of other images.
        bank = np.concatenate([rows_of(other) for other in others or [picture]])
        bank = bank[greedy_k_center(bank, min(len(bank), _COST_ROWS)).indices]
    index = NeighbourIndex(bank)
    search_ms = _milliseconds(lambda: index.nearest(rows), cores)
    size = Counter([(picture.shape[1], picture.shape[0])])
    return Cost(
        extract_ms / work_of(extractor, size),
        search_ms / (len(rows) * len(bank) ** _SEARCH_EXPONENT),
    )


def _milliseconds(work: Callable[[], object], cores: int) -> float:
    """Return how long work takes where no other program is at work, on all cores.

    That is processor time: by the clock, a busy machine would be given a bank that sees less.
    """
    seconds = []
    for _ in range(4):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return 1e3 * min(seconds) / cores


def _trial(
    workspace: Workspace,
    settings: FitSettings,
    pictures: Sequence[Pixels],
) -> tuple[float, int | None]:
    """Return the share of small defects that are visible, and from which size on most are.

    The share is NaN where there are too few images.
    """
    if len(pictures) < _FEWEST_TRIAL_IMAGES:
        return math.nan, None
    extractor = settings.extractor
    judged = pictures[: len(pictures) // _JUDGED_SHARE]
    random = np.random.default_rng(settings.seed)
    tile = max(picture.shape[0] for picture in pictures) * (extractor.scale or 1.0)
    coarse = extractor.tiling.coarse
    one_tile = replace(
        extractor,
        image_size=coarse * math.ceil(max(SMALLEST_TILE, tile) / coarse),
        overlap=None,
        regions=None,
    )
    with workspace.temporary_extractor(one_tile) as network:

        def patches_of(picture: Pixels) -> NDArray[np.float32]:
            found: NDArray[np.float32] = network.extract([picture]).patches[0]
            return found

        learned = np.concatenate(
            [
                patches_of(picture).reshape(-1, network.dimension)
                for picture in pictures[len(judged) :]
            ]
        )
        coreset = greedy_k_center(learned, min(len(learned), _TRIAL_ROWS), seed=settings.seed)
        index = NeighbourIndex(np.ascontiguousarray(learned[coreset.indices]))

        def score(picture: Pixels) -> float:
            patches = patches_of(picture)
            found = index.nearest(patches.reshape(-1, network.dimension)).distances[:, 0]
            return image_score(found.reshape(patches.shape[:2]), "top8")

        good = np.array([score(picture) for picture in judged])
        defective = np.array(
            [
                [score(small_defect(picture, random, size).pixels) for picture in judged]
                for size in _DEFECT_SIZES
            ]
        )
    # Compared with itself: with few images learned, pieces differ more than they will.
    visible = defective > _RAISED * good
    hidden = np.flatnonzero(visible.mean(axis=1) < _MOST)
    first = int(hidden[-1]) + 1 if len(hidden) else 0
    return float(visible.mean()), _DEFECT_SIZES[first] if first < len(_DEFECT_SIZES) else None


def crops_of(
    sources: Sequence[ImageSource],
    names: Sequence[str],
    settings: FitSettings,
    limits: ImageLimits,
) -> list[Pixels]:
    """Return pieces of some references, of what is inspected, drawn with the seed; at least one."""
    random = np.random.default_rng([settings.seed, 2])
    pictures: list[Pixels] = []
    for number in random.permutation(len(sources)).tolist():
        if len(pictures) == _TRIAL_IMAGES:
            break
        try:
            pixels = decode(
                sources[number],
                limits=limits,
                name=names[number],
                bit_depth=settings.extractor.bit_depth,
            ).pixels
        except ImageError:
            continue  # it is refused when it is to be learned
        regions = settings.extractor.regions
        if regions is not None:
            try:
                pixels = pixels[largest_inspected(regions, pixels.shape[1], pixels.shape[0])]
            except ParameterError:
                continue  # it is refused then, too
        top, left = (random.integers(max(1, side - _TRIAL_SIDE + 1)) for side in pixels.shape[:2])
        piece = pixels[top : top + _TRIAL_SIDE, left : left + _TRIAL_SIDE]
        pictures.append(np.ascontiguousarray(piece))
    return pictures or [np.zeros((SQUARE, SQUARE, 3), np.uint8)]
