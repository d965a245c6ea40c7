"""The commands for recorded inspections, with 200,000 of them in the database.

They are spread over ten days, a twentieth of them failed. Each command runs in a process of its
own, from its start to its end, on an embedded server that is up; the CSV file is of one day.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import spread
from patchbank.inspection.workspace import Workspace
from patchbank.store.bank_content import BankContent, CalibrationScores, ReferenceImage

INSPECTIONS, DAYS, ROUNDS = 200_000, 10, 7

# Every verdict comes at any time of the day; regions and similar images as an inspection has them.
_RECORD = """
insert into inspection (
    category_id, version, image_name, sha256, verdict, score, pass_below, fail_above, p_value,
    regions, similar_images, timings_ms, inspected_at
)
select
    category_id, 1, 'line-1/' || number || '.png', sha256(number::text::bytea),
    case when number %% 20 = 7 then 'fail' else 'pass' end, 1 + number %% 1000 / 1000.0, 2, 2, 0.5,
    case when number %% 20 = 7
        then '[{"box_xyxy": [10, 20, 30, 40], "area_pixels": 400, "area_percent": 0.8,
            "peak_score": 3.5}]'
        else '[]'
    end::jsonb,
    nearest.images, '{"decode": 1.2, "network": 12.5, "search": 3.1, "total": 17.0}',
    date_trunc('day', now()) + interval '1 day' - (number * %(step)s) * interval '1 second'
from category, generate_series(1, %(count)s) as number, (
    select jsonb_agg(jsonb_build_object(
        'image', 'good/' || rank || '.png', 'similarity', 1 - rank / 100.0, 'itself', false
    )) as images
    from generate_series(1, 10) as rank
) as nearest
"""

_COMMANDS = {
    "the last 50": (),
    "the last 50 that failed": ("--verdict", "fail"),
    "those that failed yesterday": (
        "--since", "yesterday", "--until", "yesterday", "--verdict", "fail", "--limit", "1000",
    ),
    "a day as CSV": ("--since", "yesterday", "--until", "yesterday", "--csv", "day.csv"),
    "a day as JSON": ("--since", "yesterday", "--until", "yesterday", "--json"),
    "all as CSV": ("--csv", "all.csv"),
}  # fmt: skip


def main() -> dict[str, Any]:
    """Measure, print, and return the figures."""
    with tempfile.TemporaryDirectory() as folder, Workspace(home=Path(folder)) as workspace:
        database = workspace.database
        database.banks.save("part", _bank())
        with database.connection(long=True) as connection:
            parameters = {"count": INSPECTIONS, "step": DAYS * 86_400 / INSPECTIONS}
            connection.execute(_RECORD.encode(), parameters)
        with database.connection(long=True) as connection:
            connection.execute("analyze inspection")
            row = connection.execute("select pg_indexes_size('inspection')").fetchone()
        assert row is not None
        figures: dict[str, Any] = {
            "inspections": INSPECTIONS,
            "of a day": INSPECTIONS // DAYS,
            "megabytes of indexes": round(row[0] / 1e6, 1),
        }
        seconds: dict[str, list[float]] = {name: [] for name in _COMMANDS}
        for _ in range(ROUNDS):
            for name, options in _COMMANDS.items():
                seconds[name].append(_timed(Path(folder), options))
        figures["seconds"] = {name: spread(taken) for name, taken in seconds.items()}
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    return figures


def _timed(home: Path, options: tuple[str, ...]) -> float:
    command = [sys.executable, "-m", "patchbank", "inspections", "part", *options]
    environment = {**os.environ, "PATCHBANK_HOME": str(home)}
    # An installation has its modules compiled.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    subprocess.run(command, cwd=home, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def _bank() -> BankContent:
    """Return a small bank: inspections refer to one."""
    numbers = np.arange(2)
    return BankContent(
        extractor_fingerprint="none",
        extractor={},
        settings={"image_score": "top8", "false_alarm_rate": 0.01},
        coreset_ratio=1.0,
        covering_radius=0.0,
        features=np.eye(2, dtype=np.float32),
        patch_image=numbers,
        patch_row=numbers.astype(np.int16),
        patch_column=numbers.astype(np.int16),
        images=[ReferenceImage(f"{n}.png", f"{n:064x}", 8, 8, b"") for n in numbers],
        embeddings=np.eye(2, dtype=np.float32),
        embedding_mean=np.zeros(2, np.float32),
        scores=CalibrationScores.of_images(numbers, np.ones(2), np.ones(2)),
    )


if __name__ == "__main__":
    main()
