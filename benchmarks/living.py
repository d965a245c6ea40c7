"""Exact nearest neighbours in a bank whose rows come and go, against an index built of them."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.real_features import judged_paths, patch_features, reference_paths
from benchmarks.timing import load, paired
from patchbank.memory import living_index
from patchbank.memory.coreset import greedy_k_center
from patchbank.memory.living_index import LivingIndex
from patchbank.memory.neighbours import NeighbourIndex

BANK_ROWS, IMAGE_ROWS = 15_680, 78
# Images that come, and as many that go, until the next figures: 1 to 40 % of the bank.
IMAGES = (1, 10, 20, 40)
RUNS = 7
Floats = npt.NDArray[np.float32]


def main() -> dict[str, Any]:
    """Measure with the default features of cells and with wide ones."""
    # What a search costs in an index that should have been built anew is measured too.
    living_index._REBUILD_SHARE = 1.0
    document = {}
    for wide, count in ((False, 200), (True, 100)):
        patches = patch_features(reference_paths("mono", count), wide=wide).reshape(count * 784, -1)
        queries = patch_features(judged_paths("mono", "good", 1), wide=wide)[0]
        # The coreset's later choices stand for the rows of images that come.
        wanted = BANK_ROWS + IMAGE_ROWS * max(IMAGES)
        chosen = np.random.default_rng(0).permutation(greedy_k_center(patches, wanted).indices)
        rows = np.ascontiguousarray(patches[chosen])
        document[f"mono, d = {rows.shape[1]}"] = _measure(rows, queries)
    return document


def _measure(rows: Floats, queries: Floats) -> dict[str, Any]:
    start = time.perf_counter()
    index = LivingIndex(rows[:BANK_ROWS], room=True)
    built = time.perf_counter() - start
    print(f"{BANK_ROWS:,} x {rows.shape[1]}, built in {1e3 * built:.0f} ms; {load()}")
    random = np.random.default_rng(1)
    figures: list[dict[str, Any]] = []
    for images in (0, *IMAGES):
        seconds = []
        while index.next_slot < BANK_ROWS + images * IMAGE_ROWS:
            gone = random.choice(index.slots, IMAGE_ROWS, replace=False)
            start = time.perf_counter()
            added = rows[index.next_slot : index.next_slot + IMAGE_ROWS]
            index = index.with_changes(added, gone)
            seconds.append(time.perf_counter() - start)
        fresh = NeighbourIndex(index.rows(index.slots))
        expected, found = fresh.nearest(queries, 9), index.nearest(queries, 9)
        if not (
            (found.distances == expected.distances).all()
            and (found.indices == index.slots[expected.indices]).all()
        ):
            raise AssertionError(f"after {images} images the neighbours are others")
        runs = paired(
            {"living": partial(index.nearest, queries), "fresh": partial(fresh.nearest, queries)},
            RUNS,
        )
        figures.append(
            {
                "images that came, and as many that went": images,
                "milliseconds of a change": [round(1e3 * value, 2) for value in seconds],
                "times": {name: runs.figures(name) for name in ("living", "fresh")},
                "times as long as in a fresh index": runs.ratio("living", "fresh"),
            }
        )
        print(f"  {images} images: {figures[-1]}")
    return {"built_ms": round(1e3 * built, 1), "images": figures}
