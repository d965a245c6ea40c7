"""Files of a report: written whole or not at all, with errors a user understands."""

from __future__ import annotations

import contextlib
import errno
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from patchbank.errors import DiskFullError, MissingExtraError, ReportError

_REPORT_PACKAGES = ("jinja2", "matplotlib")
_PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.(partial|old)")


def check_report_packages(extra: str = "report") -> None:
    """Raise `MissingExtraError` where the packages that pages need are not installed."""
    import importlib.util

    if any(importlib.util.find_spec(name) is None for name in _REPORT_PACKAGES):
        raise MissingExtraError(
            "the report needs packages that are not installed; "
            f"run: pip install 'patchbank[{extra}]'"
        )


@contextlib.contextmanager
def writing_report(folder: str | Path) -> Iterator[None]:
    """Turn what the system says of a failed writing below `folder` into our errors.

    Raises
    ------
    DiskFullError, ReportError
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"no space left on the disk for the report in {folder}; free some and repeat"
            ) from error
        raise ReportError(
            f"the report cannot be written to {folder}: {error.strerror}; give another folder"
        ) from error


def make_writable(folder: Path, *inner: Path, page: Path) -> None:
    """Make folders and check that files can be written there and the page replaced.

    Raises
    ------
    DiskFullError, ReportError
        If not: better before the work than after it.
    """
    with writing_report(folder):
        for one in (folder, *inner):
            if one.is_file():
                raise ReportError(
                    f"the report cannot be written to {folder}: "
                    f"{'it' if one == folder else one.name} is a file; give another folder"
                )
            one.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=one) as probe:
                probe.write(b"probe")
    if page.is_dir():
        raise ReportError(
            f"the report cannot be written to {folder}: {page.name} is a folder there; "
            "give another folder"
        )


def replace_text(path: Path, text: str) -> None:
    """Write a file that is there whole or as it was before."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        # A name that is not valid UTF-8 holds what cannot be encoded.
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        draft.replace(path)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Yield a folder to write to; it takes the place of `target` when all went well.

    Raises
    ------
    DiskFullError, ReportError
        If the folder cannot be made or moved.
    """
    token = secrets.token_hex(4)
    partial = target.with_name(f".{target.name}.{token}.partial")
    old = target.with_name(f".{target.name}.{token}.old")
    try:
        with writing_report(target.parent):
            partial.mkdir(parents=True)
        yield partial
        with writing_report(target.parent):
            if target.exists():
                target.rename(old)
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def remove_partial(parent: Path) -> None:
    """Remove what `replaced_folder` left in a folder when its process was killed."""
    for left in parent.glob(".*.*"):
        if _PARTIAL.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)
