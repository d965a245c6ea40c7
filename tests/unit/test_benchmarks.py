"""The parts of the benchmarks that measure nothing: slopes, ratios, and the tables of the docs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import calibration as calibration_benchmark
from benchmarks import labelled as labelled_benchmark
from benchmarks import results, service, tables
from benchmarks import scores as scores_benchmark
from benchmarks.growth import exponent
from benchmarks.timing import Blocks, in_blocks, ratio, spread_text

COLD: dict[str, Any] = {
    "measurement": "cold",
    "date": "2026-01-02",
    "processor": "A   Processor",
    "cores": 2,
    "system": "Linux x86_64, Python 3.11.7",
    "load before and after": [0.1, 0.9],
    "figures": {
        "starts": 7,
        "seconds": {
            "python -c pass": {"median": 0.01, "least": 0.01, "most": 0.02},
            "patchbank inspect, database running": {"median": 1.5, "least": 1.25, "most": 2.0},
        },
        "processor_seconds": {
            "python -c pass": 0.01,
            "patchbank inspect, database running": 1.75,
        },
        "times as long": {
            "patchbank inspect, database running / python -c pass": {
                "median": 150,
                "least": 125,
                "most": 200,
            }
        },
        "times as long with the database stopped": {"median": 2, "least": 2, "most": 2},
        "without caches, once": {"seconds": 8.5, "processor_seconds": 9, "times as long": 5.7},
    },
}
PAGE = """\
Before.

<!-- bench:glance -->
| old heading |
| --- |
| a coreset | 5 s | a loop | 27 times | `coreset` |
| a command | 9 s | Python | 9 times | `cold` |
<!-- /bench -->

Between.

<!-- bench:cold -->
old table
<!-- /bench -->

