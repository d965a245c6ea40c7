"""``python -m benchmarks.versions``: what a change of one image costs in a large bank.

A bank of 15,680 patches of 1,536 random dimensions and 200 images, on an embedded server of its
own. One process exchanges images, one at a time; another, which has the bank in memory, takes each
change over.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import load, spread
from patchbank.inspection.judging.live_bank import LiveBank
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.store.bank_content import BankContent, CalibrationScores, ReferenceImage
from patchbank.store.database import Database
from patchbank.store.stored_bank import BankChange

PATCHES, DIMENSIONS, IMAGES, PER_IMAGE = 15_680, 1_536, 200, 78
CHANGES = 40
THUMBNAIL = b"\xff\xd8\xff" + bytes(5_000)


def main() -> None:
    """Measure and print."""
    if len(sys.argv) > 1:
        _follow(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder, Workspace(home=Path(folder)) as workspace:
        print(f"{PATCHES:,} x {DIMENSIONS}, {IMAGES} images; {load()}")
        database = workspace.database
        bank = _bank(workspace)
        start = time.perf_counter()
        database.banks.save("random", bank)
        print(f"saved in {time.perf_counter() - start:.2f} s")
        start = time.perf_counter()
        database.banks.active("random")
        print(f"read whole in {time.perf_counter() - start:.2f} s")
        follower = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.versions", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        assert follower.stdin is not None
        assert follower.stdout is not None
        assert follower.stdout.readline() == "ready\n"
        written, saving, seen = [], [], []
        random = np.random.default_rng(1)
        for number in range(CHANGES):
            change, key = _exchange(database, bank, number, random)
            before = _log_position(database)
            start = time.perf_counter()
            version = database.banks.change("random", key, change, cause="benchmark")
            saving.append(1e3 * (time.perf_counter() - start))
            written.append((_log_position(database) - before) / 1e6)
            print(version, file=follower.stdin, flush=True)
            seen.append(float(follower.stdout.readline()))
        follower.stdin.close()
        follower.wait()
        figures = {
            "megabytes written to the log for a change": spread(written, 3),
            "milliseconds to save it": spread(saving),
            "milliseconds until another process judges by it": spread(seen),
            "of these under 50, per cent": 100 * float(np.mean(np.array(seen) < 50)),
        }
        for name, figure in figures.items():
            print(f"{name}: {figure}")
        print(json.dumps(figures))


def _follow(home: Path) -> None:
    """Take over each version that is named on standard input; print how long that took."""
    with Workspace(home=home) as workspace:
        live = LiveBank(workspace, "random")
        print("ready", flush=True)
        for line in sys.stdin:
            start = time.perf_counter()
            ready = live.refresh()
            milliseconds = 1e3 * (time.perf_counter() - start)
            assert ready.stored.version == int(line)
            print(milliseconds, flush=True)


def _bank(workspace: Workspace) -> BankContent:
    random = np.random.default_rng(0)
    settings = make_fit_settings()
    extractor = workspace.extractor(settings.extractor)
    row, column = np.divmod(np.arange(PATCHES) % 784, 28)
    images = [
        ReferenceImage(f"{number}.png", f"{number:064x}", 224, 224, THUMBNAIL)
        for number in range(IMAGES)
    ]
    return BankContent(
        extractor_fingerprint=extractor.fingerprint,
        extractor=extractor.describe(),
        settings=settings.to_json(),
        coreset_ratio=0.1,
        covering_radius=1.0,
        features=random.normal(size=(PATCHES, DIMENSIONS)).astype(np.float32),
        patch_image=np.arange(PATCHES) % IMAGES,
        patch_row=row.astype(np.int16),
        patch_column=column.astype(np.int16),
        images=images,
        embeddings=random.normal(size=(IMAGES, DIMENSIONS)).astype(np.float32),
        embedding_mean=np.zeros(DIMENSIONS, np.float32),
        scores=CalibrationScores.of_images(
            np.arange(IMAGES), random.random(IMAGES), random.random(IMAGES)
        ),
    )


def _exchange(
    database: Database, bank: BankContent, number: int, random: np.random.Generator
) -> tuple[BankChange, Any]:
    """Return a change in which the image that was there longest goes and another one comes."""
    stored = database.banks.active("random")
    content = stored.content
    row, column = np.divmod(np.arange(PER_IMAGE), 28)
    scores = content.scores.rows(content.scores.image != 0)
    image = ReferenceImage(f"new-{number}.png", f"{10**6 + number:064x}", 224, 224, THUMBNAIL)
    came = replace(
        content,
        features=random.normal(size=(PER_IMAGE, DIMENSIONS)).astype(np.float32),
        patch_image=np.full(PER_IMAGE, IMAGES - 1),
        patch_row=row.astype(np.int16),
        patch_column=column.astype(np.int16),
        images=[image],
        embeddings=random.normal(size=(1, DIMENSIONS)).astype(np.float32),
        scores=replace(scores, image=scores.image - 1).with_more(
            CalibrationScores.of_images([IMAGES - 1], random.random(1), random.random(1))
        ),
    )
    gone = stored.ordinals[content.patch_image == 0]
    return BankChange(came, gone, stored.positions[:1]), stored.key


def _log_position(database: Database) -> int:
    with database.connection() as connection:
        row = connection.execute("select pg_current_wal_insert_lsn() - '0/0'").fetchone()
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    main()
