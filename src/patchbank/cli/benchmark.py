"""`patchbank benchmark`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import complain, guarded
from patchbank.cli.output import answer, open_page, print_json, show_progress, talk
from patchbank.cli.tables import print_figures, print_kinds, print_reviews
from patchbank.errors import ParameterError
from patchbank.inspection.measuring.figures import Failed
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted

if TYPE_CHECKING:
    from patchbank.inspection.measuring.benchmark_report import BenchmarkReport, ReportRow
    from patchbank.inspection.measuring.benchmark_results import CategoryResult


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("benchmark")(
        guarded(options.with_fit_settings(benchmark_command, without=("seed",)))
    )


def benchmark_command(
    root: Annotated[Path, typer.Argument(help="Root folder of the data set.")],
    dataset: options.DataSetName = "mvtec",
    category: options.Categories = None,
    folder: Annotated[Path, typer.Option(help="Folder for the results and the report.")] = Path(
        "benchmark"
    ),
    restart: Annotated[
        bool, typer.Option("--restart", help="Ignore the results of earlier runs in that folder.")
    ] = False,
    seed: Annotated[
        str,
        typer.Option(
            metavar="INTEGER,...",
            help="Random seed for the first patch of the coreset. Several, such as 0,1,2, give the "
            "mean and the standard deviation of each figure.",
        ),
    ] = "0",
    all_maps: Annotated[
        bool,
        typer.Option(
            "--all-maps",
            help="Write the score map of every test image, not only of those without a label.",
        ),
    ] = False,
    aupro_limit: options.AuproLimit = None,
    *,
    settings: FitSettings,
    open_report: options.Open = False,
    json: options.Json = False,
) -> int:
    """Evaluate a data set category by category and write a report with published figures.

    Results are saved per category and seed, so an interrupted benchmark resumes where it stopped,
    as long as settings, files and versions are the same. Images without a label get a score map in
    the category's folder. A category that cannot be evaluated is reported, the others continue, and
    the exit code is 2.
    """
    from patchbank.inspection.measuring.benchmark import Benchmark

    code = 0
    report: BenchmarkReport | None = None
    try:
        with Workspace() as workspace, show_progress(results_appear=json) as progress:
            benchmark = Benchmark(
                workspace,
                root,
                options.split_categories(category),
                settings,
                folder,
                dataset=dataset,
                aupro_limit=aupro_limit,
                seeds=_parse_seeds(seed),
                all_maps=all_maps,
                restart=restart,
                progress=progress,
            )
            report = benchmark.report
            for result in benchmark.run():
                if isinstance(result, Failed):
                    code = complain(f"{result.category}: {result.error}")
                else:
                    _print_remarks(result, several=len(report.seeds) > 1)
                if json:
                    print_json(result.to_json())
    finally:
        # Hours may have gone into what is done, so it is shown when an interrupt ends the rest; and
        # not before the bars are gone, which take the lines above them along.
        if report is not None and report.results and not json:
            _print(report)
    if json and report.results:
        if len(report.seeds) > 1:
            for summary in report.summaries():
                print_json(summary.evaluation.to_json())
        print_json({**report.average_json(), "report": str(report.page)})
    if open_report and report.results:
        open_page(report.page)
    return code


def _print_remarks(result: CategoryResult, *, several: bool) -> None:
    name = result.evaluation.category + (f", seed {result.seed}" if several else "")
    for remark in result.evaluation.remarks:
        talk().print(f"{name}: {remark}", markup=False, style="yellow")
    if result.kept:
        talk().print(f"{name}: result of an earlier run", markup=False)
    if result.again:
        talk().print(f"{name}: evaluated again: {result.again}", markup=False)


def _parse_seeds(text: str) -> list[int]:
    seeds = [item.strip() for item in text.split(",")]
    for seed in seeds:
        if not re.fullmatch(r"[0-9]{1,100}", seed):
            raise ParameterError(
                f"--seed {text}: {seed!r} is not a whole number, 0 or more; separate several by "
                "commas, such as 0,1,2"
            )
    return [int(seed) for seed in seeds]


def _print(report: BenchmarkReport) -> None:
    console = answer()
    console.print(report.measured(), markup=False)
    rows = report.rows()
    print_figures(
        [(_name(row), row.values, row.spread) for row in rows],
        aupro_limit=report.aupro_limit,
    )
    for note in dict.fromkeys(row.note for row in rows if row.note and not row.own):
        console.print(f"published averages over: {note}", markup=False)
    print_reviews([summary.evaluation for summary in report.summaries()])
    print_kinds([summary.evaluation for summary in report.summaries()])
    maps = sum(result.score_maps for result in report.results)
    if maps:
        console.print(
            f"{counted(maps, 'score map')} in {report.folder / 'categories'}, in the folder maps "
            "of each category",
            markup=False,
        )
    console.print(f"report: {report.page}", markup=False)


def _name(row: ReportRow) -> str:
    if not row.own:
        return f"  {row.source}"
    return f"{row.category} ({row.note})" if row.note else row.category
