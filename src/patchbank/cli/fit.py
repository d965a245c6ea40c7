"""`patchbank fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, print_json, print_refused, print_remarks, show_progress
from patchbank.inspection.learning.demands import DEFAULT_MAX_REFUSED
from patchbank.inspection.learning.fit import fit_paths
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted
from patchbank.vision.extractor_settings import ExtractorSettings


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("fit")(guarded(options.with_fit_settings(fit_command)))


def fit_command(
    category: options.Category,
    paths: options.Paths,
    *,
    settings: FitSettings,
    memory_limit: options.MemoryLimit = None,
    max_refused: options.MaxRefused = DEFAULT_MAX_REFUSED,
    force: Annotated[
        bool, typer.Option("--force", help="Accept fewer than five images (at least two).")
    ] = False,
    exclude: options.Exclude = None,
    group_by: options.GroupBy = None,
    screen: Annotated[
        bool,
        typer.Option(
            "--screen",
            help="Leave out the images that stand apart, at most a tenth, and learn the rest "
            "again; those left out are named.",
        ),
    ] = False,
    strict: options.Strict = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write pictures of the images that stand apart to this folder."
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Learn what good parts look like from images of good parts.

    The category's earlier bank, if any, answers until the new one is complete.
    """
    with Workspace() as workspace, show_progress() as progress:
        fitted = fit_paths(
            workspace,
            category,
            paths,
            settings,
            memory_limit=memory_limit,
            force=force,
            max_refused=max_refused,
            exclude=exclude or (),
            group_by=group_by,
            screen=screen,
            strict=strict,
            report=report,
            progress=progress,
        )
    document = fitted.to_json()
    print_refused(fitted.bank.refused)
    print_remarks(fitted.bank.remarks)
    if json:
        print_json(document)
    else:
        _print(document)
    return 0


def _print(document: dict[str, Any]) -> None:
    console = answer()
    extractor = document["extractor"]
    network = f"{extractor['backbone']} in {extractor['precision']}"
    settings = ExtractorSettings.from_json(extractor)
    size = settings.input_in_words()
    refused = f", {len(document['refused'])} refused" if document["refused"] else ""
    if document["screening"] and document["screening"]["left_out"]:
        refused += f", {len(document['screening']['left_out'])} left out by screening"
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in document["timings_s"].items())
    radius = f"radius {document['covering_radius']:.4g}"
    streaming = document["streaming"]
    if streaming is None:
        memory = "all patches at once, exact coreset"
    else:
        radius = (
            f"radius at most {streaming['radius_bound']:.4g}, {streaming['radius_seen']:.4g} seen"
        )
        memory = (
            f"streamed in {counted(streaming['parts'], 'part')} of "
            f"{counted(streaming['images_per_part'], 'image')}, "
            f"merged from {counted(streaming['candidates'], 'patch', 'patches')}"
        )
    for name, text in (
        ("category", f"{document['category']}, version {document['bank_version']}"),
        ("images", f"{document['images']} used{refused}"),
        ("extractor", f"{network}, {', '.join(extractor['layers'])}, {size}"),
        *([("inspected", settings.regions_in_words())] if settings.regions else []),
        ("patches", f"{document['patches']:,} of {document['dimension']} dimensions"),
        ("bank", f"{counted(document['bank_size'], 'patch', 'patches')}, {radius}"),
        ("memory", memory),
        ("seconds", stages),
        ("calibration", document["calibration"]["text"]),
        ("review", document["review"]["text"]),
        *(("picture", path) for path in document["pictures"]),
    ):
        console.print(f"{name:<12} {text}", markup=False)
