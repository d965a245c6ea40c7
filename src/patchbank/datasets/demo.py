"""The demo set: electroluminescence images of real solar cells, from the package `elpv-dataset`.

Buerhop-Lutz et al., "A Benchmark for Visual Identification of Defective Solar Cells in
Electroluminescence Imagery", EU PVSEC 2018: 2,624 cells of 44 modules, each with the probability of
a defect (0, 1/3, 2/3 or 1) that experts gave it. Good means 0 here and defective 1.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from patchbank.datasets.new_folder import writing_set
from patchbank.datasets.samples import GOOD, CategorySamples, Sample
from patchbank.environment import install_command
from patchbank.errors import DatasetError, MissingExtraError, ParameterError
from patchbank.files import LARGEST_TEXT, read_regular
from patchbank.progress import Progress, silent

CellKind = Literal["mono", "poly"]

DEFECTIVE = "defective"
LICENCE = "CC BY-NC-SA 4.0"
LICENCE_URL = "https://creativecommons.org/licenses/by-nc-sa/4.0/"
SOURCE_URL = "https://github.com/zae-bayern/elpv-dataset"
CITATION = (
    "Buerhop-Lutz, C.; Deitsch, S.; Maier, A.; Gallwitz, F.; Berger, S.; Doll, B.; Hauch, J.; "
    "Camus, C. & Brabec, C. J. A Benchmark for Visual Identification of Defective Solar Cells in "
    "Electroluminescence Imagery. European PV Solar Energy Conference and Exhibition (EU PVSEC), "
    "2018. DOI: 10.4229/35thEUPVSEC20182018-5CV.3.15"
)

_CATEGORIES: dict[CellKind, str] = {"mono": "cell-mono", "poly": "cell-poly"}
# Part of the seed, so that the two kinds are shuffled independently.
_STREAMS: dict[CellKind, int] = {"mono": 0, "poly": 1}
_UNCERTAIN = {1: "probability-1-3", 2: "probability-2-3"}
_MARKER = "patchbank-demo.json"
_NOTE = f"""\
The images in this folder are those of the ELPV data set, renamed into folders and otherwise
unchanged, by `patchbank export-demo`. They are licensed under {LICENCE}
({LICENCE_URL}): non-commercial use, attribution, share alike.

Source: {SOURCE_URL}

If you use the images in scientific work, cite:

{CITATION}

Deitsch, S.; Buerhop-Lutz, C.; Sovetkin, E.; Steland, A.; Maier, A.; Gallwitz, F. & Riess, C.
Segmentation of photovoltaic module cells in uncalibrated electroluminescence images. Machine Vision
and Applications, 32(4), 2021. DOI: 10.1007/s00138-021-01191-9

Deitsch, S.; Christlein, V.; Berger, S.; Buerhop-Lutz, C.; Maier, A.; Gallwitz, F. & Riess, C.
Automatic classification of defective photovoltaic module cells in electroluminescence images. Solar
Energy, 185, 455-468, 2019. DOI: 10.1016/j.solener.2019.02.067

