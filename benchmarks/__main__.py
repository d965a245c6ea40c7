"""``python -m benchmarks [NAME...]``: measure, keep the figures as JSON, write them into the docs.

Every measurement runs in a process of its own, and its result is kept when it ends: after an
interruption, name those that are missing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from benchmarks import apart, results, tables
from benchmarks.apart import INTERRUPTED
from benchmarks.results import MEASUREMENTS, ROOT, TIMED

_TABLES = "tables"
_CODE = """
import sys
from benchmarks import apart, results
apart.end_when_terminated()
try:
    results.run({name!r}, **{arguments!r})
except KeyboardInterrupt:
    sys.exit({interrupted})
"""


def main() -> int:
    """Run what is asked for; return 1 if something failed and 130 if it was interrupted."""
    apart.end_when_terminated()
    names, seconds = _arguments()
    failed = []
    for name in (name for name in names if name != _TABLES):
        print(f"== {name}: {MEASUREMENTS[name].what}", flush=True)
        code = _run_apart(name, {} if seconds is None else {"seconds": seconds})
        if code == INTERRUPTED:
            print(f"\nbenchmarks: interrupted in {name}; what was finished is kept in build/bench")
            return code
        if code:
            failed.append(name)
            print(f"benchmarks: {name} failed; the others go on", file=sys.stderr)
        else:
            tables.update_documents(results.kept())
    if _TABLES in names:
        tables.update_documents(results.kept())
    if failed:
        print(f"benchmarks: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _arguments() -> tuple[list[str], float | None]:
    default = [name for name, measurement in MEASUREMENTS.items() if measurement.by_default]
    others = [name for name in MEASUREMENTS if name not in default]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Without names, run {', '.join(default)}: about twenty minutes on two cores. "
        f"{' and '.join(others)} take longer and run only when named. Figures are kept in "
        "build/bench, tables in docs/performance.md and docs/evaluation.md.",
    )
    parser.add_argument("--list", action="store_true", help="list the measurements and end")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"measurements; or {_TABLES!r}: only write the tables again",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"how long each of {', '.join(TIMED)} runs; needs their names",
    )
    arguments = parser.parse_args()
    if arguments.list:
        for name, measurement in MEASUREMENTS.items():
            note = "" if measurement.by_default else " (only when named)"
            print(f"{name:<12}{measurement.what}{note}")
        sys.exit(0)
    names: list[str] = arguments.names or default
    unknown = [name for name in names if name not in {*MEASUREMENTS, _TABLES}]
    if unknown:
        parser.error(
            f"no measurement {unknown[0]!r}; choose from {', '.join([*MEASUREMENTS, _TABLES])}"
        )
    if arguments.seconds is not None and not set(names) <= {*TIMED, _TABLES}:
        parser.error(f"--seconds is for {', '.join(TIMED)} alone")
    return names, arguments.seconds


def _run_apart(name: str, arguments: dict[str, float]) -> int:
    """Run one measurement in a fresh process and return its exit code."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # Kernels are compiled once, not once for every home that a measurement makes.
    environment.setdefault("NUMBA_CACHE_DIR", str(ROOT / "build" / "numba"))
    # Measured is the embedded database in a temporary folder, never anybody's own.
    environment.pop("PATCHBANK_DATABASE_URL", None)
    code = _CODE.format(name=name, arguments=arguments, interrupted=INTERRUPTED)
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    try:
        with apart.ended_with_us(process):
            return process.wait()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
