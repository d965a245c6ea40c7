"""The figures of a benchmark and the verdicts on its images as CSV."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from patchbank.datasets.published import Published
from patchbank.inspection.measuring.benchmark_results import CategorySummary
from patchbank.inspection.measuring.category_evaluation import CategoryEvaluation
from patchbank.inspection.measuring.figures import FIGURES, Evaluation
from patchbank.spreadsheets import SafeWriter


def results_csv(
    summaries: Sequence[CategorySummary],
    average: Evaluation,
    published_means: Sequence[tuple[Published, Mapping[str, float]]],
) -> str:
    """Return the figures of each category, its published ones, and the averages."""
    rows: list[list[Any]] = [["category", "source", *(figure.key for figure in FIGURES)]]
    for summary in summaries:
        several = len(summary.runs) > 1
        rows += [
            _row(run.evaluation, f", seed {run.seed}" if several else "") for run in summary.runs
        ]
        rows += _mean_rows(summary.evaluation) if several else []
        for source, figures in summary.first.published:
            rows.append([summary.evaluation.category, source.title, *_values(figures)])
    if summaries:
        rows += _mean_rows(average) if average.spread else [_row(average)]
        for source, figures in published_means:
            rows.append([average.category, source.title, *_values(figures)])
    return _text(rows)


def images_csv(found: CategoryEvaluation) -> str:
    """Return the verdict on every test image as CSV."""
    rows: list[list[Any]] = [["image", "label", "kind", "score", "p_value", "verdict"]]
    for judgement in found.judged:
        sample = judgement.sample
        rows.append(
            [
                sample.name,
                sample.label,
                sample.kind,
                judgement.score,
                judgement.p_value,
                judgement.verdict,
            ]
        )
    return _text(rows)


def _row(evaluation: Evaluation, of: str = "") -> list[Any]:
    own = "patchbank, synthetic images" if evaluation.synthetic else "patchbank"
    return [evaluation.category, own + of, *_values(evaluation.values)]


def _mean_rows(evaluation: Evaluation) -> list[list[Any]]:
    """Return a row of the means over several seeds, and one of their spread."""
    seeds = len(evaluation.facts["seeds"])
    spread = replace(evaluation, values=evaluation.spread)
    return [
        _row(evaluation, f", mean of {seeds} seeds"),
        _row(spread, f", standard deviation over {seeds} seeds"),
    ]


def _text(rows: Sequence[Sequence[Any]]) -> str:
    target = io.StringIO()
    SafeWriter(target).writerows(rows)
    return target.getvalue()


def _values(values: Mapping[str, float | None]) -> list[float | None]:
    return [values.get(figure.key) for figure in FIGURES]
