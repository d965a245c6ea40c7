"""`patchbank benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import complain, guarded
from patchbank.cli.output import answer, print_json, show_progress, talk
from patchbank.cli.tables import Values, print_figures, print_kinds
from patchbank.inspection.measuring.figures import Failed
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted

if TYPE_CHECKING:
    from patchbank.inspection.measuring.benchmark_report import BenchmarkReport


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("benchmark")(guarded(options.with_fit_settings(benchmark_command)))


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
    aupro_limit: options.AuproLimit = None,
    *,
    settings: FitSettings,
    json: options.Json = False,
) -> int:
    """Evaluate a data set category by category and write a report with published figures.

    Results are saved per category, so an interrupted benchmark resumes where it stopped, as long as
    settings, files and versions are the same. Images without a label get a score map in the
    category's folder. A category that cannot be evaluated is reported, the others continue, and the
    exit code is 2.
    """
    from patchbank.inspection.measuring.benchmark import Benchmark

    code = 0
    with Workspace() as workspace, show_progress(results_appear=json) as progress:
        benchmark = Benchmark(
            workspace,
            root,
            options.split_categories(category),
            settings,
            folder,
            dataset=dataset,
            aupro_limit=aupro_limit,
            restart=restart,
            progress=progress,
        )
        try:
            for result in benchmark.run():
                if isinstance(result, Failed):
                    code = complain(f"{result.category}: {result.error}")
                else:
                    name = result.evaluation.category
                    for remark in result.evaluation.remarks:
                        talk().print(f"{name}: {remark}", markup=False, style="yellow")
                    if result.kept:
                        talk().print(f"{name}: result of an earlier run", markup=False)
                    if result.again:
                        talk().print(f"{name}: evaluated again: {result.again}", markup=False)
                if json:
                    print_json(result.to_json())
        finally:
            # Hours may have gone into what is done, so it is shown when an interrupt ends the rest.
            if not json:
                _print(benchmark.report)
        report = benchmark.report
        if json and report.results:
            print_json({**report.average().to_json(), "report": str(report.page)})
    return code


def _print(report: BenchmarkReport) -> None:
    if not report.results:
        return
    rows: list[tuple[str, Values]] = []
    for result in report.results:
        rows.append((result.evaluation.label, result.evaluation.values))
        rows += [(f"  {source.title}", figures) for source, figures in result.published]
    rows.append((report.average().label, report.average().values))
    print_figures(rows, aupro_limit=report.aupro_limit)
    print_kinds([result.evaluation for result in report.results])
    console = answer()
    maps = sum(result.score_maps for result in report.results)
    if maps:
        console.print(
            f"{counted(maps, 'score map')} of unlabelled images in "
            f"{report.folder / 'categories'}, in the folder maps of each category",
            markup=False,
        )
    console.print(f"report: {report.page}", markup=False)
