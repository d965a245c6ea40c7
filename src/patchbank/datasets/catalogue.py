"""Every data set under one name and one interface: list its categories, load one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from patchbank.datasets.layouts import kolektor, manifest, plain, visa
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
        What the user gives as `--dataset`.
    title
        What tables and pages print.
    layout
        Its folders in a few words, for messages.
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
        """Return the names of the categories below the data set's root, in natural order.

        Raises
        ------
        DatasetError
            If there is none; the message says what was expected and what was found.
        """
        root = as_there(Path(root))
        self._refuse_another(root)
        return self._list(root)

    def load(
        self, root: str | Path, category: str, *, progress: Progress = silent
    ) -> CategorySamples:
        """Return the images of one category.

        Raises
        ------
        DatasetError
            If the category is not there, or its folders are not laid out as expected.
        """
        root = as_there(Path(root))
        self._refuse_another(root)
        return self._load(root, category, progress)

    def is_synthetic(self, root: str | Path, samples: CategorySamples) -> bool:
        """Whether images judged were made by code (`patchbank make-surfaces`), not by a camera."""
        return is_synthetic(Path(root), (sample.path for sample in samples.test))

    def _refuse_another(self, root: Path) -> None:
        """Refuse a root that has the layout of another data set: it would load wrongly or not."""
        other = recognise(root)
        if other not in (None, self.name):
            raise DatasetError(
                f"{root} looks like {DATASETS[other].title}, not {self.title} "
                f"(expected {self.layout}); use --dataset {other}"
            )


def _at_once(load: Callable[[Path, str], CategorySamples]) -> _Loader:
    """Return a loader for a layout that is read too quickly for progress."""

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
    """Return the data set of a name.

    Raises
    ------
    ParameterError
        If there is none; the message lists those that there are.
    """
    if name not in DATASETS:
        close = nearest(name, DATASETS)
        meant = f", did you mean {close}?" if close else ";"
        raise ParameterError(f"no data set {name!r}{meant} there are {', '.join(DATASETS)}")
    return DATASETS[name]
