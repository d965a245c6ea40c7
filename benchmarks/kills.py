"""How soon a long-lived inspector answers after the embedded server was killed."""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np

from patchbank.errors import DatabaseError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.store.embedded.server import EmbeddedServer


def measure(home: Path, kills: int) -> tuple[list[float], list[int]]:
    """Return the seconds from each kill to the next answer, and how many calls failed before it."""
    random = np.random.default_rng(0)
    images = [random.integers(100, 140, (96, 96, 3), dtype=np.uint8) for _ in range(12)]
    names = [f"{number}.png" for number in range(12)]
    seconds, failures = [], []
    with Workspace(home=home) as workspace:
        fit(workspace, "noise", images, make_fit_settings(image_size=96), names=names)
        inspector = Inspector(workspace, "noise")
        for number in range(kills):
            inspector.inspect(images[0], name=f"before {number}")
            # Not always at the same point of the inspector's life.
            time.sleep(float(random.uniform(0.0, 0.3)))
            pid = EmbeddedServer(home).status().pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            begun = time.perf_counter()
            failed = 0
            while True:
                try:
                    inspector.inspect(images[0], name=f"after {number}")
                    break
                except DatabaseError:
                    failed += 1
            seconds.append(time.perf_counter() - begun)
            failures.append(failed)
        names_seen = {
            record.image_name for record in workspace.database.inspections.recent("noise")
        }
        assert {f"after {number}" for number in range(kills)} <= names_seen
    EmbeddedServer(home).stop()
    return seconds, failures


def main() -> None:
    """Print the distribution."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    with tempfile.TemporaryDirectory() as folder:
        seconds, failures = measure(Path(folder) / "home", parser.parse_args().kills)
    print(
        f"{len(seconds)} kills: median {np.median(seconds):.2f} s, worst {max(seconds):.2f} s; "
        f"{sum(failures)} calls failed before an answer"
    )
    print(" ".join(f"{second:.2f}" for second in sorted(seconds)))


if __name__ == "__main__":
    main()
