"""The supported data sets, by name: list the categories of one, or load one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from patchbank.datasets.layouts import deeppcb, kolektor, manifest, plain, visa
from patchbank.datasets.layouts.btad import BTAD
from patchbank.datasets.layouts.mvtec import MVTEC_AD, MVTEC_AD_2, MVTEC_LOCO
from patchbank.datasets.layouts.tree import Tree
from patchbank.datasets.marker import is_synthetic
from patchbank.datasets.recognise import recognise
from patchbank.datasets.samples import CategorySamples
from patchbank.errors import DatasetError, ParameterError
from patchbank.progress import Progress, silent
from patchbank.spelling import nearest
from patchbank.vision.image_folders import as_there

_Lister = Callable[[Path], list[str]]
_Loader = Callable[[Path, str, Progress], CategorySamples]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set, or a kind of folder, that patchbank can read.

    Attributes
    ----------
    name
        The value of `--dataset`.
    title
        The name in tables and pages.
    layout
        A short description of its folders, for messages.
    aupro_limit
        The false-positive rate up to which its authors integrate the per-region overlap.
    """

    name: str
    title: str
    layout: str
    _list: _Lister
    _load: _Loader
    aupro_limit: float = 0.3

    def list_categories(self, root: str | Path) -> list[str]:
        """Return the names of the categories below the data set's root, in natural order."""
        root = as_there(Path(root))
        self._refuse_other_layout(root)
        return self._list(root)

    def load(
        self, root: str | Path, category: str, *, progress: Progress = silent
    ) -> CategorySamples:
        """Return the images of one category."""
        root = as_there(Path(root))
        self._refuse_other_layout(root)
        return self._load(root, category, progress)

    def is_synthetic(self, root: str | Path, samples: CategorySamples) -> bool:
        """Return whether test images were made by code (`patchbank make-surfaces`)."""
        return is_synthetic(Path(root), (sample.path for sample in samples.test))

    def _refuse_other_layout(self, root: Path) -> None:
        """Refuse a root with the layout of another data set, which would load wrongly."""
        other = recognise(root)
        if other not in (None, self.name):
            raise DatasetError(
                f"{root} looks like {DATASETS[other].title}, not {self.title} "
                f"(expected {self.layout}); use --dataset {other}"
            )


def _at_once(load: Callable[[Path, str], CategorySamples]) -> _Loader:
    """Return a loader without progress, for a layout that is read quickly."""

    def loader(root: Path, category: str, progress: Progress) -> CategorySamples:
        return load(root, category)

    return loader


def _tree(name: str, title: str, tree: Tree, aupro_limit: float = 0.3) -> DataSet:
    return DataSet(name, title, tree.layout, tree.list_categories, _at_once(tree.load), aupro_limit)


_ALL = (
    _tree("mvtec", "MVTec AD", MVTEC_AD),
    _tree("mvtec-ad2", "MVTec AD 2", MVTEC_AD_2, aupro_limit=0.05),
    _tree("mvtec-loco", "MVTec LOCO AD", MVTEC_LOCO),
    DataSet("visa", "VisA", visa.LAYOUT, visa.list_categories, _at_once(visa.load)),
    _tree("btad", "BTAD", BTAD),
    DataSet(
        "kolektorsdd2", "KolektorSDD2", kolektor.LAYOUT, kolektor.list_categories, kolektor.load
    ),
    DataSet("deeppcb", "DeepPCB", deeppcb.LAYOUT, deeppcb.list_categories, _at_once(deeppcb.load)),
    DataSet("folder", "a plain folder", plain.LAYOUT, plain.list_categories, _at_once(plain.load)),
    DataSet(
        "manifest",
        "a manifest",
        manifest.LAYOUT,
        manifest.list_categories,
        _at_once(manifest.load),
    ),
)
DATASETS: Mapping[str, DataSet] = MappingProxyType({dataset.name: dataset for dataset in _ALL})


def find_dataset(name: str) -> DataSet:
    """Return the data set with a name.

    Raises
    ------
    ParameterError
        If no data set has this name; the message lists all names.
    """
    if name not in DATASETS:
        close = nearest(name, DATASETS)
        meant = f", did you mean {close}?" if close else ";"
        raise ParameterError(f"unknown data set {name!r}{meant} use one of {', '.join(DATASETS)}")
    return DATASETS[name]