Folders: train/good and test/good have the defect probability 0, test/{DEFECTIVE} has 1; the cells
in between are left out.
"""


@dataclass(frozen=True, slots=True)
class _Cell:
    path: Path
    thirds: int  # defect probability times three
    kind: str


def demo_split(
    kind: CellKind = "mono",
    *,
    seed: int = 0,
    reference: int = 200,
    uncertain: bool = False,
) -> CategorySamples:
    """Return the demo set of mono- or polycrystalline cells, split by a seed.

    Parameters
    ----------
    kind
        ``"mono"`` or ``"poly"``.
    seed
        Which good cells are learned from; the same seed gives the same split everywhere.
    reference
        Number of good cells learned from; all other good cells and the defective ones are judged.
    uncertain
        Whether to judge also the cells with a defect probability of 1/3 and 2/3, whose label is
        ``"unknown"``.

    Raises
    ------
    MissingExtraError
        If the package with the images is not installed.
    ParameterError
        If there are not that many good cells, one being kept for the test.
    """
    if kind not in _CATEGORIES:
        raise ParameterError(f"demo cells are 'mono' or 'poly', not {kind!r}")
    if seed < 0:
        raise ParameterError(f"the seed of the demo split is {seed}; give 0 or more")
    category = _CATEGORIES[kind]
    cells = [cell for cell in _cells() if cell.kind == kind]
    good = [cell for cell in cells if cell.thirds == 0]
    if not 1 <= reference < len(good):
        raise ParameterError(
            f"{reference} reference images asked for; there are {len(good)} good {kind} cells, "
            f"so give 1 to {len(good) - 1}"
        )
    order = np.random.default_rng([seed, _STREAMS[kind]]).permutation(len(good))
    learned = {good[index].path for index in order[:reference]}
    train: list[Sample] = []
    test: list[Sample] = []
    for cell in cells:
        file = cell.path.name
        if cell.path in learned:
            name = f"{category}/train/{GOOD}/{file}"
            train.append(Sample(cell.path, name, "good", GOOD, split="train"))
        elif cell.thirds == 0:
            name = f"{category}/test/{GOOD}/{file}"
            test.append(Sample(cell.path, name, "good", GOOD, split="test"))
        elif cell.thirds == 3:
            name = f"{category}/test/{DEFECTIVE}/{file}"
            test.append(Sample(cell.path, name, "anomalous", DEFECTIVE, split="test"))
        elif uncertain:
            folder = _UNCERTAIN[cell.thirds]
            name = f"{category}/test/{folder}/{file}"
            test.append(Sample(cell.path, name, "unknown", folder, split="test"))
    test.sort(key=lambda sample: (sample.kind != GOOD, sample.kind, sample.name))
    return CategorySamples(category, tuple(train), tuple(test))


def export_demo(
    folder: str | Path,
    *,
    seed: int = 0,
    reference: int = 200,
    kinds: Sequence[CellKind] = ("mono", "poly"),
    progress: Progress = silent,
) -> int:
    """Write the demo set in MVTec AD's layout and return the number of its images.

    The folder appears whole or not at all. Where it already holds this very export, nothing is
    done.

    Raises
    ------
    DatasetError
        If the folder holds anything else, or cannot be written.
    DiskFullError
        If the disk is full; nothing is left behind.
    MissingExtraError, ParameterError
        As for `demo_split`.
    """
    target = Path(folder)
    samples = [
        sample
        for kind in kinds
        for split in [demo_split(kind, seed=seed, reference=reference)]
        for sample in (*split.train, *split.test)
    ]
    marker = {"seed": seed, "reference": reference, "images": sorted(s.name for s in samples)}
    if _holds_export(target, marker):
        progress("export", len(samples), len(samples))
        return len(samples)
    with writing_set(target, "the demo set") as partial:
        for done, sample in enumerate(samples):
            progress("export", done, len(samples))
            copy = partial / sample.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sample.path, copy)
        (partial / "LICENCE.txt").write_text(_NOTE, encoding="utf-8")
        (partial / _MARKER).write_text(json.dumps(marker), encoding="utf-8")
    progress("export", len(samples), len(samples))
    return len(samples)


def _holds_export(target: Path, marker: dict[str, object]) -> bool:
    """Whether the target is this very export; if it is neither that nor empty, refuse it."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise DatasetError(f"{target} is not a folder; give a new or an empty one")
    if not target.is_dir() or not any(target.iterdir()):
        return False
    try:
        present = json.loads(read_regular(target / _MARKER, LARGEST_TEXT))
    except (OSError, ValueError):
        raise DatasetError(f"{target} is not empty; give a new or an empty folder") from None
    if present != marker:
        raise DatasetError(f"{target} holds another demo split; give a new or an empty folder")
    names = present["images"]
    lost = next((name for name in names if not (target / name).is_file()), None)
    if lost is not None:
        raise DatasetError(f"{target} lacks {lost}; delete the folder and export it again")
    return True


def _cells() -> list[_Cell]:
    """Read the data set's own table: path, defect probability, kind of cell."""
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            f"the demo images are not installed; run: {install_command('patchbank[demo]')}"
        )
    data = Path(spec.origin).parent / "data"
    try:
        lines = (data / "labels.csv").read_text(encoding="utf-8").splitlines()
        rows = [line.split() for line in lines if line.strip()]
        return [
            _Cell(data / path, round(3 * float(probability)), kind)
            for path, probability, kind in rows
        ]
    except (OSError, ValueError) as exc:
        raise DatasetError(
            f"the demo images in {data} are damaged ({exc}); run: "
            f"{install_command('--force-reinstall', 'elpv-dataset')}"
        ) from exc
