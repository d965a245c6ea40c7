"""Write the files of a report, whole or not at all, with errors a user understands."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TextIO

from patchbank.environment import install_command
from patchbank.errors import MissingExtraError, ReportError
from patchbank.files import new_file, writing

_REPORT_PACKAGES = ("jinja2", "matplotlib")


def check_report_packages(extra: str = "report") -> None:
    """Raise `MissingExtraError` if the packages that a report needs are not installed."""
    import importlib.util

    if any(importlib.util.find_spec(name) is None for name in _REPORT_PACKAGES):
        raise MissingExtraError(
            "the report needs packages that are not installed; "
            f"run: {install_command(f'patchbank[{extra}]')}"
        )


def writing_report(folder: str | Path) -> contextlib.AbstractContextManager[None]:
    """Turn errors from writing below `folder` into our own."""
    return writing("the report", folder, ReportError, "give another folder")


def check_own_folder(folder: Path, *own: str) -> None:
    """Refuse a folder with other files than those of an earlier report.

    Parameters
    ----------
    own
        Patterns of the names in the folder of a report, as in globs.

    Raises
    ------
    ReportError
        If so; nothing is written to it.
    """
    with writing_report(folder):
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    other = next((name for name in names if not any(fnmatchcase(name, kind) for kind in own)), None)
    if other is not None:
        raise ReportError(
            f"{folder} has files that are not of a report, such as {other}; give a new or an empty "
            "folder, or that of an earlier report"
        )


def make_writable(folder: Path, *inner: Path, page: Path) -> None:
    """Make folders, and check that files can be written there and the page replaced.

    Raises
    ------
    DiskFullError, ReportError
        If not, before hours of work instead of after.
    """
    with writing_report(folder):
        for path in (folder, *inner):
            if path.is_file():
                raise ReportError(
                    f"the report cannot be written to {folder}: "
                    f"{'it' if path == folder else path.name} is a file; give another folder"
                )
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path) as probe:
                probe.write(b"probe")
    if page.is_dir():
        raise ReportError(
            f"the report cannot be written to {folder}: {page.name} in it is a folder; "
            "give another folder"
        )


def replace_text(path: Path, text: str) -> None:
    """Replace a file in one step: after a failure it is as it was before."""
    with new_file(path) as draft:
        # File names that are not valid UTF-8 hold characters that cannot be encoded.
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def checked_file(file: Path) -> Path:
    """Return where a file is written: a link stays, and what it leads to is written.

    Raises
    ------
    ReportError
        If it is something else than a file, or in no folder; before the work instead of after.
    """
    target = Path(os.path.realpath(file))
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "a device or a pipe"
        raise ReportError(f"{target} is {kind}; give a file, or - for standard output")
    if not target.parent.is_dir():
        raise ReportError(f"{target.parent}: no such file or directory; give another file")
    return target


@contextlib.contextmanager
def new_text(file: Path) -> Iterator[TextIO]:
    """Yield a text file that is written whole or not at all; an earlier file is replaced.

    Raises
    ------
    ReportError, DiskFullError
        If it cannot be written.
    """
    target = checked_file(file)
    with (
        writing(f"the file {target.name}", target.parent, ReportError, "give another file"),
        new_file(target) as draft,
        draft.open("w", encoding="utf-8", errors="backslashreplace", newline="") as text,
    ):
        yield text
