"""What a benchmark keeps of a category it is done with, and whether that still holds."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from patchbank.datasets.samples import CategorySamples, Sample
from patchbank.errors import ReportError
from patchbank.files import LARGEST_TEXT, new_folder, read_regular, remove_drafts
from patchbank.inspection.settings import FitSettings
from patchbank.locks import FileLock
from patchbank.reports.writing import replace_text, writing_report

# Raised when what is kept changes its form.
_FORMAT = 10
_RESULT = "result.json"
_CATEGORIES = "categories"
_MAPS = "maps"
_LOCK = ".benchmark.lock"
# What computes the figures.
_PACKAGES = ("patchbank", "numpy", "openvino", "numba", "scipy", "scikit-learn", "pillow")


def versions() -> dict[str, str]:
    """Return the versions of what computes the figures."""
    return {"python": platform.python_version()} | {
        package: metadata.version(package) for package in _PACKAGES
    }


def identity(
    samples: CategorySamples,
    dataset: str,
    settings: FitSettings,
    fingerprint: str,
    aupro_limit: float,
    synthetic: bool,
) -> dict[str, Any]:
    """Return all that a category's figures depend on, in JSON's types.

    Files are taken by name, size and time of change: reading them would take as long as judging.
    """
    files = [
        [
            *(sample.name, sample.label, sample.kind, sample.split, _state(sample.path)),
            None if sample.mask is None else [_state(path) for path in sample.mask.paths],
        ]
        for sample in (*samples.train, *samples.test)
    ]
    return {
        "format": _FORMAT,
        "data set": dataset,
        "files": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
        "settings": {**settings.to_json(), **settings.extractor.to_json()},
        "to_choose": sorted(settings.to_choose),
        "budget_ms": settings.budget_ms,
        "fingerprint": fingerprint,
        "AUPRO limit": aupro_limit,
        "synthetic": synthetic,
        "versions": versions(),
    }


def _state(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None  # reported when it is read
    return [found.st_size, found.st_mtime_ns]


class KeptResults:
    """The folder of a benchmark, with a folder for each category that is done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.categories = folder / _CATEGORIES

    def check_own(self) -> None:
        """Refuse a folder that has files but is not that of a benchmark.

        Raises
        ------
        ReportError
            If so; nothing is written to it.
        """
        with writing_report(self.folder):
            names = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        # A copy may lack the lock; a run that was killed at once has left one empty folder.
        is_own = _LOCK in names or names >= {_CATEGORIES, "results.json"} or names == {_CATEGORIES}
        if names and not is_own:
            raise ReportError(
                f"{self.folder} has files that are not a benchmark's, such as {min(names)}; give a "
                "new or an empty folder, or that of an earlier benchmark"
            )

    def place(self, category: str, seed: int) -> str:
        """Return a category's folder relative to the benchmark's; any name makes a safe one."""
        words = re.sub(r"[^A-Za-z0-9_-]+", "-", category).strip("-")[:60]
        digest = hashlib.sha256(category.encode("utf-8", "surrogateescape")).hexdigest()
        return f"{_CATEGORIES}/{words}-{digest[:8]}" + (f"-seed-{seed}" if seed else "")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other benchmarks out of the folder; the kernel lets go when the process ends.

        What a killed one left half-written is removed.

        Raises
        ------
        ReportError
            If another one is writing there.
        """
        lock = FileLock(self.folder / _LOCK, mode=0o666)
        with writing_report(self.folder):
            is_free = lock.try_acquire()
        if not is_free:
            raise ReportError(
                f"another benchmark is writing to {self.folder}; wait until it ends, or give "
                "another folder"
            )
        try:
            remove_drafts(self.categories)
            yield
        finally:
            lock.release()

    def find(self, place: str, wanted: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """Return what is kept in a category's folder, or None and why it has to be done again.

        The reason is empty where nothing was kept. What is kept counts if it is whole and was made
        with the `wanted` identity.
        """
        folder = self.folder / place
        try:
            document = json.loads(read_regular(folder / _RESULT, LARGEST_TEXT))
            known = document["identity"]
            files = dict(document["files"])
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError, KeyError, TypeError):
            return None, "its earlier result cannot be read"
        changed = [name for name in wanted if known.get(name) != wanted[name]]
        if changed:
            return None, f"changed since the earlier run: {', '.join(changed)}"
        present = _sizes(folder)
        if any(present.get(name) != size for name, size in files.items()):
            return None, "files of its earlier result are missing or changed"
        return document, ""

    @contextmanager
    def keeping(self, place: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield a new folder for a category's files, and a document; both are kept at the end.

        They take the place of what was kept before in one step, so an interrupt leaves either.
        """
        document: dict[str, Any] = {}
        target = self.folder / place
        with writing_report(self.folder), new_folder(target, replace=True) as new:
            yield new, document
            document["files"] = _sizes(new)
            text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1)
            replace_text(new / _RESULT, text)


def _sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of each file below a folder, by its name from there."""
    return {
        file.relative_to(folder).as_posix(): file.stat().st_size
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def map_files(samples: Iterable[Sample]) -> dict[str, Path]:
    """Return where the score map of each sample lies in its category's folder, by its name.

    That is the sample's own name, as TIFF. Where this is not one of its own or would leave the
    folder, a digest of the name tells it from the others.
    """
    names = [sample.name for sample in samples]
    plain = {name: _plain_map(name) for name in names}
    # Some file systems take capital letters for small ones.
    counts = Counter(str(file).casefold() for file in plain.values())
    files = {}
    for name, file in plain.items():
        if counts[str(file).casefold()] > 1 or ".." in PurePosixPath(name).parts:
            digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
            file = file.with_name(f"{PurePosixPath(name).name}-{digest[:8]}.tiff")
        files[name] = file
    return files


def _plain_map(name: str) -> Path:
    parts = [part for part in PurePosixPath(name).parts if part not in ("..", "/")]
    return Path(_MAPS, *parts).with_suffix(".tiff")
