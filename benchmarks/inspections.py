"""The commands for recorded inspections, with 200,000 of them in the database.

They are spread over ten days, a twentieth of them failed. Each command runs in a process of its
own, from its start to its end, on an embedded server that is up; the CSV file is of one day.
"""

from __future__ import annotations

import os
import resource
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

_LIST = ("inspections", "part")
_DAY = ("--since", "yesterday", "--until", "yesterday")
_COMMANDS = {
    "the version of patchbank": ("--version",),
    "the last 50": _LIST,
    "the last 50 that failed": (*_LIST, "--verdict", "fail"),
    "the 1,000 that failed yesterday": (*_LIST, *_DAY, "--verdict", "fail", "--limit", "1000"),
    "a day as CSV": (*_LIST, *_DAY, "--csv", "day.csv"),
    "a day as JSON": (*_LIST, *_DAY, "--json"),
    "all as CSV": (*_LIST, "--csv", "all.csv"),
}


def main() -> dict[str, Any]:
    """Measure, print, and return the figures."""
    with tempfile.TemporaryDirectory() as folder, Workspace(home=Path(folder)) as workspace:
        database = workspace.database
        database.banks.save("part", small_bank())
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
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in _COMMANDS}
        for _ in range(ROUNDS):
            for name, arguments in _COMMANDS.items():
                taken[name].append(_timed(Path(folder), arguments))
        for number, unit in enumerate(("seconds", "processor seconds")):
            figures[unit] = {
                name: spread(values[number] for values in rounds) for name, rounds in taken.items()
            }
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    return figures


def _timed(home: Path, arguments: tuple[str, ...]) -> tuple[float, float]:
    """Return the seconds of a command, and those that its processor worked."""
    environment = {**os.environ, "PATCHBANK_HOME": str(home)}
    # An installation has its modules compiled.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "patchbank", *arguments],
        cwd=home, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def small_bank() -> BankContent:
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
