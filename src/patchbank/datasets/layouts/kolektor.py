"""KolektorSDD2's layout (Božič et al., Computers in Industry 2021): masks next to the images.

::

    ROOT/train/10000.png
    ROOT/train/10000_GT.png
    ROOT/test/20000.png
    ROOT/test/20000_GT.png

An image is good if its mask is black. The defective images in `train` are left out, because only
good ones are learned from.
"""

from __future__ import annotations

from pathlib import Path

from patchbank.datasets.layouts.shared import (
    found_in,
    name_below,
    require_category,
    require_folder,
    some,
    subfolders,
)
from patchbank.datasets.masks import marked_pixels
from patchbank.datasets.pairing import named_mask, paired
from patchbank.datasets.samples import GOOD, CategorySamples, Sample, Split
from patchbank.errors import DatasetError
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.vision.image_folders import images_below

CATEGORY = "kolektorsdd2"
DEFECT = "defect"
LAYOUT = "ROOT/train and ROOT/test with NNNNN.png and NNNNN_GT.png"
_MASK = "_GT"
_OTHER_MASKS = frozenset({"gt", "mask", "label", "seg"})


def list_categories(root: str | Path) -> list[str]:
    """Return the only category.

    Raises
    ------
    DatasetError
        If this is not the data set's root.
    """
    root = Path(root)
    require_folder(root, LAYOUT)
    splits = [root / "train", root / "test"]
    if all(split.is_dir() for split in splits):
        return [CATEGORY]
    if root.name in ("train", "test") and any(_is_mask(image) for image in images_below(root)):
        raise DatasetError(f"{root} is one split; give its parent {root.resolve().parent}")
    for folder in subfolders(root):
        if (folder / "train").is_dir() and (folder / "test").is_dir():
            raise DatasetError(
                f"{root} holds no train and test, but {folder} does; give that folder"
            )
    raise DatasetError(f"expected {LAYOUT}; {found_in(root)}")


def load(
    root: str | Path, category: str = CATEGORY, progress: Progress = silent
) -> CategorySamples:
    """Return the images; every mask is read to find the good ones.

    Raises
    ------
    DatasetError
        If there is no good image to learn from.
    """
    root = Path(root)
    category = require_category(root, category, list_categories(root))
    warnings: list[str] = []
    train = _load_split(root, "train", warnings, progress)
    good = tuple(sample for sample in train if sample.label == "good")
    if not good:
        raise DatasetError(
            f"{root / 'train'} has no good image: none of its {len(train)} masks is black"
        )
    test = _load_split(root, "test", warnings, progress)
    return CategorySamples(CATEGORY, good, tuple(test), tuple(warnings))


def _load_split(root: Path, split: Split, warnings: list[str], progress: Progress) -> list[Sample]:
    folder = root / split
    files = images_below(folder)
    images = [file for file in files if not _is_mask(file)]
    if not images:
        raise DatasetError(f"{folder} holds no image: expected NNNNN.png; {found_in(folder)}")
    named = [named_mask(file, folder, (_MASK,)) for file in files if _is_mask(file)]
    masks = paired([name_below(folder, image) for image in images], named)
    without = [image.name for number, image in enumerate(images) if number not in masks]
    stems = {image.with_suffix("") for image in images}
    misnamed = [image.name for image in images if _plain_stem(image) in stems]
    if misnamed:
        raise DatasetError(
            f"{folder}: masks are misnamed: expected NNNNN_GT.png, found {some(misnamed)}; "
            "rename them"
        )
    if without:
        raise DatasetError(
            f"{folder}: no mask for {len(without)} of {counted(len(images), 'image')}, needed to "
            f"know which are good: expected NNNNN_GT.png next to {some(without)}"
        )
    samples = []
    for done, image in enumerate(images):
        progress(f"masks of {split}", done, len(images))
        mask = masks[done].mask
        name = name_below(root, image)
        if marked_pixels(mask.paths[0]).any():
            samples.append(Sample(image, name, "anomalous", DEFECT, split, mask))
        else:
            samples.append(Sample(image, name, "good", GOOD, split))
    progress(f"masks of {split}", len(images), len(images))
    unused = [mask.mask.paths[0].name for mask in named if mask not in masks.values()]
    if unused:
        warnings.append(f"{folder}: no image for {counted(len(unused), 'mask')}: {some(unused)}")
    return samples


def _plain_stem(file: Path) -> Path | None:
    """Return the image's path, without suffix, of a mask named as in other data sets, or None."""
    stem, underscore, ending = file.stem.rpartition("_")
    return file.with_name(stem) if underscore and ending.lower() in _OTHER_MASKS else None


def _is_mask(file: Path) -> bool:
    return file.stem.endswith(_MASK)
