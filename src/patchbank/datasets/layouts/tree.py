"""The folder layout of MVTec AD and its variants: CATEGORY/SPLIT/KIND/IMAGE."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from patchbank.datasets.collect import parts_below, required_images
from patchbank.datasets.good_only import refuse_defects_below
from patchbank.datasets.layouts.shared import (
    found_in,
    has_images,
    name_below,
    refuse_other_good_name,
    require_category,
    require_folder,
    some,
    subfolders,
)
from patchbank.datasets.mask_like import is_mask_folder, masks_among
from patchbank.datasets.pairing import MaskFinder, NamedMask, masks_by_name, pair_masks
from patchbank.datasets.samples import GOOD, CategorySamples, Mask, Sample
from patchbank.errors import DatasetError
from patchbank.spelling import composed
from patchbank.vision.image_folders import (
    as_there,
    describe_content,
    images_below,
    is_image_name,
    natural_key,
)


def _masks_with_suffix(truth: Path, remarks: list[str]) -> list[NamedMask]:
    return masks_by_name(truth, remarks, suffixes=("_mask",))


@dataclass(frozen=True, slots=True)
class Tree:
    """A data set's variant of the layout.

    Attributes
    ----------
    layout
        A short description, for messages.
    good
        The folder of good images in each split.
    train, test
        The folders of the splits, in each category.
    ground_truth
        The folder of masks, in each category.
    masks
        Returns the masks of a kind.
    mask_name
        The pattern of mask names, for messages.
    unlabelled
        Splits that are judged although their labels were not published.
    """

    layout: str
    good: str = GOOD
    train: str = "train"
    test: str = "test"
    ground_truth: str = "ground_truth"
    masks: MaskFinder = _masks_with_suffix
    mask_name: str = "STEM_mask.png"
    unlabelled: tuple[str, ...] = ()

    def list_categories(self, root: str | Path) -> list[str]:
        """Return the names of the categories below a data set's root, in natural order.

        Raises
        ------
        DatasetError
            If no category is found; the message names the folder that was probably meant.
        """
        root = Path(root)
        require_folder(root, self.layout)
        if self._is_category(root):
            full = root.resolve()
            raise DatasetError(
                f"{root} is itself a category; give its parent {full.parent} "
                f"and --category {full.name}"
            )
        categories = [folder.name for folder in subfolders(root) if self._is_category(folder)]
        if categories:
            return categories
        self._refuse_inner_folder(root)
        for folder in subfolders(root):
            inner = [below.name for below in subfolders(folder) if self._is_category(below)]
            if inner:
                raise DatasetError(
                    f"{root} holds no category, but {folder} does ({some(inner)}); give that folder"
                )
        hint = ""
        if has_images(root):
            hint = "; to learn from a plain folder of good images, use `patchbank fit`"
        raise DatasetError(
            f"{root} holds no category: expected {self.layout}, "
            f"found {describe_content(root)}{hint}"
        )

    def load(self, root: str | Path, category: str) -> CategorySamples:
        """Return the images of one category.

        Anomalous images without a mask, masks without an image and folders that are not read give
        warnings.
        """
        root = Path(root)
        category = require_category(root, category, self.list_categories(root))
        folder = root / category
        warnings: list[str] = []
        train = self._load_train(root, folder, warnings)
        test = self._load_test(root, folder, warnings)
        test += self._load_unlabelled(root, folder, warnings)
        return CategorySamples(category, tuple(train), tuple(test), tuple(warnings))

    def _load_train(self, root: Path, folder: Path, warnings: list[str]) -> list[Sample]:
        split = folder / self.train
        good = self._required_good(split)
        images = required_images(good, warnings)
        refuse_defects_below(good, images)
        ignored = [below.name for below in subfolders(split) if below.name != self.good]
        if ignored:
            warnings.append(f"{split}: only {self.good} is read, not {some(ignored)}")
        return [Sample(image, name_below(root, image), "good", GOOD, "train") for image in images]

    def _load_test(self, root: Path, folder: Path, warnings: list[str]) -> list[Sample]:
        test = folder / self.test
        if not test.is_dir():
            raise DatasetError(f"expected {test} with one folder per kind; {found_in(folder)}")
        truth = folder / self.ground_truth
        self._refuse_other_masks(folder, test, truth)
        kinds = [kind for kind in subfolders(test) if kind != truth]
        if not kinds:
            raise DatasetError(f"expected {test / self.good} and {test}/KIND; {found_in(test)}")
        names = [kind.name for kind in kinds]
        refuse_other_good_name(test, self.good)
        if self.good not in names:
            warnings.append(
                f"{test} has no folder {self.good}: how good images are judged is unknown"
            )
        if all(kind.name == self.good for kind in kinds):
            warnings.append(
                f"{test} has {self.good} images only: how anomalies are judged is unknown"
            )
        samples: list[Sample] = []
        for kind in kinds:
            images = parts_below(kind, warnings)
            if not images:
                warnings.append(f"{kind} holds no image; it holds {describe_content(kind)}")
            elif kind.name == self.good:
                refuse_defects_below(kind, images)
                samples += [
                    Sample(image, name_below(root, image), "good", GOOD, "test") for image in images
                ]
            else:
                samples += self._anomalous(root, kind, images, truth, warnings)
        if not samples:
            raise DatasetError(f"{test} holds no image; {found_in(test)}")
        if truth.is_dir():
            self._report_unread_masks(truth, names, samples, warnings)
        return samples

    def _anomalous(
        self, root: Path, kind: Path, images: list[Path], truth: Path, warnings: list[str]
    ) -> list[Sample]:
        masks: list[Mask | None] = [None] * len(images)
        if truth.is_dir():
            inside = as_there(truth / kind.name)
            named = self.masks(inside, warnings)
            masks = pair_masks(images, kind, inside, named, self.mask_name, warnings)
        return [
            Sample(image, name_below(root, image), "anomalous", composed(kind.name), "test", mask)
            for image, mask in zip(images, masks, strict=True)
        ]

    def _refuse_other_masks(self, folder: Path, test: Path, truth: Path) -> None:
        """Refuse masks in a folder with another name or location, which would be ignored."""
        if truth.is_dir():
            return
        masks = masks_among(images_below(test), test)
        for parent in dict.fromkeys((folder, test, truth.parent)):
            for other in subfolders(parent):
                images = images_below(other) if is_mask_folder(other.name) else []
                # In the test folder, it may be a kind of defect named `mask`.
                if images and (parent != test or masks.intersection(images)):
                    raise DatasetError(
                        f"expected masks in {truth}, found {other}; rename it, or move it away "
                        "to load without masks"
                    )

    def _report_unread_masks(
        self, truth: Path, kinds: list[str], samples: list[Sample], warnings: list[str]
    ) -> None:
        """Warn of masks that belong to no kind; refuse them if no image has a mask."""
        known = {composed(kind) for kind in kinds}
        unread = [below.name for below in subfolders(truth) if composed(below.name) not in known]
        unread += [entry.name for entry in truth.iterdir() if is_image_name(entry.name)]
        unread = sorted(set(unread), key=natural_key)
        if not unread:
            return
        defects = [kind for kind in kinds if kind != self.good]
        problem = (
            f"expected {truth}/KIND/{self.mask_name} for {some(defects)}, found {some(unread)}"
        )
        if defects and all(sample.mask is None for sample in samples):
            raise DatasetError(f"no image has a mask: {problem}")
        warnings.append(f"{truth}: not everything is read: {problem}")

    def _load_unlabelled(self, root: Path, folder: Path, warnings: list[str]) -> list[Sample]:
        return [
            Sample(image, name_below(root, image), "unknown", split, "test")
            for split in self.unlabelled
            if (folder / split).is_dir()
            for image in parts_below(folder / split, warnings)
        ]

    def _required_good(self, split: Path) -> Path:
        good = split / self.good
        if good.is_dir():
            return good
        if split.is_dir():
            refuse_other_good_name(split, self.good)
        content = found_in(split if split.is_dir() else split.parent)
        raise DatasetError(f"expected {good} with the good images to learn from; {content}")

    def _refuse_inner_folder(self, root: Path) -> None:
        """Refuse a folder inside a category, such as its train."""
        full = root.resolve()
        splits = {Path(part).parts[0] for part in (self.train, self.test, self.ground_truth)}
        for inner, category in pairwise((full, *full.parents)):
            if inner.name in splits and self._is_category(category):
                raise DatasetError(
                    f"{root} is inside a category; give {category.parent} "
                    f"and --category {category.name}"
                )

    def _is_category(self, folder: Path) -> bool:
        return (folder / self.train).is_dir() or (folder / self.test).is_dir()
