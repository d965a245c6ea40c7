"""The coreset: ours against the textbook loop in NumPy and, as Anomalib does it, in PyTorch.

The loops are not run to their end, which takes minutes: the time of some of their equal steps is
multiplied by the number of choices, and marked as extrapolated.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.real_features import WIDE, patch_features, reference_paths
from benchmarks.timing import load, sgemm_peak
from patchbank.memory.coreset import Coreset, greedy_k_center

RUNS = 5
# Steps of each loop, timed in each run beside ours.
STEPS = 12

Floats = npt.NDArray[np.float32]


def main() -> dict[str, Any]:
    """Measure both sizes and compare the choices with those of the textbook loop in float64."""
    peak = sgemm_peak()
    print(f"float32 matrix product (2,048 rows and columns, NumPy): {peak:.0f} GFLOP/s, {load()}")
    document: dict[str, Any] = {"sgemm GFLOP/s": round(peak)}
    patches = patch_features(reference_paths("mono", 200)).reshape(-1, 152)
    document["choices"] = [
        _compare_choices(patches[np.sort(rows)], count)
        for rows, count in (
            (np.random.default_rng(0).permutation(len(patches))[:3_000], 3_000),
            (np.random.default_rng(1).permutation(len(patches))[:20_000], 2_000),
        )
    ]
    document["d = 152"] = _measure("default features", patches, 15_680, RUNS, peak)
    del patches
    patches = patch_features(reference_paths("mono", 128), wide=True)
    patches = patches.reshape(-1, patches.shape[-1])[:100_000]
    document["d = 1536"] = _measure(WIDE, patches, 10_000, RUNS, peak)
    return document


def _measure(what: str, patches: Floats, count: int, runs: int, peak: float) -> dict[str, Any]:
    n, dimensions = patches.shape
    print(f"{n:,} x {dimensions} -> {count:,} ({what})")
    loops: dict[str, Callable[[], float]] = {"numpy": _numpy_steps(patches)}
    torch_steps = _torch_steps(patches)
    if torch_steps is not None:
        loops["torch, projected"] = torch_steps
    wall: list[float] = []
    processor: list[float] = []
    steps: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(runs):
        start, start_processor = time.perf_counter(), time.process_time()
        greedy_k_center(patches, count)
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
        for name, loop in loops.items():
            steps[name].append(loop())
    seconds = statistics.median(wall)
    rate = 2 * n * dimensions * count / seconds / 1e9
    document: dict[str, Any] = {
        "features": what,
        "rows": n,
        "dimensions": dimensions,
        "choices": count,
        "seconds": round(seconds, 2),
        "seconds, least and most": [round(min(wall), 2), round(max(wall), 2)],
        "processor seconds": round(statistics.median(processor), 2),
        "GFLOP/s as if all pairs were multiplied": round(rate),
        "of sgemm, %": round(100 * rate / peak),
    }
    print(
        f"  patchbank: {seconds:.2f} s ({min(wall):.2f} to {max(wall):.2f}), processor"
        f" {statistics.median(processor):.2f} s; as if all pairs were multiplied:"
        f" {rate:.0f} GFLOP/s, {100 * rate / peak:.0f} % of the matrix product"
    )
    for name, each in steps.items():
        ratios = [step * count / ours for step, ours in zip(each, wall, strict=True)]
        extrapolated = statistics.median(each) * count
        document[f"{name}, extrapolated"] = {
            "seconds": round(extrapolated, 1),
            "times as long": round(statistics.median(ratios), 1),
            "times as long, least and most": [round(min(ratios), 1), round(max(ratios), 1)],
        }
        print(
            f"  {name}: {extrapolated:.0f} s extrapolated from {runs} times {STEPS} choices;"
            f" {statistics.median(ratios):.0f} ({min(ratios):.0f} to {max(ratios):.0f}) times"
        )
    print(f"  {load()}")
    return document


def _compare_choices(patches: Floats, count: int) -> dict[str, Any]:
    result = greedy_k_center(patches, count)
    same = _textbook_agrees(patches, result)
    print(f"{len(patches):,} real patches -> {count:,}: {same:,} choices as in the float64 loop")
    if same != len(result):
        raise AssertionError(f"choice {same} of {len(result)} differs from the textbook loop's")
    return {"rows": len(patches), "choices": count, "as in the float64 loop": same}


def _textbook_agrees(patches: Floats, result: Coreset) -> int:
    """Return how many choices are those of the textbook loop, direct differences in float64."""
    wide = patches.astype(np.float64)
    squared = np.full(len(wide), np.inf)
    choice = int(result.indices[0])
    for number, ours in enumerate(result.indices):
        if choice != ours:
            return number
        difference = wide - wide[choice]
        np.minimum(squared, np.einsum("ij,ij->i", difference, difference), out=squared)
        choice = int(squared.argmax())
    return len(result)


def _numpy_steps(patches: Floats) -> Callable[[], float]:
    """Return a function that runs some steps of the loop and gives the seconds of one.

    In float32 by the expansion, whose norms are made beforehand: the quickest NumPy has.
    """
    norms = np.square(patches).sum(axis=1)
    least = np.full(len(patches), np.inf, np.float32)
    choice = [0]

    def run() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            squared = patches @ patches[choice[0]]
            squared *= -2
            squared += norms
            squared += norms[choice[0]]
            np.minimum(least, squared, out=least)
            choice[0] = int(least.argmax())
        return (time.perf_counter() - start) / STEPS

    return run


def _torch_steps(patches: Floats) -> Callable[[], float] | None:
    """Return the same for Anomalib's loop: PyTorch, on a sparse random projection.

    Anomalib 2 projects on as many dimensions as the Johnson-Lindenstrauss lemma asks for with a
    distortion of 0.9, takes the differences to each choice and keeps the least distances.
    """
    try:
        import torch
    except ModuleNotFoundError:
        print("  torch cannot be imported (make parity installs it): measured without it")
        return None
    from sklearn.exceptions import DataDimensionalityWarning
    from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

    components = int(johnson_lindenstrauss_min_dim(len(patches), eps=0.9))
    projection = SparseRandomProjection(n_components=components, random_state=0, dense_output=True)
    with warnings.catch_warnings():
        # For few dimensions that is more of them than there were.
        warnings.simplefilter("ignore", DataDimensionalityWarning)
        projection.fit(patches[:2])
    projected = torch.from_numpy((projection.components_ @ patches.T).T.astype(np.float32))
    projected = projected.contiguous()
    least = torch.full((len(patches),), torch.inf)
    choice = [0]

    def run() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            centre = projected[choice[0]].reshape(1, -1)
            distance = torch.nn.functional.pairwise_distance(projected, centre, p=2)
            torch.minimum(least, distance, out=least)
            choice[0] = int(least.argmax().item())
        return (time.perf_counter() - start) / STEPS

    return run
