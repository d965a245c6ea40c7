"""Writes the surface set in MVTec AD's layout."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from patchbank.datasets.marker import image_marker, write_marker
from patchbank.datasets.new_folder import refuse_filled, writing_set
from patchbank.datasets.samples import GOOD
from patchbank.datasets.surfaces.defects import DEFECTS
from patchbank.datasets.surfaces.drawing import draw
from patchbank.errors import ParameterError
from patchbank.progress import Progress, silent
from patchbank.settings import usable_cores

CATEGORIES: dict[str, tuple[str, ...]] = {name: tuple(kinds) for name, kinds in DEFECTS.items()}
TRAIN_IMAGES = 100
TEST_GOOD_IMAGES = 20
TEST_IMAGES_PER_KIND = 8
SMALLEST, LARGEST = 64, 2048

_NOTE = """\
The images in this folder are synthetic. `patchbank make-surfaces` (patchbank {version}) drew them
with the seed {seed} at {side} x {side} pixels; no camera was involved, and figures measured on them
say nothing about real surfaces.

Layout: that of MVTec AD. Each of {categories} has {train} good images to learn from (train/good),
{good} good ones to judge (test/good) and {each} of each of five kinds of defect (test/KIND). A mask
(ground_truth/KIND/NNN_mask.png) is 255 exactly where the defect changed the image, and 0 elsewhere.

The same seed, size and version of patchbank give the same pixels everywhere.
"""


@dataclass(frozen=True, slots=True)
class _Task:
    category: str
    split: str
    kind: str
    number: int
    key: tuple[int, ...]


def make_surfaces(
    folder: str | Path,
    *,
    image_size: int = 256,
    seed: int = 0,
    progress: Progress = silent,
) -> int:
    """Write the surface set in MVTec AD's layout and return the number of its images.

    The folder appears whole or not at all. The same seed and size give the same pixels on every
    machine.

    Parameters
    ----------
    folder
        A new or an empty folder.
    image_size
        Side of the images, in pixels; patterns and defects scale with it.
    seed
        Which images are drawn.

    Raises
    ------
    DatasetError
        If the folder holds anything, or cannot be written.
    DiskFullError
        If the disk is full; nothing is left behind.
    ParameterError
        If the size or the seed is out of range.
    """
    if not SMALLEST <= image_size <= LARGEST:
        raise ParameterError(
            f"the image size of the surface set is {image_size}; give {SMALLEST} to {LARGEST}"
        )
    if seed < 0:
        raise ParameterError(f"the seed of the surface set is {seed}; give 0 or more")
    target = Path(folder)
    refuse_filled(target)
    tasks = list(_tasks(seed))
    with writing_set(target, "the surface set") as partial:
        for path in {partial / _image_name(task) for task in tasks}:
            path.parent.mkdir(parents=True, exist_ok=True)
        for path in {partial / _mask_name(task) for task in tasks if task.kind != GOOD}:
            path.parent.mkdir(parents=True, exist_ok=True)
        progress("surfaces", 0, len(tasks))
        # Threads suffice: nearly all the time is spent in NumPy and zlib, which release the lock.
        with ThreadPoolExecutor(usable_cores()) as pool:
            waiting = [pool.submit(_write, partial, task, image_size) for task in tasks]
            try:
                _finish(waiting, progress)
            except BaseException:  # an interrupt too
                pool.shutdown(cancel_futures=True)
                raise
        (partial / "README.txt").write_text(
            _NOTE.format(
                version=version("patchbank"),
                seed=seed,
                side=image_size,
                categories=", ".join(CATEGORIES),
                train=TRAIN_IMAGES,
                good=TEST_GOOD_IMAGES,
                each=TEST_IMAGES_PER_KIND,
            ),
            encoding="utf-8",
        )
        write_marker(
            partial,
            {
                "synthetic": True,
                "made_by": f"patchbank {version('patchbank')} make-surfaces",
                "seed": seed,
                "image_size": image_size,
            },
        )
    return len(tasks)


def _tasks(seed: int) -> Iterator[_Task]:
    for place, (category, kinds) in enumerate(CATEGORIES.items()):
        sets = [("train", GOOD, TRAIN_IMAGES), ("test", GOOD, TEST_GOOD_IMAGES)]
        sets += [("test", kind, TEST_IMAGES_PER_KIND) for kind in kinds]
        for part, (split, kind, count) in enumerate(sets):
            for number in range(count):
                yield _Task(category, split, kind, number, (seed, place, part, number))


def _write(root: Path, task: _Task, side: int) -> None:
    drawing = draw(task.category, None if task.kind == GOOD else task.kind, task.key, side)
    # Grain does not compress: more effort takes a third of the time and saves a twentieth.
    image = Image.fromarray(drawing.image)
    image.save(root / _image_name(task), compress_level=1, pnginfo=image_marker())
    if task.kind != GOOD:
        mask = np.where(drawing.mask, 255, 0).astype(np.uint8)
        Image.fromarray(mask).save(root / _mask_name(task))


def _finish(waiting: list[Future[None]], progress: Progress) -> None:
    for done, future in enumerate(as_completed(waiting), start=1):
        future.result()
        progress("surfaces", done, len(waiting))


def _image_name(task: _Task) -> Path:
    return Path(task.category, task.split, task.kind, f"{task.number:03}.png")


def _mask_name(task: _Task) -> Path:
    return Path(task.category, "ground_truth", task.kind, f"{task.number:03}_mask.png")
