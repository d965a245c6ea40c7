"""Exact nearest neighbours of one image's patches: ours, NumPy brute force, faiss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.real_features import WIDE, judged_paths, patch_features, reference_paths
from benchmarks.timing import load, paired
from patchbank.datasets.demo import CellKind
from patchbank.memory.coreset import greedy_k_center
from patchbank.memory.neighbours import NeighbourIndex

BANK_ROWS = 15_680
RUNS = 7
Floats = npt.NDArray[np.float32]


def main() -> dict[str, Any]:
    """Measure with the default features of both kinds of cells and with wide ones."""
    document: dict[str, Any] = {}
    kinds: tuple[CellKind, CellKind] = ("mono", "poly")
    for kind in kinds:
        name = f"{kind}, d = 152"
        bank = _bank(patch_features(reference_paths(kind, 200)))
        document[name] = _measure(name, "default features", kind, bank, wide=False)
    name = "mono, d = 1536"
    bank = _bank(patch_features(reference_paths("mono", 100), wide=True))
    document[name] = _measure(name, WIDE, "mono", bank, wide=True)
    return document


def _bank(features: Floats) -> Floats:
    patches = features.reshape(-1, features.shape[-1])
    return np.ascontiguousarray(patches[greedy_k_center(patches, BANK_ROWS).indices])


def _measure(name: str, what: str, kind: CellKind, bank: Floats, *, wide: bool) -> dict[str, Any]:
    index = NeighbourIndex(bank)
    others = {"numpy": _numpy_search(bank), **_faiss_searches(bank)}
    print(f"{name} ({what}): 784 queries in {len(bank):,} rows, {RUNS} paired runs an image")
    images: list[dict[str, Any]] = []
    for label in ("good", "anomalous"):
        for queries in patch_features(judged_paths(kind, label, 1 if wide else 2), wide=wide):
            found = index.nearest(queries)
            exact = _float64_distances(bank, queries)
            worst = float(np.max(np.abs(found.distances[:, 0] - exact) / exact))
            if worst > 1e-4:
                raise AssertionError(f"{name}: a distance is wrong by {worst:.1e} of itself")
            contenders: dict[str, Callable[[], object]] = {
                "patchbank": partial(index.nearest, queries),
                **{other: partial(search, queries) for other, search in others.items()},
            }
            runs = paired(contenders, RUNS)
            percent = 100 * found.computed / (len(queries) * len(bank))
            images.append(
                {
                    "label": label,
                    "pairs computed in full, %": round(percent, 3),
                    "largest relative error": worst,
                    "times": {contender: runs.figures(contender) for contender in contenders},
                    "times as long as patchbank": {
                        reference: runs.ratio(reference, "patchbank") for reference in others
                    },
                }
            )
            _print_image(images[-1])
    print(f"  {load()}")
    return {"features": what, "bank": list(bank.shape), "images": images}


def _print_image(image: dict[str, Any]) -> None:
    print(f"  {image['label']}: {image['pairs computed in full, %']} % of the pairs in full")
    for name, times in image["times"].items():
        ratio = image["times as long as patchbank"].get(name)
        spread = f"{ratio['median']} ({ratio['least']} to {ratio['most']}) times" if ratio else ""
        print(
            f"    {name:<16} {times['wall_ms']:8.2f} ms"
            f" ({times['wall_ms_least']:.2f} to {times['wall_ms_most']:.2f}),"
            f" processor {times['processor_ms']:.2f} ms  {spread}"
        )


def _numpy_search(bank: Floats) -> Callable[[Floats], object]:
    """Return brute force by one float32 product for all pairs, its norms made beforehand."""
    norms = np.square(bank).sum(axis=1)

    def search(queries: Floats) -> object:
        squared = queries @ bank.T
        squared *= -2
        squared += norms
        nearest = squared.argmin(axis=1)
        least = np.take_along_axis(squared, nearest[:, None], axis=1)[:, 0]
        return np.sqrt(np.maximum(least + np.square(queries).sum(axis=1), 0)), nearest

    return search


def _faiss_searches(bank: Floats) -> dict[str, Callable[[Floats], object]]:
    try:
        import faiss
    except ModuleNotFoundError:
        print("faiss is not installed (dependency group bench): measured without it")
        return {}
    # From how many queries on faiss multiplies matrices. Its 1.15 would not for 784 of 152
    # dimensions, and take three times as long.
    faiss.cvar.distance_compute_blas_threshold = 20
    flat = faiss.IndexFlatL2(bank.shape[1])
    flat.add(bank)
    searches: dict[str, Callable[[Floats], object]] = {"faiss flat": partial(flat.search, k=1)}
    try:
        panorama = faiss.index_factory(bank.shape[1], "FlatL2Panorama8")
    except RuntimeError:
        print(f"this build of faiss {faiss.__version__} has no FlatL2Panorama8")
    else:
        panorama.add(bank)
        searches["faiss Panorama"] = partial(panorama.search, k=1)
    return searches


def _float64_distances(bank: Floats, queries: Floats) -> npt.NDArray[np.float64]:
    """Return the least distances by direct difference in float64.

    By the expansion first, in float64 too, of which some rows are within its rounding.
    """
    wide = bank.astype(np.float64)
    norms = np.square(wide).sum(axis=1)
    result = np.empty(len(queries))
    for number, query in enumerate(queries.astype(np.float64)):
        squared = norms - 2 * (wide @ query)
        near = np.flatnonzero(squared <= squared.min() + 1e-9 * (norms.max() + query @ query))
        result[number] = np.sqrt(np.square(wide[near] - query).sum(axis=1).min())
    return result
