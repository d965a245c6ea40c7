"""Read the images of a study: good and defective parts of known answer, each imaged several times.

A folder ::

    ROOT/good/PART/1.png
    ROOT/defect/PART/1.png        or ROOT/scratch/PART/1.png, ROOT/defect/scratch/PART/1.png

or a CSV file with the columns `image`, `part` and `answer`, paths relative to it. Where the images
of a part have no folder of their own, a pattern tells the part from the name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from patchbank.datasets.collect import parts_below
from patchbank.datasets.layouts.shared import (
    found_in,
    has_images,
    name_below,
    require_file,
    require_folder,
    some,
    subfolders,
)
from patchbank.datasets.mask_like import is_mask_folder
from patchbank.datasets.samples import GOOD
from patchbank.datasets.table import portable, read_table
from patchbank.datasets.words import is_good_name, is_test, is_train, quality_of
from patchbank.errors import DatasetError, ParameterError
from patchbank.printable import counted
from patchbank.spelling import composed
from patchbank.vision.decoded_image import ImageSource

LAYOUT = "good/PART/IMAGE and defect/PART/IMAGE"
DEFECT = "defect"
_COLUMNS = ("image", "part", "answer")
_SUFFIX = ".csv"
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, eq=False)
class StudyImage:
    """An image of a part whose answer is known.

    Attributes
    ----------
    source, name
        The image, and its unique name.
    part
        The part's name, unique in the study.
    answer
        ``good``, or the kind of defect, such as ``defect`` or ``scratch``.
    """

    source: ImageSource
    name: str
    part: str
    answer: str

    @property
    def defective(self) -> bool:
        """Whether the part is defective."""
        return self.answer != GOOD


@dataclass(frozen=True, eq=False)
class Study:
    """The images of a study, part by part, how their parts are told, and remarks."""

    images: tuple[StudyImage, ...]
    told_by: str
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, images: Sequence[StudyImage], told_by: str = "", remarks: Sequence[str] = ()
    ) -> Study:
        """Return a study of these images, the parts in the order in which they begin.

        Raises
        ------
        DatasetError
            If an image is there twice, or a part has two answers.
        """
        name, count = next(iter(Counter(image.name for image in images).most_common(1)), ("", 0))
        if count > 1:
            raise DatasetError(f"{name} is listed {count} times; list each image once")
        answers: dict[str, str] = {}
        for image in images:
            answer = answers.setdefault(image.part, image.answer)
            if answer != image.answer:
                raise DatasetError(
                    f"part {image.part} is {answer} and {image.answer}; give each part one answer"
                )
        order = {part: number for number, part in enumerate(answers)}
        ordered = sorted(images, key=lambda image: order[image.part])
        return cls(tuple(ordered), told_by, tuple(remarks))


def read_study(root: str | Path, part_from: str | None = None) -> Study:
    r"""Return the images of a study below a folder, or in a CSV file.

    Parameters
    ----------
    part_from
        A regular expression that is searched for in the path of an image below the folder of its
        answer, without its suffix, such as ``(.*)_\d+``: its first group is the part, or all that
        it matches where it has no group.

    Raises
    ------
    DatasetError
        If there is no such folder or file, it is not laid out so, or holds no images.
    ParameterError
        If the pattern is no regular expression, or does not match.
    """
    root = Path(root).expanduser()
    if root.suffix.lower() == _SUFFIX and not root.is_dir():
        if part_from is not None:
            raise ParameterError(
                f"{root} has a column part, so that a pattern is not needed; leave --part-from out"
            )
        return Study.of(_listed(root), f"the column part of {root.name}")
    require_folder(root, f"{LAYOUT}, or a CSV file with the columns {', '.join(_COLUMNS)}")
    pattern = None if part_from is None else _compiled(part_from)
    remarks: list[str] = []
    found: list[_Found] = []
    for folder in _answers(root, remarks):
        found += [_Found(folder, path, path) for path in parts_below(folder, remarks)]
    if not found:
        raise DatasetError(f"{root} holds no image; expected {LAYOUT}")
    return _study(root, found, pattern, remarks)


def study_of_files(
    sources: Sequence[ImageSource], names: Sequence[str], part_from: str | None = None
) -> Study:
    """Return the images of a study by the names that files have in its folder, which is not read.

    Parameters
    ----------
    names
        Such as ``good/PART/1.png``; the folder itself may come first, as in ``study/good/...``.
    part_from
        See `read_study`.

    Raises
    ------
    DatasetError
        If the names are not laid out so.
    ParameterError
        If the pattern is no regular expression, or does not match.
    """
    paths = [PurePosixPath(name.replace("\\", "/").lstrip("/")) for name in names]
    begins = {path.parts[0] for path in paths if len(path.parts) > 1}
    depth = 0 if any(is_good_name(name) for name in begins) else 1
    if depth and len(begins) > 1:
        raise DatasetError(
            f"expected the folder {GOOD} with the good parts among {some(sorted(begins))}; the "
            f"study reads {LAYOUT}"
        )
    pattern = None if part_from is None else _compiled(part_from)
    found, left, masks = [], [], set()
    for source, path in zip(sources, paths, strict=True):
        if len(path.parts) < depth + 2:
            left.append(path.name)
        elif is_mask_folder(path.parts[depth]):
            masks.add(path.parts[depth])
        else:
            found.append(_Found(Path(*path.parts[: depth + 1]), Path(path), source))
    if not any(is_good_name(file.folder.name) for file in found):
        raise DatasetError(f"expected the folder {GOOD} with the good parts: {LAYOUT}")
    remarks = []
    if left:
        remarks.append(
            f"left out, since the answer is not known: {some(left)}; the study reads {LAYOUT}"
        )
    if masks:
        remarks.append(_not_read(sorted(masks)))
    return _study(found[0].folder.parent, found, pattern, remarks)


class _Found(NamedTuple):
    """An image file, and the folder of its answer."""

    folder: Path
    path: Path
    source: ImageSource


def _study(
    root: Path, found: Sequence[_Found], pattern: re.Pattern[str] | None, remarks: Sequence[str]
) -> Study:
    """Return a study of the image files below a folder."""
    images = [_image(root, file, pattern) for file in found]
    told_by = "their folders" if pattern is None else f"the pattern {pattern.pattern}"
    return Study.of(images, told_by, remarks)


def _not_read(masks: Sequence[str]) -> str:
    return f"{some(masks)} is not read: it is named like a folder of masks"


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ParameterError(
            f"--part-from {pattern}: not a regular expression ({error}); give one such as "
            r"'(.*)_\d+'"
        ) from error


def _answers(root: Path, remarks: list[str]) -> list[Path]:
    """Return the folders of good and of defective parts, named by their answers."""
    folders = subfolders(root)
    if any(is_train(folder.name) for folder in folders):
        tests = [folder for folder in folders if is_test(folder.name)]
        meant = f"; give {tests[0]}" if tests else ""
        raise DatasetError(f"{root} is a data set with images to learn from, not a study{meant}")
    if not any(is_good_name(folder.name) for folder in folders):
        raise DatasetError(f"expected {root / GOOD} with the good parts; {found_in(root)}")
    if has_images(root):
        remarks.append(
            f"images directly in {root} are left out: their answer is not known; the study reads "
            f"{LAYOUT}"
        )
    masks = [folder.name for folder in folders if is_mask_folder(folder.name)]
    if masks:
        remarks.append(f"{root}: {_not_read(masks)}")
    return [folder for folder in folders if folder.name not in masks]


def _image(root: Path, file: _Found, pattern: re.Pattern[str] | None) -> StudyImage:
    folder, path, source = file
    below = path.relative_to(folder)
    if pattern is not None:
        text = below.with_suffix("").as_posix()
        match = pattern.search(text)
        part = (match[1] if pattern.groups else match[0]) if match else None
        if not part:
            raise ParameterError(
                f"--part-from {pattern.pattern}: finds no part in {text} of {path}; change the "
                "pattern"
            )
    else:
        # Folders such as `defect/scratch` are of many parts; without one of its own, each image
        # is a part.
        inner = [name for name in below.parent.parts if not _is_kind(name)]
        part = below.parent.as_posix() if inner else below.with_suffix("").as_posix()
    answer = GOOD if is_good_name(folder.name) else composed(folder.name)
    return StudyImage(source, name_below(root, path), composed(f"{folder.name}/{part}"), answer)


def _is_kind(name: str) -> bool:
    """Whether a folder is named like a kind of defect, and not like a part, which has a number."""
    return quality_of(name) is not None and not _DIGIT.search(name)


def _listed(file: Path) -> list[StudyImage]:
    """Return the images in a CSV file."""
    header, rows = read_table(file, _COLUMNS)
    missing = [column for column in _COLUMNS if column not in header]
    if missing:
        raise DatasetError(f"{file}: no column {some(missing)}; {', '.join(_COLUMNS)} are required")
    if not rows:
        raise DatasetError(f"{file} lists no images; give {', '.join(_COLUMNS)} of each")
    images = []
    for where, fields in rows:
        values = dict(zip(header, fields, strict=True))
        empty = [column for column in _COLUMNS if not values[column]]
        if empty:
            raise DatasetError(f"{where}: {some(empty)} is empty")
        path = file.parent / portable(file.parent, values["image"])
        require_file(where, "image", path)
        images.append(
            StudyImage(
                path,
                Path(values["image"]).as_posix(),
                composed(values["part"]),
                _answer(where, values["answer"]),
            )
        )
    return images


def _answer(where: str, text: str) -> str:
    quality = quality_of(text)
    if quality in ("good", "perhaps good"):
        return GOOD
    if quality is None:
        raise DatasetError(
            f"{where}: answer is {text!r}; give good, {DEFECT}, or a kind of defect such as scratch"
        )
    return composed(text)


def counts_in_words(images: Sequence[StudyImage]) -> str:
    """Return how many parts and images there are, in words."""
    sizes = Counter(image.part for image in images)
    defective = len({image.part for image in images if image.defective})
    low, high = min(sizes.values()), max(sizes.values())
    each = counted(low, "image") if low == high else f"{low} to {high} images"
    return (
        f"{len(sizes) - defective} good and {defective} defective parts, {each} of each, "
        f"{len(images)} in all"
    )
