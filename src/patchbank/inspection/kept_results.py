"""What a benchmark keeps of a category it is done with, and whether that still holds."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from patchbank.datasets.samples import CategorySamples, Sample
from patchbank.inspection.settings import FitSettings
from patchbank.reports.writing import replace_text, replaced_folder, writing_report

# Raised when what is kept changes its form.
_FORMAT = 1
_RESULT = "result.json"
_CATEGORIES = "categories"
_MAPS = "maps"
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
        "fingerprint": fingerprint,
        "AUPRO limit": aupro_limit,
        "versions": versions(),
    }


def _state(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None  # reported when it is read
    return [found.st_size, found.st_mtime_ns]


class KeptResults:
    """The folder of a benchmark: a folder for each category that is done, and score maps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.categories = folder / _CATEGORIES
        self.maps = folder / _MAPS

    def place(self, category: str) -> str:
        """Return a category's folder relative to the benchmark's; any name makes a safe one."""
        words = re.sub(r"[^A-Za-z0-9_-]+", "-", category).strip("-")[:60]
        digest = hashlib.sha256(category.encode("utf-8", "surrogateescape")).hexdigest()
        return f"{_CATEGORIES}/{words}-{digest[:8]}"

    def find(
        self, category: str, wanted: dict[str, Any], maps: Iterable[Sample]
    ) -> tuple[dict[str, Any] | None, str]:
        """Return what is kept of a category, or None and why it has to be done again.

        The reason is empty where nothing was kept. What is kept counts if it is whole and was made
        with the `wanted` identity, and the score maps of the samples are there.
        """
        folder = self.folder / self.place(category)
        try:
            document = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
            known = document["identity"]
            files = document["files"]
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError, KeyError, TypeError):
            return None, "what was kept of it cannot be read"
        changed = [name for name in wanted if known.get(name) != wanted[name]]
        if changed:
            return None, f"changed since it was kept: {', '.join(changed)}"
        if not all((folder / name).is_file() for name in files):
            return None, "pictures that were kept of it are gone"
        if not all(self.map_file(sample).is_file() for sample in maps):
            return None, "score maps that were kept of it are gone"
        return document, ""

    @contextmanager
    def keeping(self, category: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield a folder for a category's files, and a document; both are kept at the end.

        They take the place of what was kept before in one step, so an interrupt leaves either.
        """
        document: dict[str, Any] = {}
        with (
            writing_report(self.folder),
            replaced_folder(self.folder / self.place(category)) as new,
        ):
            yield new, document
            document["files"] = sorted(path.name for path in new.iterdir())
            text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1)
            replace_text(new / _RESULT, text)

    def map_file(self, sample: Sample) -> Path:
        """Return where the score map of a sample lies: its own name below `maps`, as TIFF."""
        parts = [part for part in PurePosixPath(sample.name).parts if part not in ("..", "/")]
        return self.maps.joinpath(*parts).with_suffix(".tiff")