<!-- bench:folder -->
kept
<!-- /bench -->
After.
"""


def test_slope_of_a_power() -> None:
    sizes = [50, 100, 200, 400, 800]
    assert exponent(sizes, [3e-4 * size**1.7 for size in sizes]) == 1.7
    assert exponent(sizes, [5.0] * 5) == 0


def test_ratio_is_the_median_of_paired_ratios() -> None:
    # Not the ratio of medians, which is 4 / 2.
    assert ratio([1, 4, 30], [1, 2, 3]) == {"median": 2, "least": 1, "most": 10}
    assert ratio([6, 4, 1], [1, 2, 3]) == {"median": 2, "least": 0.33, "most": 6}
    assert spread_text({"median": 1234.5, "least": 0.0714, "most": 12.34}, " s") == (
        "1,234 s (0.0714 to 12.3)"
    )


def test_only_quiet_blocks_count_where_there_are_enough() -> None:
    def blocks(quiet: list[bool]) -> Blocks:
        return Blocks(
            calls={"a": [[4, 4, 9], [2, 2, 2], [6, 6, 6]], "b": [[1, 1, 1], [2, 2, 2], [1, 1, 1]]},
            processor={"a": [1, 2, 3], "b": [1, 2, 3]},
            results={"a": [], "b": []},
            fewest=2,
            quiet=quiet,
        )

    assert blocks([True, False, True]).ratio("a", "b") == {"median": 5, "least": 4, "most": 6}
    disturbed = blocks([False, False, True])
    assert disturbed.ratio("a", "b") == {"median": 4, "least": 1, "most": 6}
    assert disturbed.figures("a")["quiet"] is False


def test_blocks_run_in_turns_and_go_on_counting() -> None:
    seen: dict[str, list[int]] = {"a": [], "b": []}
    blocks = in_blocks(
        {name: seen[name].append for name in seen}, calls=2, quiet=99, fewest=3, seconds=0
    )
    # The first call of a block warms up and is not counted.
    assert seen["a"] == seen["b"] == [0, 0, 1, 2, 2, 3, 4, 4, 5]
    assert [len(one) for one in blocks.calls["a"]] == [2, 2, 2]


def test_tables_are_written_from_the_results_and_others_kept() -> None:
    page = tables.with_tables(PAGE, {"cold": COLD})
    assert "old table" not in page
    assert "old heading" not in page
    assert "\nkept\n" in page
    assert page.startswith("Before.\n\n<!-- bench:glance -->\n| item | figure |")
    assert page.endswith("<!-- /bench -->\nAfter.\n")
    # The row of the coreset, which has no result here, stays; that of the command is new.
    assert page.count("`coreset` |") == 1
    assert "9 times" not in page
    assert (
        "| 1.5 s (1.25 to 2) | `python -c pass`, 0.01 s (0.01 to 0.02) | 150 (125 to 200)" in page
    )
    assert "2026-01-02: A Processor, 2 cores" in page
    assert "load 0.1 before and 0.9 after" in page
    assert "| patchbank inspect, nothing compiled (one run) | 8.50 | 9.00 |" in page
    assert tables.with_tables(page, {"cold": COLD}) == page


def test_a_disturbed_figure_says_so() -> None:
    disturbed = {**COLD, "load before and after": [0.5, 6.5]}
    assert "disturbed" not in tables.with_tables(PAGE, {"cold": COLD})
    assert "(1.25 to 2) (disturbed: load 6.5 on 2 cores) | `python" in tables.with_tables(
        PAGE, {"cold": disturbed}
    )


def test_the_figures_of_a_way_to_score() -> None:
    # 100 references, so the threshold for 1 % is their largest score; 200 good ones judged.
    scores = np.concatenate([np.arange(100), np.arange(-98, 102), [50, 98.5, 100, 200]])
    assert scores_benchmark.figures(scores, references=100, good=200) == {
        "image AUROC": pytest.approx((148.5 + 197 + 198.5 + 200) / 800),
        # Two of the good ones may be above: 100 and 101.
        "recall at 1 % of the judged": 0.5,
        "recall": 0.5,
        "false alarms": 0.01,
    }


def test_a_reference_is_compared_with_the_others_at_its_position() -> None:
    values = np.random.default_rng(0).uniform(1, 2, 13)
    distances = np.broadcast_to(values[:, None, None], (13, 8, 8)).astype(np.float32)
    found = [compared[:, 4, 4] for _, compared in scores_benchmark.by_position(distances, 12)]
    for image, value in enumerate(values):
        others = np.delete(values[:12], image) if image < 12 else values[:12]
        assert [each[image] for each in found] == pytest.approx(
            [
                value / others.mean(),
                (value - others.mean()) / others.std(),
                value / np.sort(others)[10],
            ],
            rel=1e-4,
        )


def test_shares_of_the_splits_are_written_with_their_range() -> None:
    figures = {
        "boards": {"`max`": {"recall": [0.25, 0.5, 0.75], "false alarms": [0, 0, 0.015]}},
        "cells": {"`max`": {"recall": [1, 1, 1], "false alarms": [0, 0, 0]}},
    }
    page = "<!-- bench:scores -->\n<!-- /bench -->\n"
    written = tables.with_tables(page, {"scores": {**COLD, "figures": figures}})
    assert "| recall | boards | cells |" in written
    assert "| `max` | .500 (.250 to .750) | 1.000 (1.000 to 1.000) |" in written
    assert "| `max` | .005 (.000 to .015) | .000 (.000 to .000) |" in written


def test_labelled_defects_change_figures_of_the_other_images_only() -> None:
    random = np.random.default_rng(0)
    summaries = random.normal(size=(300, 10)).astype(np.float32)
    summaries[200:] += 1
    images = labelled_benchmark.Judged(summaries, random.normal(10, 1, 300), 100, 100)
    labelled, counted = np.split(images.anomalous, [20])
    found = labelled_benchmark.figures(images, labelled, counted)
    before, after = found["auroc"]
    assert before == pytest.approx(0.5, abs=0.1)
    assert after > 0.7
    assert all(len(values) == 2 for values in found.values())


def test_the_service_is_written_beside_the_python_api() -> None:
    percentiles = {"p50": 14.0, "p95": 20.0, "p99": 25.0}
    figures = {
        "references": 200,
        "first inspection, ms": 15.5,
        "one client": {
            service.API: percentiles,
            service.ONE: {"p50": 16.0, "p95": 21.0, "p99": 26.0},
            "times as long": {"median": 1.14, "least": 1.1, "most": 1.2},
            "ms above": {"median": 2.0, "least": 1.5, "most": 2.5},
        },
        service.MANY: {"inspections": 1000, "a second": 110.0},
        "load": {
            **{"p50": 80.0, "p95": 110.0, "p99": 140.0},
            "clients": 8,
            "seconds": 60.1,
            "inspections": 5940,
            "a second": 99.0,
            "a second, by tenths": {"median": 99.0, "least": 95.0, "most": 101.0},
            "answered and not in the database": 0,
            "refused as busy": 3,
            "processor ms an inspection": 19.5,
            "of the clients": 1.2,
            "megabytes after each tenth": [400, 404],
            "growth after the first tenth, percent": 1.0,
        },
    }
    page = f"<!-- bench:service -->\n<!-- /bench -->\n{PAGE}"
    written = tables.with_tables(page, {"service": {**COLD, "figures": figures}})
    assert "| service, 1 client | - | 16.0 | 21.0 | 26.0 |" in written
    assert "| service, 8 clients | 99.0 (95.0 to 101.0) | 80.0 | 110.0 | 140.0 |" in written
    assert "takes 2 ms (1.5 to 2.5) more than the Python API" in written
    assert "110.0 a second | 0.90 times as many | `service` |" in written


def test_what_labelled_defects_bring_is_written_without_and_with_them() -> None:
    values = {"auroc": [0.9, 0.93]} | {
        f"{name} {rate}": [0.01, 0.02]
        for name in ("recall", "false alarms")
        for rate in labelled_benchmark.RATES
    }
    figures = {
        "cells": {"mono": {"5": values, "20": values}},
        "surfaces (synthetic)": {"this kind": values},
    }
    page = "<!-- bench:labelled -->\n<!-- /bench -->\n"
    written = tables.with_tables(page, {"labelled": {**COLD, "figures": figures}})
    assert "| mono | .900 → .930 | .900 → .930 |" in written
    assert "| mono: false alarms | .010 → .020 |" in written
    assert "| this kind | .900 → .930 | .010 → .020 |" in written


def test_splits_of_one_set_keep_the_rate_and_splits_of_two_do_not() -> None:
    cells = np.random.default_rng(1).gamma(9, 2, 588)
    orders = [np.random.default_rng([1, seed]).permutation(588) for seed in range(20)]
    splits = np.stack([cells[order] for order in orders])
    scores = calibration_benchmark.SplitScores(splits[:, :200], splits[:, 200:])
    rows = calibration_benchmark.kept_rates(scores)
    assert [row["requested"] for row in rows] == [0.01, 0.02, 0.05, 0.1]
    assert all(row["within"] for row in rows)
    shifted = scores._replace(good=scores.good + 2)
    assert not any(row["within"] for row in calibration_benchmark.kept_rates(shifted))
    # Given the set, a split's rate is beta-binomial: its expectation is exactly what is promised.
    expected = [np.mean(row["expected_95"]) for row in rows]
    assert expected == pytest.approx([row["promised"] for row in rows], rel=0.1)
    estimates = calibration_benchmark.estimated_rates(scores)
    assert {row["references"] for row in estimates} == {100, 200}
    assert all(row["estimated"] < row["highest"] for row in estimates)
    figures = {"mono": {"splits": 20, "judged": 388, "rates": rows, "estimates": estimates}}
    page = tables.with_tables(
        "<!-- bench:calibration -->\n<!-- /bench -->\n",
        {"calibration": {**COLD, "figures": figures}},
    )
    assert f"| mono | 5% | {rows[2]['mean']:.2%} |" in page


def test_rows_of_a_table_are_as_wide_as_its_heading() -> None:
    page = tables.with_tables(PAGE, {"cold": COLD})
    glance = re.search(r"bench:glance -->\n(.*?)<!--", page, re.DOTALL)
    assert glance is not None
    assert {line.count(" | ") for line in glance[1].splitlines()} == {4}


@pytest.mark.parametrize(
    "text",
    [
        "<!-- bench:cold -->\nnever closed\n",
        "<!-- bench:cold -->\n<!-- bench:folder -->\n<!-- /bench -->\n",
    ],
)
def test_an_open_marker_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="/bench"):
        tables.with_tables(text, {"cold": COLD})


def test_the_page_has_a_place_for_every_table() -> None:
    page = "\n".join(path.read_text() for path in tables.DOCUMENTS)
    for name in [tables.GLANCE, *tables.TABLES]:
        assert page.count(f"<!-- bench:{name} -->") == 1
    assert tables.with_tables(page, {}) == page


def test_results_of_earlier_versions_and_unfinished_ones_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    (tmp_path / "cold.json").write_text(json.dumps(COLD))
    (tmp_path / "accuracy.json").write_text("[]")
    (tmp_path / "folder.json.part").write_text("{")
    assert results.kept() == {"cold": COLD}


def test_an_unknown_name_is_refused_before_anything_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "cold", "nonsense"],
        capture_output=True,
        text=True,
        cwd=results.ROOT,
    )
    assert done.returncode == 2
    assert "no measurement 'nonsense'; choose from coreset" in done.stderr
    assert done.stdout == ""
