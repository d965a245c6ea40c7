"""How a fit and an inspection grow with the number of reference images; draws a log-log chart.

The images are the demo set's polycrystalline cells, of which there are 920 good ones: none is made
up, and the fewer are always among the more.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.apart import measured_apart
from benchmarks.memory import peak_bytes
from benchmarks.place import CATEGORY, temporary_place
from benchmarks.timing import spread, spread_text
from patchbank.datasets.demo import demo_split
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import FitSettings

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "growth.png"
#: How often each number of images is measured, each time in a process of its own.
RUNS = {50: 5, 100: 5, 200: 5, 400: 5, 800: 5}
INSPECTED = 100
WARM_UP = 5
STAGES = ("features", "coreset", "calibration", "database", "total")
PEAK, NEIGHBOURS, INSPECTION = "peak_megabytes", "neighbours_ms", "inspection_ms"

_PANELS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("fit", "seconds", {name: name for name in STAGES}),
    ("peak memory of the fit", "megabytes", {PEAK: "resident"}),
    ("one inspection, warm", "milliseconds", {INSPECTION: "total", NEIGHBOURS: "neighbours"}),
)
_COLOURS = {
    "features": "#0072b2",
    "coreset": "#d55e00",
    "calibration": "#009e73",
    "database": "#cc79a7",
    "total": "#222222",
    PEAK: "#222222",
    INSPECTION: "#222222",
    NEIGHBOURS: "#d55e00",
}


def measure(images: int, most: int = max(RUNS), inspected: int = INSPECTED) -> dict[str, Any]:
    """Fit and inspect in this process; its peak memory is the process's."""
    paths = [sample.path for sample in demo_split("poly", reference=images).train]
    # None of these is ever learned from. Every second one is defective.
    others = demo_split("poly", reference=most).test
    judged = [
        sample.path
        for label in ("good", "anomalous")
        for sample in [sample for sample in others if sample.label == label][
            : (inspected + WARM_UP + 1) // 2
        ]
    ]
    np.random.default_rng(0).shuffle(judged)
    with temporary_place() as place:
        # Before the clock starts: the database is made, the network and the kernels are read.
        fit(place.workspace, "warm-up", paths[:5], FitSettings())
        used = time.process_time()
        report = fit(place.workspace, CATEGORY, paths, FitSettings())
        used, peak = time.process_time() - used, peak_bytes()
        inspector = Inspector(place.workspace, CATEGORY)
        runs = [inspector.inspect(path).timings_ms for path in judged][WARM_UP:]
    return {
        **{name: report.timings_s[name] for name in STAGES},
        "processor": used,
        PEAK: peak / 1e6,
        NEIGHBOURS: statistics.median(run["neighbours"] for run in runs),
        INSPECTION: statistics.median(run["total"] for run in runs),
        "bank_rows": len(report.bank.features),
        "streamed": report.bank.streaming is not None,
    }


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of the straight line through the points on log-log paper."""
    slope, _ = np.polyfit(np.log(sizes), np.log(values), 1)
    return round(float(slope), 2)


def grow(runs: Mapping[int, int]) -> dict[str, Any]:
    """Measure all sizes; where a size is measured more than once, medians count."""
    measured_apart("place")
    found: dict[int, list[dict[str, Any]]] = {size: [] for size in runs}
    for turn in range(max(runs.values())):
        for size in (size for size, count in runs.items() if turn < count):
            run = measured_apart("growth", images=size, most=max(runs))
            found[size].append(run)
            print(
                f"  {size} images, run {turn + 1} of {runs[size]}: fit {run['total']:.1f} s,"
                f" {run[PEAK]:,.0f} MB, inspection {run[INSPECTION]:.1f} ms",
                flush=True,
            )
    sizes = list(found)
    names = (*STAGES, "processor", PEAK, NEIGHBOURS, INSPECTION)
    by_size = {
        name: [spread((run[name] for run in found[size]), 2) for size in sizes] for name in names
    }
    return {
        "images": sizes,
        "runs": [len(found[size]) for size in sizes],
        "bank_rows": [found[size][0]["bank_rows"] for size in sizes],
        "streamed": [any(run["streamed"] for run in found[size]) for size in sizes],
        "figures": by_size,
        "exponents": {
            name: {
                "all": exponent(sizes, [value["median"] for value in values]),
                "last doubling": exponent(sizes[-2:], [value["median"] for value in values[-2:]]),
            }
            for name, values in by_size.items()
        },
    }


def draw(document: Mapping[str, Any], picture: Path) -> None:
    """Draw the chart: seconds of a fit, its memory, milliseconds of an inspection."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    sizes = document["images"]
    figure = Figure(figsize=(11, 4.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for axes, (title, unit, names) in zip(figure.subplots(1, 3), _PANELS, strict=True):
        for name, label in names.items():
            values = [times["median"] for times in document["figures"][name]]
            slope = document["exponents"][name]["all"]
            axes.loglog(
                sizes,
                values,
                "o-",
                color=_COLOURS[name],
                label=f"{label}: slope {slope:.2f}",
                linewidth=1.8,
                markersize=4,
            )
        # From the topmost line's beginning.
        linear = [
            max(line.get_ydata()[0] for line in axes.lines) * size / sizes[0] for size in sizes
        ]
        axes.loglog(sizes, linear, ":", color="#8a929c", label="slope 1", linewidth=1.3)
        low, high = axes.get_ylim()
        axes.set_ylim(low, max(high, low * 10))
        axes.set(title=title, ylabel=unit, xlabel="reference images")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.grid(color="#e3e6ea")
        axes.set_axisbelow(True)
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            ncols=2,
            fontsize=8.5,
            frameon=False,
            handlelength=1.5,
            columnspacing=1,
        )
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)


def main() -> dict[str, Any]:
    """Measure each run in a fresh process, print and draw."""
    document = grow(RUNS)
    draw(document, PICTURE)
    print("medians; exponent over all sizes, and over the last doubling")
    for name, values in document["figures"].items():
        slopes = document["exponents"][name]
        medians = ", ".join(f"{value['median']:,g}" for value in values)
        print(f"  {name:<14} {medians}: {slopes['all']:.2f}, {slopes['last doubling']:.2f}")
    for size, count, total in zip(
        document["images"], document["runs"], document["figures"]["total"], strict=True
    ):
        print(f"  fit of {size}: {spread_text(total, ' s')}, runs: {count}")
    return document
