"""MVTec AD's folder layout (Bergmann et al., CVPR 2019), which many other data sets follow.

::

    ROOT/NAME/train/good/000.png
    ROOT/NAME/test/good/000.png
    ROOT/NAME/test/crack/000.png
    ROOT/NAME/ground_truth/crack/000_mask.png    (optional)
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from patchbank.datasets.folders import (
    describe_content,
    images_below,
    is_image_name,
    natural_key,
    walk_files,
)
from patchbank.datasets.samples import GOOD, CategorySamples, Mask, Sample
from patchbank.errors import DatasetError

LAYOUT = "ROOT/NAME/train/good and ROOT/NAME/test/KIND"
# What people call the good images where they do not call them `good`.
_GOOD_NAMES = frozenset({"good", "ok", "normal", "goods", "defect_free", "nodefect", "no_defect"})
_SHOWN = 5


def list_categories(root: str | Path) -> list[str]:
    """Return the names of the categories below a data set's root, in natural order.

    Raises
    ------
    DatasetError
        If there is none; the message says which folder was probably meant.
    """
    root = Path(root)
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise DatasetError(f"{root} {problem}; give the folder that holds {LAYOUT}")
    if _is_category(root):
        full = root.resolve()
        raise DatasetError(
            f"{root} is itself a category; give its parent {full.parent} and --category {full.name}"
        )
    categories = [folder.name for folder in _subfolders(root) if _is_category(folder)]
    if categories:
        return categories
    for folder in _subfolders(root):
        inner = [below.name for below in _subfolders(folder) if _is_category(below)]
        if inner:
            raise DatasetError(
                f"{root} holds no category, but {folder} does ({_some(inner)}); give that"
            )
    hint = ""
    if any(is_image_name(file.name) for file in root.iterdir() if file.is_file()):
        hint = "; to learn from a plain folder of good images, use `patchbank fit`"
    raise DatasetError(
        f"{root} holds no category: expected {LAYOUT}, found {describe_content(root)}{hint}"
    )


def load(root: str | Path, category: str) -> CategorySamples:
    """Return the images of one category.

    An anomalous image without a mask, a mask without an image and folders that are not read are
    recorded as warnings.

    Raises
    ------
    DatasetError
        If the category is not there, or has no good images to learn from or no images to judge.
    """
    root = Path(root)
    categories = list_categories(root)
    if category not in categories:
        close = difflib.get_close_matches(category.lower(), [c.lower() for c in categories], n=1)
        original = {c.lower(): c for c in categories}
        meant = f", did you mean {original[close[0]]}?" if close else ";"
        raise DatasetError(f"{root} has no category {category!r}{meant} it has {_some(categories)}")
    folder = root / category
    warnings: list[str] = []
    train = _load_train(root, folder, warnings)
    test = _load_test(root, folder, warnings)
    return CategorySamples(category, train, test, tuple(warnings))


def _load_train(root: Path, folder: Path, warnings: list[str]) -> tuple[Sample, ...]:
    good = _required_good(folder / "train")
    images = images_below(good)
    if not images:
        raise DatasetError(f"{good} holds no image; it holds {describe_content(good)}")
    ignored = [below.name for below in _subfolders(folder / "train") if below.name != GOOD]
    if ignored:
        warnings.append(f"{folder / 'train'}: not read, only good is: {_some(ignored)}")
    return tuple(
        Sample(image, _name(root, image), label="good", kind=GOOD, split="train")
        for image in images
    )


def _load_test(root: Path, folder: Path, warnings: list[str]) -> tuple[Sample, ...]:
    test = folder / "test"
    if not test.is_dir():
        raise DatasetError(f"expected {test} with a folder per kind; {_found(folder)}")
    kinds = _subfolders(test)
    if not kinds:
        raise DatasetError(f"expected {test / GOOD} and {test}/KIND; {_found(test)}")
    if GOOD not in [kind.name for kind in kinds]:
        _refuse_other_good_name(test)
        warnings.append(f"{test} has no folder {GOOD}: nothing tells how good images are judged")
    if all(kind.name == GOOD for kind in kinds):
        warnings.append(f"{test} has {GOOD} images only: nothing tells how anomalies are judged")
    samples: list[Sample] = []
    for kind in kinds:
        images = images_below(kind)
        if not images:
            warnings.append(f"{kind} holds no image; it holds {describe_content(kind)}")
        elif kind.name == GOOD:
            samples += [
                Sample(image, _name(root, image), label="good", kind=GOOD, split="test")
                for image in images
            ]
        else:
            samples += _anomalous(root, folder, kind, images, warnings)
    if not samples:
        raise DatasetError(f"{test} holds no image; {_found(test)}")
    return tuple(samples)


def _anomalous(
    root: Path, folder: Path, kind: Path, images: Sequence[Path], warnings: list[str]
) -> list[Sample]:
    ground_truth = folder / "ground_truth"
    truth = ground_truth / kind.name
    masks: dict[str, Path] = {}
    if truth.is_dir():
        files = sorted(walk_files(truth), key=natural_key)
        masks = {file.relative_to(truth).with_suffix("").as_posix(): file for file in files}
    samples = []
    without: list[str] = []
    for image in images:
        stem = image.relative_to(kind).with_suffix("").as_posix()
        file = masks.pop(f"{stem}_mask", None)
        if file is None:
            without.append(image.name)
        mask = None if file is None else Mask((file,))
        samples.append(
            Sample(image, _name(root, image), "anomalous", kind.name, split="test", mask=mask)
        )
    if without and ground_truth.is_dir():
        warnings.append(
            f"{kind}: {len(without)} of {len(images)} images have no mask "
            f"{truth}/STEM_mask.png: {_some(without)}"
        )
    if masks:
        unused = [mask.name for mask in masks.values()]
        warnings.append(f"{truth}: {len(unused)} files are the mask of no image: {_some(unused)}")
    return samples


def _required_good(split: Path) -> Path:
    good = split / GOOD
    if good.is_dir():
        return good
    if split.is_dir():
        _refuse_other_good_name(split)
    found = _found(split if split.is_dir() else split.parent)
    raise DatasetError(f"expected {good} with the good images to learn from; {found}")


def _refuse_other_good_name(split: Path) -> None:
    """Refuse `Good` or `ok`, which would otherwise pass for a kind of defect."""
    for folder in _subfolders(split):
        if folder.name.lower().replace("-", "_") in _GOOD_NAMES:
            raise DatasetError(f"expected {split / GOOD}, found {folder}; rename it to {GOOD}")


def _is_category(folder: Path) -> bool:
    return (folder / "train").is_dir() or (folder / "test").is_dir()


def _subfolders(folder: Path) -> list[Path]:
    below = (entry for entry in folder.iterdir() if entry.is_dir())
    return sorted((entry for entry in below if not entry.name.startswith(".")), key=natural_key)


def _found(folder: Path) -> str:
    below = [entry.name for entry in _subfolders(folder)]
    named = f" ({_some(below)})" if below else ""
    return f"found {describe_content(folder)} in {folder}{named}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _name(root: Path, image: Path) -> str:
    return image.relative_to(root).as_posix()
