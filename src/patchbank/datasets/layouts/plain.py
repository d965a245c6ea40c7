"""Plain folders of good and bad images, with or without masks.

::

    ROOT/good/1.png
    ROOT/bad/1.png            (optional)       or ROOT/bad/crack/1.png
    ROOT/masks/1.png          (optional)       or ROOT/masks/crack/1.png, mirroring `bad`

The category has ROOT's name. If ROOT holds folders that have a `good` each, these are the
categories. A mask may also be named `1_mask.png`.

The layout has no split, so a fifth of the good images is judged: those whose paths below `good`
have the smallest SHA-256.
"""

from __future__ import annotations

from pathlib import Path

from patchbank.datasets.collect import parts_below, required_images
from patchbank.datasets.good_only import refuse_defects_below
from patchbank.datasets.layouts.shared import (
    found_in,
    has_images,
    held_out,
    name_below,
    require_category,
    require_folder,
    some,
    subfolders,
)
from patchbank.datasets.pairing import masks_by_name, pair_masks
from patchbank.datasets.samples import GOOD, CategorySamples, Mask, Sample
from patchbank.datasets.words import is_good_name, quality_of
from patchbank.errors import DatasetError
from patchbank.spelling import composed
from patchbank.vision.image_folders import describe_content

LAYOUT = "ROOT/good, perhaps ROOT/bad and ROOT/masks"
BAD = "bad"
MASKS = "masks"


def list_categories(root: str | Path) -> list[str]:
    """Return the root's name, or the names of its folders that have a `good`.

    Raises
    ------
    DatasetError
        If there is no `good`; the message names the folder that was probably meant.
    """
    root = Path(root)
    require_folder(root, LAYOUT)
    if (root / GOOD).is_dir():
        return [root.resolve().name]
    categories = [folder.name for folder in subfolders(root) if (folder / GOOD).is_dir()]
    if categories:
        return categories
    if root.name == GOOD and has_images(root):
        raise DatasetError(f"{root} is the folder of good images; give its parent")
    for folder in subfolders(root):
        if is_good_name(folder.name):
            raise DatasetError(f"expected {root / GOOD}, found {folder}; rename it to {GOOD}")
    raise DatasetError(f"expected {root / GOOD} with the good images; {found_in(root)}")


def load(root: str | Path, category: str) -> CategorySamples:
    """Return the images of one category.

    Raises
    ------
    DatasetError
        If there are fewer than two good images.
    """
    root = Path(root)
    category = require_category(root, category, list_categories(root))
    folder = root if (root / GOOD).is_dir() else root / category
    warnings: list[str] = []
    good = required_images(folder / GOOD, warnings)
    refuse_defects_below(folder / GOOD, good)
    if len(good) < 2:
        raise DatasetError(
            f"{folder / GOOD} holds one image; at least two are needed, to learn from and to judge"
        )
    judged = held_out([name_below(folder / GOOD, image) for image in good])
    train: list[Sample] = []
    test: list[Sample] = []
    for image in good:
        name = name_below(root, image)
        if name_below(folder / GOOD, image) in judged:
            test.append(Sample(image, name, "good", GOOD, "test"))
        else:
            train.append(Sample(image, name, "good", GOOD, "train"))
    test += _load_bad(root, folder, warnings)
    return CategorySamples(category, tuple(train), tuple(test), tuple(warnings))


def _load_bad(root: Path, folder: Path, warnings: list[str]) -> list[Sample]:
    bad = folder / BAD
    _refuse_other_folders(folder)
    if not bad.is_dir():
        if (folder / MASKS).is_dir():
            raise DatasetError(f"{folder / MASKS} holds masks, but {bad} does not exist")
        warnings.append(f"{folder} has {GOOD} images only: how anomalies are judged is unknown")
        return []
    images = parts_below(bad, warnings)
    if not images:
        raise DatasetError(f"{bad} holds no image; it holds {describe_content(bad)}")
    masks: list[Mask | None] = [None] * len(images)
    truth = folder / MASKS
    if truth.is_dir():
        named = masks_by_name(truth, warnings, suffixes=("_mask", ""))
        masks = pair_masks(images, bad, truth, named, "STEM.png or STEM_mask.png", warnings)
    return [
        Sample(image, name_below(root, image), "anomalous", _kind(bad, image), "test", mask)
        for image, mask in zip(images, masks, strict=True)
    ]


def _kind(bad: Path, image: Path) -> str:
    """Return the name of the image's folder below `bad`, or `bad` itself."""
    parts = image.relative_to(bad).parts
    # A folder `good` below `bad` is not a kind of defect.
    return composed(parts[0]) if len(parts) > 1 and parts[0] != GOOD else BAD


def _refuse_other_folders(folder: Path) -> None:
    """Refuse folders such as `ng` or `defects`, which would otherwise be left out silently."""
    names = [inner.name for inner in subfolders(folder)]
    unread = [name for name in names if name not in (GOOD, BAD, MASKS)]
    for name in unread:
        if quality_of(name) == "bad":
            raise DatasetError(
                f"expected {folder / BAD}, found {folder / name}; rename it to {BAD}"
            )
    if unread:
        raise DatasetError(
            f"{folder} holds folders that are not read: {some(unread)}; expected {GOOD}, {BAD} and "
            f"{MASKS} only; put kinds of defect into {BAD}"
        )
