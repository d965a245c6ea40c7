"""A temporary home with an embedded database, and what its processes cost."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from patchbank.datasets.demo import demo_split
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.store.embedded.server import EmbeddedServer

CATEGORY = "cells"


@dataclass(frozen=True)
class Place:
    """A workspace whose home is removed after the measurement."""

    home: Path
    workspace: Workspace
    server: EmbeddedServer

    def database_seconds(self) -> float:
        """Return the processor seconds of the database's processes so far, ended ones included."""
        pid = self.server.status().pid
        if pid is None:
            return 0.0
        postmaster = psutil.Process(pid)
        times = postmaster.cpu_times()
        seconds = times.user + times.system
        # Linux adds up those whose end the postmaster has seen.
        seconds += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        for child in postmaster.children(recursive=True):
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            seconds += times.user + times.system
        return float(seconds)


@contextmanager
def temporary_place() -> Iterator[Place]:
    """Lend a workspace in a new home; its server is stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        server = EmbeddedServer(home)
        try:
            with Workspace(home=home) as workspace:
                yield Place(home, workspace, server)
        finally:
            server.stop()


def measure() -> None:
    """Fit a few images. In a process before others, it leaves them Numba's kernels compiled.

    To compile them takes more memory than a small fit does.
    """
    with temporary_place() as place:
        paths = [sample.path for sample in demo_split("mono").train[:5]]
        fit(place.workspace, CATEGORY, paths, FitSettings())
