"""`patchbank benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import complain, guarded
from patchbank.cli.output import answer, print_json, show_progress, talk
from patchbank.cli.tables import Values, print_figures
from patchbank.inspection.measuring.figures import Failed
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace

if TYPE_CHECKING:
    from patchbank.inspection.measuring.benchmark_report import BenchmarkReport


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("benchmark")(guarded(options.with_fit_settings(benchmark_command)))


def benchmark_command(
    root: Annotated[Path, typer.Argument(help="The data set's folder.")],
    dataset: options.DataSetName = "mvtec",
    category: options.Categories = None,
    folder: Annotated[Path, typer.Option(help="Folder to keep results and the report in.")] = Path(
        "benchmark"
    ),
    restart: Annotated[
        bool, typer.Option("--restart", help="Do anew what an earlier run kept there.")
    ] = False,
    aupro_limit: options.AuproLimit = None,
    *,
    settings: FitSettings,
    json: options.Json = False,
) -> int:
    """Evaluate categories of a data set, beside published figures; leave a report to open.

    Each category is kept in the folder when it is done: an interrupted benchmark goes on where it
    was, as long as settings, files and versions are the same. Images without a label get a score
    map in the category's folder. A category that cannot be evaluated is reported, the others are
    done, and the exit code is 2.
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
                        talk().print(f"{name}: kept from before", markup=False)
                    if result.again:
                        talk().print(f"{name}: done again, {result.again}", markup=False)
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
    for one in report.results:
        rows.append((one.evaluation.label, one.evaluation.values))
        rows += [(f"  {source.title}", figures) for source, figures in one.published]
    rows.append((report.average().label, report.average().values))
    print_figures(rows, aupro_limit=report.aupro_limit)
    console = answer()
    maps = sum(one.score_maps for one in report.results)
    if maps:
        console.print(
            f"{maps:,} score maps of images without a label below "
            f"{report.folder / 'categories'}, in maps of each category",
            markup=False,
        )
    console.print(f"report: {report.page}", markup=False)
