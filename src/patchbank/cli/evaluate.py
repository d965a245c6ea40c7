"""`patchbank evaluate`, `patchbank demo` and `patchbank export-demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import complain, guarded
from patchbank.cli.output import answer, open_page, print_json, show_progress, talk
from patchbank.cli.tables import (
    print_figures,
    print_kinds,
    print_proposals,
    print_reviews,
    print_shares,
)
from patchbank.inspection.measuring.costs import Costs
from patchbank.inspection.measuring.evaluate import evaluate
from patchbank.inspection.measuring.figures import Evaluation, Failed
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("evaluate")(guarded(options.with_fit_settings(evaluate_command)))
    app.command("demo")(guarded(demo_command))
    app.command("export-demo")(guarded(export_demo_command))


def evaluate_command(
    root: Annotated[Path, typer.Argument(help="Root folder of the data set.")],
    dataset: options.DataSetName = "mvtec",
    category: options.Categories = None,
    aupro_limit: options.AuproLimit = None,
    labelled_defects: options.LabelledDefects = 0,
    cost_miss: options.CostMiss = None,
    cost_false_alarm: options.CostFalseAlarm = None,
    defect_rate: options.DefectRate = None,
    *,
    settings: FitSettings,
    group_by: options.GroupBy = None,
    json: options.Json = False,
) -> int:
    """Fit on a data set's training images, judge its test images, and print the metrics.

    Nothing is stored, so that no bank in use is replaced. The threshold comes from the train images
    alone; false alarms and recall are what it gives on the test images. A category that cannot be
    evaluated is reported, the others continue, and the exit code is 2.
    """
    results: list[Evaluation] = []
    costs = Costs.of(cost_miss, cost_false_alarm, defect_rate)
    code = 0
    try:
        with Workspace() as workspace, show_progress(results_appear=json) as progress:
            for result in evaluate(
                workspace,
                root,
                options.split_categories(category),
                settings,
                dataset=dataset,
                group_by=group_by,
                aupro_limit=aupro_limit,
                labelled_defects=labelled_defects,
                costs=costs,
                progress=progress,
            ):
                if isinstance(result, Failed):
                    code = complain(f"{result.category}: {result.error}")
                else:
                    results.append(result)
                    for remark in result.remarks:
                        talk().print(f"{result.category}: {remark}", markup=False, style="yellow")
                if json:
                    print_json(result.to_json())
    finally:
        # Hours may have gone into what is done, so it is shown when an interrupt ends the rest.
        if results and not json:
            _print(results)
    return code


def demo_command(
    folder: Annotated[Path, typer.Option(help="Folder for the page.")] = Path("demo"),
    open_report: options.Open = False,
    json: options.Json = False,
) -> int:
    """Fit on real photographs of good solar cells, judge others, and write a page to open."""
    from patchbank.inspection.measuring.demo import DEMO_CATEGORY, run_demo

    with Workspace() as workspace, show_progress() as progress:
        report = run_demo(workspace, folder, progress=progress)
    if open_report:
        open_page(report.page)
    if json:
        print_json(report.to_json())
        return 0
    _print([report.evaluation.summary()])
    console = answer()
    for inspection in (report.passed, report.failed):
        best = inspection.similar[0]
        console.print(
            f"{inspection.verdict:<6} {inspection.image}: {inspection.summary}; "
            f"most like {best.image} ({best.similarity:.3f})",
            markup=False,
        )
    console.print(f"stored as category {DEMO_CATEGORY}; open {report.page}", markup=False)
    return 0


def export_demo_command(folder: options.Folder, json: options.Json = False) -> int:
    """Write the demo images as a data set in the MVTec AD layout."""
    from patchbank.datasets.demo import export_demo

    with show_progress() as progress:
        exported = export_demo(folder, progress=progress)
    if json:
        print_json({"folder": str(folder), "images": exported})
    else:
        answer().print(f"{folder}: {counted(exported, 'image')}", markup=False)
    return 0


def _print(results: list[Evaluation]) -> None:
    print_figures([(result.label, result.values, result.spread) for result in results])
    print_shares(results)
    print_reviews(results)
    print_kinds(results)
    print_proposals(results)
