"""How much memory a fit may take, and what of it is left for the images."""

from __future__ import annotations

import resource
from collections.abc import Sequence

import numpy as np
import psutil

from patchbank.control_groups import free_memory
from patchbank.errors import ParameterError
from patchbank.memory.budget import FitSize, Parts, largest_ratio, least_bytes, plan_parts
from patchbank.memory.budget import whole_bytes as bytes_in_memory
from patchbank.memory.coreset import greedy_k_center
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.settings import get_settings, parse_bytes
from patchbank.vision.decoded_image import ImageLimits, ImageSource
from patchbank.vision.extraction import Extraction
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import stored_size

# What the process takes is rounded up to this, so that a few bytes more or less do not move the
# border of a part: the same limit gives the same bank.
_STEP = 64_000_000
# A process with OpenVINO in it, and a small network.
_LEAST_TRIAL = 1_000_000_000


def checked_limit(limit: int | str | None) -> int | None:
    """Return a limit in bytes: the one given, else the setting's, else None.

    Raises
    ------
    ParameterError
        If it is no number of bytes above zero.
    """
    if limit is None:
        return get_settings().memory_limit
    if isinstance(limit, str):
        return parse_bytes(limit)
    if type(limit) is not int:
        raise ParameterError(
            f"memory limit {limit!r}: give bytes as a whole number, or such as '4GB'"
        )
    if limit < 1:
        raise ParameterError(f"memory limit {limit}: must be above 0; for example 4GB")
    return limit


def default_limit() -> int:
    """Return what this process takes and half of the memory that is free."""
    return resident_bytes() + free_bytes() // 2


def trial_limit() -> int:
    """Return the most that trying somebody else's network may take: the setting, or half of all."""
    return get_settings().memory_limit or max(_LEAST_TRIAL, free_bytes() // 2)


def resident_bytes() -> int:
    """Return the memory this process takes."""
    return int(psutil.Process().memory_info().rss)


def free_bytes() -> int:
    """Return the memory this process may still take: of the machine, its container, its limits."""
    free = int(psutil.virtual_memory().available)
    granted = free_memory()
    if granted is not None:
        free = min(free, granted)
    reserved = resource.getrlimit(resource.RLIMIT_AS)[0]
    if reserved != resource.RLIM_INFINITY:
        free = min(free, reserved - int(psutil.Process().memory_info().vms))
    return max(0, free)


def plan_fit(
    extractor: Extractor,
    sources: Sequence[ImageSource],
    most: int,
    ratio: float,
    limit: int | None,
    image_limits: ImageLimits,
) -> Parts | None:
    """Return the parts a fit of these images is cut into, or None if it fits into memory whole.

    Parameters
    ----------
    most
        The most patches that any of them has.
    limit
        Bytes this process may take, or None for `default_limit`.

    Raises
    ------
    ParameterError
        If there is no room even in parts; the message says what would do.
    """
    size = FitSize(len(sources), most, extractor.dimension, extractor.embedding_dimension, ratio)
    needed = bytes_in_memory(size)
    allowed = default_limit() if limit is None else limit
    # Four times what a process takes with its network: then there is nothing to find out.
    if needed + 4 * resident_bytes() <= allowed:
        return None
    _load_everything(extractor, sources, image_limits)
    taken = -(-resident_bytes() // _STEP) * _STEP
    room = allowed - taken
    if needed <= room:
        return None
    parts = plan_parts(size, room)
    if parts is None:
        raise ParameterError(_remedy(size, allowed, taken))
    return parts


def most_patches(
    settings: ExtractorSettings, sources: Sequence[ImageSource], limits: ImageLimits
) -> int:
    """Return the most patches that any of these images has."""
    sizes = {(1, 1)}
    if settings.preprocessing.is_tiled:
        found = (stored_size(source, limits=limits) for source in sources)
        sizes = {size for size in found if size is not None} or sizes
    grids = [settings.grid_of(*size) for size in sizes]
    return max(rows * columns for rows, columns in grids)


def _load_everything(
    extractor: Extractor, sources: Sequence[ImageSource], limits: ImageLimits
) -> None:
    """Do a little of all of the work, so that what the process takes includes what it loads.

    The first images stay in memory until the end of it, as they do while many are read.
    """
    few = sources[: 2 * int(extractor.describe()["threads"])]
    found = [
        item for item in extractor.extract_many(few, limits=limits) if isinstance(item, Extraction)
    ]
    if found:
        rows = np.ascontiguousarray(found[0].patches.reshape(-1, extractor.dimension)[:64])
        chosen = greedy_k_center(rows, 8).indices
        NeighbourIndex(rows[chosen], np.arange(len(chosen))).nearest_of_two_groups(rows)


def _remedy(size: FitSize, allowed: int, taken: int) -> str:
    # A step more, since the program does not take the same to the byte every time.
    enough = format_bytes(taken + _STEP + least_bytes(size), up=True)
    if allowed <= taken + least_bytes(FitSize(1, size.patches, size.dimension, 1, 1.0)):
        return (
            f"memory limit {format_bytes(allowed)}: patchbank and its network need "
            f"{format_bytes(taken)} before the first image; use --memory-limit {enough} or more"
        )
    smaller = largest_ratio(size, allowed - taken)
    ratio = "" if smaller is None else f", or --coreset-ratio {smaller:g} or less"
    return (
        f"memory limit {format_bytes(allowed)}: too little for a bank of {size.bank_rows:,} "
        f"patches of {size.dimension:,} dimensions; use --memory-limit {enough} or more{ratio}"
    )


def format_bytes(count: int, *, up: bool = False) -> str:
    """Return ``"1.2GB"`` or ``"800MB"``, as `--memory-limit` takes it; rounded, or rounded up."""
    units = {"GB": 1e9, "MB": 1e6, "KB": 1e3}
    name, unit = next((item for item in units.items() if count >= item[1]), ("B", 1.0))
    step = unit / 10 if name == "GB" else unit
    shown = (-(-count // step) if up else round(count / step)) * step / unit
    return f"{shown:.1f}".removesuffix(".0") + name
