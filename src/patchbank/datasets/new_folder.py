"""The folder of a data set, which appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patchbank.errors import DatasetError
from patchbank.files import new_folder, writing


def refuse_filled(target: Path) -> None:
    """Refuse a target that is neither missing nor an empty folder.

    Raises
    ------
    DatasetError
        If it holds anything, or is no folder.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise DatasetError(f"{target} is not a folder; give a new or an empty one")
    if target.is_dir() and any(target.iterdir()):
        raise DatasetError(f"{target} is not empty; give a new or an empty folder")


@contextmanager
def writing_set(target: Path, content: str) -> Iterator[Path]:
    """Yield a folder to write to, which takes the target's name when all went well.

    Parameters
    ----------
    target
        A new or an empty folder.
    content
        What is written, for messages.
    """
    remedy = "give another folder"
    with writing(content, target, DatasetError, remedy), new_folder(target) as draft:
        yield draft
