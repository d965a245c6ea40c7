"""The patch features of a bank's references: as kept, or read again from the images' files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from patchbank.inspection.sources import file_at
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent
from patchbank.store.reference_features import can_be_kept, kept_bytes
from patchbank.store.stored_bank import StoredBank
from patchbank.vision.extraction import Refusal
from patchbank.vision.extractor import Extractor

Floats = NDArray[np.float32]

# What rounding to half precision may move a component by, as a share of it.
_ROUNDING = 2.0**-11


def features_of(
    workspace: Workspace,
    stored: StoredBank,
    extractor: Extractor,
    slots: NDArray[np.int64],
    *,
    progress: Progress = silent,
) -> dict[int, Floats]:
    """Return the patch features of references, float32 (n, d), by their index in the bank.

    Features that were not kept, as by an older patchbank or a streamed fit, are computed again from
    the images' files and kept now. References are missing whose features are too large to be kept,
    and whose file is gone or has another content.
    """
    dimension = stored.content.features.shape[1]
    slot_of = dict(zip(stored.positions[slots].tolist(), slots.tolist(), strict=True))
    kept = workspace.database.features.read(stored.key, stored.positions[slots], dimension)
    found = {slot_of[position]: rows for position, rows in kept}
    images, settings = stored.content.images, extractor.settings
    missing = [
        slot
        for slot in slots.tolist()
        if slot not in found
        and kept_bytes(settings.patches_of(images[slot].width, images[slot].height), dimension)
    ]
    fresh = {
        slot: rows
        for slot, rows in features_of_files(extractor, workspace, stored, missing, progress)
        if can_be_kept(rows)
    }
    if fresh:
        positions = ((int(stored.positions[slot]), rows) for slot, rows in fresh.items())
        workspace.database.features.add(stored.key, positions)
    return found | fresh


def features_of_files(
    extractor: Extractor,
    workspace: Workspace,
    stored: StoredBank,
    slots: Sequence[int],
    progress: Progress = silent,
) -> Iterator[tuple[int, Floats]]:
    """Yield the patch features of references whose files are still there, unchanged."""
    images = stored.content.images
    there = []
    for slot in slots:
        origin = images[slot].origin
        if origin is not None and (path := file_at(origin)).is_file():
            there.append((slot, path))
    if not there:
        return
    stream = extractor.extract_many(
        [path for _, path in there],
        names=[images[slot].name for slot, _ in there],
        limits=workspace.limits,
        stage="references",
        progress=progress,
    )
    with closing(stream):
        for (slot, _), result in zip(there, stream, strict=True):
            if not isinstance(result, Refusal) and result.image.sha256 == images[slot].sha256:
                yield slot, result.inspected_patches


def inexactness(rows: Floats) -> Floats:
    """Return how far features kept in half precision may be from the real ones, float32 (n,)."""
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    return np.asarray(_ROUNDING * lengths, np.float32)
