"""Files of a report: written whole or not at all, with errors a user understands."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from patchbank.errors import MissingExtraError, ReportError
from patchbank.files import new_file, writing

_REPORT_PACKAGES = ("jinja2", "matplotlib")


def check_report_packages(extra: str = "report") -> None:
    """Raise `MissingExtraError` where the packages that pages need are not installed."""
    import importlib.util

    if any(importlib.util.find_spec(name) is None for name in _REPORT_PACKAGES):
        raise MissingExtraError(
            "the report needs packages that are not installed; "
            f"run: pip install 'patchbank[{extra}]'"
        )


def writing_report(folder: str | Path) -> contextlib.AbstractContextManager[None]:
    """Turn what the system says of a failed writing below `folder` into our errors."""
    return writing("the report", folder, ReportError, "give another folder")


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
    with new_file(path) as draft:
        # A name that is not valid UTF-8 holds what cannot be encoded.
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
