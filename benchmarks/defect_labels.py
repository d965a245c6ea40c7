"""How often "probably crack" is right, how often it is said, and of kinds that are not in the book.

Five materials with five kinds of defect each, drawn as `make-surfaces` draws them, 32 of a kind.
Books are drawn at random, ten times for each row; all other defects that fail are looked up.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import ROOT
from patchbank.datasets.surfaces.drawing import draw
from patchbank.datasets.surfaces.making import CATEGORIES
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.defect_book import DefectBook

REFERENCES, EACH, DRAWS = 100, 32, 10
#: Defects of a kind, and kinds, in the book.
BOOKS = ((4, 5), (8, 5), (16, 5), (8, 4), (16, 4), (24, 4), (8, 1), (16, 1))
SIDE = 256


def main() -> dict[str, Any]:
    """Return the figures, and print them as a table in Markdown."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home, Workspace(home=Path(home)) as workspace:
        sets = [_fails(workspace, number) for number in range(len(CATEGORIES))]
    for each, kinds in BOOKS:
        figures[f"{each} of each of {kinds} kinds"] = counts = _measured(sets, each, kinds)
        print(f"| {each} | {kinds} | " + " | ".join(counts.values()) + " |", flush=True)
    return figures


Fails = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def _fails(workspace: Workspace, number: int) -> Fails:
    """Return the kinds and the embeddings of the defects of a material that fail."""
    material, kinds = list(CATEGORIES.items())[number]
    kept = ROOT / "build" / "bench" / f"defect-labels-{material}.npz"
    if kept.exists():
        stored = np.load(kept)
        return stored["kinds"], stored["embeddings"]
    references = [
        draw(material, None, (0, number, 0, key), SIDE).image for key in range(REFERENCES)
    ]
    bank = learn(workspace, references, make_fit_settings(image_size=224))
    judge = Judge(bank.features, bank.settings, bank.calibration)
    extractor = workspace.extractor(bank.settings.extractor)
    found: list[str] = []
    embeddings = []
    for part, kind in enumerate(kinds, start=2):
        for key in range(EACH):
            image = draw(material, kind, (7, number, part, key), SIDE).image
            judgement = judge(extractor.extract_one(image).patches, SIDE, SIDE)
            if judgement.region_embedding is not None:
                found.append(kind)
                embeddings.append(judgement.region_embedding)
    kept.parent.mkdir(parents=True, exist_ok=True)
    result = np.array(found), np.stack(embeddings)
    np.savez(kept, kinds=result[0], embeddings=result[1])
    return result


def _measured(sets: list[Fails], each: int, kinds: int) -> dict[str, str]:
    random, counts = np.random.default_rng(0), Counter[str]()
    for of_kind, embeddings in sets:
        for _ in range(DRAWS):
            chosen = random.permutation(np.unique(of_kind))[:kinds]
            members = np.concatenate(
                [random.permutation(np.flatnonzero(of_kind == kind))[:each] for kind in chosen]
            )
            book = DefectBook(
                embeddings[members], np.arange(len(members)), [str(k) for k in of_kind[members]]
            )
            nothing = np.zeros(len(members), np.bool_)
            for asked in np.setdiff1d(np.arange(len(of_kind)), members):
                similarities = book.similarities(embeddings[asked])
                probable = book.probable(similarities, without=nothing)
                known = "known" if of_kind[asked] in chosen else "unknown"
                counts[known] += 1
                counts[f"{known} nearest right"] += (
                    of_kind[members][similarities.argmax()] == of_kind[asked]
                )
                if probable is not None:
                    counts[f"{known} named"] += 1
                    counts[f"{known} right"] += probable.label == of_kind[asked]
    return {
        "right when it names": _share(counts["known right"], counts["known named"]),
        "named, of known kinds": _share(counts["known named"], counts["known"]),
        "named, of other kinds": _share(counts["unknown named"], counts["unknown"]),
        "nearest defect is of the kind": _share(counts["known nearest right"], counts["known"]),
    }


def _share(part: int, whole: int) -> str:
    return "-" if not whole else f"{100 * part / whole:.1f} %"
