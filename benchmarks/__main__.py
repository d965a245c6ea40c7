"""``python -m benchmarks [NAME...]``: run all measurements, or those named; keep them as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import accuracy, coreset, extractor, large_fit, neighbours, similarity, stages

MEASUREMENTS = {
    "accuracy": accuracy.main,
    "coreset": coreset.main,
    "extractor": extractor.main,
    "large_fit": large_fit.main,
    "neighbours": neighbours.main,
    "similarity": similarity.main,
    "stages": stages.main,
}
RESULTS = Path("build") / "bench"


def main() -> int:
    """Run what is asked for."""
    names = sys.argv[1:] or list(MEASUREMENTS)
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        print(f"benchmarks: {unknown[0]} is none of {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names:
        print(f"== {name}")
        document = MEASUREMENTS[name]()
        (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    return 0


sys.exit(main())
