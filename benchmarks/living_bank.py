"""Banks that grow image by image, and lose images, against fits of the same images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.place import temporary_place
from benchmarks.real_features import Floats, patch_features
from benchmarks.timing import load, spread
from patchbank.datasets.demo import CellKind, demo_split
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.living.add import add
from patchbank.inspection.living.withdraw import withdraw
from patchbank.inspection.settings import DEFAULT_CORESET_RATIO, FitSettings
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from patchbank.memory.coreset import Cover, coreset_size, greedy_k_center
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.scoring import image_scores

KINDS: tuple[CellKind, ...] = ("mono", "poly")
FIRST, ALL, JUDGED = 50, 200, 250
FRACTIONS = (1.0, 0.9)
WITHDRAWN, AT_ONCE = 40, 10
MANY, CHANGES = (200, 1000), 5


def main() -> dict[str, Any]:
    """Measure growth and withdrawal on both kinds of cells, and single changes of large banks."""
    print(load())
    return {
        "fractions": {kind: fractions(kind) for kind in KINDS},
        "growth": {kind: growth(kind) for kind in KINDS},
        "withdrawal": {kind: withdrawal(kind) for kind in KINDS},
        "single changes": {str(count): single_changes(count) for count in MANY},
    }


def growth(kind: CellKind) -> dict[str, Any]:
    """Fit the first images and add the others one by one, against a fit of all."""
    references, good, bad = _images(kind)
    with temporary_place() as place:
        workspace = place.workspace
        fit(workspace, "living", references[:FIRST], FitSettings())
        start = _figures(workspace, "living", good, bad)
        seconds, patches = [], []
        for path in references[FIRST:]:
            begun = time.perf_counter()
            # All are good, also those that fail by a bank of few images.
            report = add(workspace, "living", [path], force=True)
            seconds.append(time.perf_counter() - begun)
            patches += [image.patches for image in report.added]
            print(f"  {kind}: {len(patches)} added, {seconds[-1]:.2f} s", flush=True)
        fit(workspace, "fresh", references, FitSettings())
        living, fresh = (_figures(workspace, name, good, bad) for name in ("living", "fresh"))
    for figures in (start, living, fresh):
        del figures["scores"]
    return {
        "start": start,
        "living": living,
        "fresh": fresh,
        "AUROC, living minus fresh": round(living["AUROC"] - fresh["AUROC"], 4),
        "patches of an added image": spread(patches, 0),
        "seconds of an addition": spread(seconds),
    }


def fractions(kind: CellKind, seeds: int = 2) -> dict[str, Any]:
    """Grow banks in memory with other shares of the covering radius, from other first images.

    What `add` does with the patches, without the rest.
    """
    references, good, bad = _images(kind)
    learned, judged = patch_features(references), patch_features([*good, *bad])
    labels = [0] * len(good) + [1] * len(bad)

    def accuracy(bank: Floats) -> float:
        queries = judged.reshape(-1, judged.shape[-1])
        distances = NeighbourIndex(bank).nearest(queries).distances.reshape(len(labels), 28, 28)
        return round(float(roc_auc_score(labels, image_scores(distances, "top8"))), 4)

    def coreset(patches: Floats) -> tuple[Floats, float]:
        chosen = greedy_k_center(patches, coreset_size(len(patches), DEFAULT_CORESET_RATIO))
        return patches[chosen.indices], chosen.covering_radius

    found: dict[str, Any] = {}
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(references))
        first, radius = coreset(learned[order[:FIRST]].reshape(-1, learned.shape[-1]))
        fresh, _ = coreset(learned.reshape(-1, learned.shape[-1]))
        figures = {
            "start": [accuracy(first), len(first)],
            "fresh": [accuracy(fresh), len(fresh)],
        }
        for fraction in FRACTIONS:
            bank = first
            for number in order[FIRST:]:
                patches = np.ascontiguousarray(learned[number])
                squared = NeighbourIndex(bank).nearest(patches).distances[:, 0].astype(float) ** 2
                far = np.flatnonzero(squared > (fraction * radius) ** 2)
                chosen = Cover(patches)(far, squared[far], (fraction * radius) ** 2)
                bank = np.concatenate([bank, patches[chosen]])
            figures[str(fraction)] = [accuracy(bank), len(bank)]
            print(f"  {kind}, {seed}: {fraction}: {figures[str(fraction)]}", flush=True)
        found[str(seed)] = figures
    return found


def withdrawal(kind: CellKind) -> dict[str, Any]:
    """Withdraw random images of a bank, against a fit without them."""
    references, good, bad = _images(kind)
    gone = np.random.default_rng(0).permutation(len(references))[:WITHDRAWN]
    stay = [path for number, path in enumerate(references) if number not in set(gone.tolist())]
    with temporary_place() as place:
        workspace = place.workspace
        fit(workspace, "living", references, FitSettings())
        start = _figures(workspace, "living", good, bad)
        removed = restored = 0
        seconds = []
        for first in range(0, WITHDRAWN, AT_ONCE):
            names = [references[number].as_posix() for number in gone[first : first + AT_ONCE]]
            begun = time.perf_counter()
            report = withdraw(workspace, "living", names)
            seconds.append(time.perf_counter() - begun)
            removed, restored = removed + report.removed_patches, restored + report.restored_patches
            print(f"  {kind}: {first + AT_ONCE} withdrawn, {seconds[-1]:.2f} s", flush=True)
        fit(workspace, "fresh", stay, FitSettings())
        living, fresh = (_figures(workspace, name, good, bad) for name in ("living", "fresh"))
    del start["scores"]
    ours, theirs = (np.array(figures.pop("scores")) for figures in (living, fresh))
    return {
        "start": start,
        "living": living,
        "fresh": fresh,
        "AUROC, living minus fresh": round(living["AUROC"] - fresh["AUROC"], 4),
        "scores, living over fresh": spread(ours / theirs, 3),
        "correlation of the scores": round(float(np.corrcoef(ours, theirs)[0, 1]), 4),
        "patches removed": removed,
        "patches restored": restored,
        f"seconds to withdraw {AT_ONCE} images": spread(seconds),
    }


def single_changes(count: int) -> dict[str, Any]:
    """Add single images to a bank of so many references, and withdraw one."""
    paths = [
        sample.path
        for kind in ("poly", "mono")
        for split in [demo_split(kind)]
        for sample in (*split.train, *split.test)
        if sample.label == "good"
    ]
    with temporary_place() as place:
        workspace = place.workspace
        report = fit(workspace, "large", paths[:count], FitSettings())
        print(f"  {count} references: fit {report.timings_s}; {load()}", flush=True)
        added, renewed = [], []
        for path in paths[count : count + CHANGES]:
            begun = time.perf_counter()
            done = add(workspace, "large", [path], force=True)
            added.append(time.perf_counter() - begun)
            renewed.append(done.renewed_scores)
        begun = time.perf_counter()
        withdraw(workspace, "large", [paths[0].as_posix()])
        withdrawn = time.perf_counter() - begun
        with workspace.database.connection() as connection:
            sizes = connection.execute(
                "select pg_total_relation_size('reference_features'), "
                "pg_total_relation_size('reference_neighbours')"
            ).fetchone()
    assert sizes is not None
    return {
        "fit, seconds": {name: round(value, 2) for name, value in report.timings_s.items()},
        "first addition, seconds": round(added[0], 2),
        "further additions, seconds": spread(added[1:]),
        "renewed scores": spread(renewed, 0),
        "withdrawal, seconds": round(withdrawn, 2),
        "patch features, megabytes": round(sizes[0] / 1e6, 1),
        "remembered neighbours, megabytes": round(sizes[1] / 1e6, 1),
    }


def _images(kind: CellKind) -> tuple[list[Path], list[Path], list[Path]]:
    """Return references, and good and anomalous images that are none."""
    split = demo_split(kind, reference=ALL)
    random = np.random.default_rng(0)
    good, bad = (
        [sample.path for sample in split.test if sample.label == label]
        for label in ("good", "anomalous")
    )
    return (
        [sample.path for sample in split.train],
        [good[number] for number in random.permutation(len(good))[:JUDGED]],
        [bad[number] for number in random.permutation(len(bad))[:JUDGED]],
    )


def _figures(
    workspace: Workspace, category: str, good: Sequence[Path], bad: Sequence[Path]
) -> dict[str, Any]:
    inspector = Inspector(workspace, category, record=False)
    found = list(inspector.inspect_many([*good, *bad], top=0))
    scores = [inspection.score for inspection in found if isinstance(inspection, Inspection)]
    assert len(scores) == len(good) + len(bad)
    content = workspace.database.banks.active(category, patches=False)
    limit = next(item for item in found if isinstance(item, Inspection)).thresholds.fail_above
    labels = [0] * len(good) + [1] * len(bad)
    return {
        "AUROC": round(float(roc_auc_score(labels, scores)), 4),
        "references": len(content.content.images),
        "bank_rows": content.patch_count,
        "limit": round(limit, 2),
        "false alarms, per cent": round(
            100 * float(np.mean(np.array(scores[: len(good)]) > limit)), 1
        ),
        "found, per cent": round(100 * float(np.mean(np.array(scores[len(good) :]) > limit)), 1),
        "scores": scores,
    }
