"""`patchbank import-anomalib`: banks that come from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, print_json, talk
from patchbank.inspection.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("import-anomalib")(guarded(import_anomalib_command))


Replace = Annotated[
    bool, typer.Option("--replace", help="Make it the next version where there is a bank already.")
]


def import_anomalib_command(
    file: Annotated[
        Path,
        typer.Argument(
            help="A saved memory_bank tensor, a Lightning checkpoint or an exported .pt.",
            show_default=False,
        ),
    ],
    category: Annotated[str, typer.Option(help="What is inspected, for example leather.")],
    backbone: Annotated[
        str | None, typer.Option(help="Network that made it.  \\[default: the file's]")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers, comma-separated.  \\[default: the file's]")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(help="Side in pixels images were resized to.  \\[default: the file's]"),
    ] = None,
    center_crop: Annotated[
        int | None, typer.Option(help="Side in pixels of its crop.  \\[default: the file's]")
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(help="Patch distances to image score.  \\[default: Anomalib's]"),
    ] = None,
    replace: Replace = False,
    json: options.Json = False,
) -> int:
    """Take over a PatchCore memory bank that was trained with Anomalib.

    Nothing in the file is run. The bank judges once it is calibrated: patchbank calibrate CATEGORY
    GOOD_IMAGES...
    """
    from patchbank.contrib.anomalib import import_anomalib

    with Workspace() as workspace:
        report = import_anomalib(
            workspace,
            file,
            category,
            backbone=backbone,
            layers=layers,
            image_size=image_size,
            center_crop=center_crop,
            image_score=score,
            replace=replace,
        )
    for remark in report.remarks:
        talk().print(f"note  {remark}", markup=False, style="yellow")
    if json:
        print_json(report.to_json())
        return 0
    console = answer()
    rows = [
        ("category", f"{category}, version {report.bank_version}"),
        ("file", f"{file}: {report.kind}"),
        ("bank", f"{report.bank_size:,} patches of {report.dimension} dimensions"),
        *(
            (one.name.replace("_", " "), f"{_plain(one.value)} ({_SOURCES[one.source]})")
            for one in report.settings
        ),
        ("image score", report.image_score),
        ("next", f"patchbank calibrate {category} GOOD_IMAGES..."),
    ]
    for name, text in rows:
        console.print(f"{name:<14} {text}", markup=False)
    return 0


_SOURCES = {"file": "from the file", "option": "from the option", "default": "default"}


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
