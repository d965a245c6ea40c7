"""`patchbank export`, `import` and `import-anomalib`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, print_json, print_remarks, show_progress
from patchbank.inspection.workspace import Workspace

if TYPE_CHECKING:
    from patchbank.inspection.keeping.transfer import TransferReport


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("export")(guarded(export_command))
    app.command("import")(guarded(import_command))
    app.command("import-anomalib")(guarded(import_anomalib_command))


Replace = Annotated[
    bool, typer.Option("--replace", help="Make it the next version where there is a bank already.")
]


def export_command(
    category: options.Category,
    file: Annotated[Path, typer.Argument(help="File to write.", show_default=False)],
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Take the reference images' files along.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: options.Json = False,
) -> int:
    """Write a category's active bank to one file: patches, calibration, thumbnails."""
    from patchbank.inspection.keeping.transfer import export_bank

    with Workspace() as workspace, show_progress() as progress:
        report = export_bank(
            workspace, category, file, with_images=with_images, force=force, progress=progress
        )
    _print_transfer(report, json=json)
    return 0


def import_command(
    file: Annotated[
        Path, typer.Argument(help="File that patchbank export wrote.", show_default=False)
    ],
    category: Annotated[
        str | None, typer.Option(help="What to call it.  \\[default: as in the file]")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="New folder for the images' files in the file.")
    ] = None,
    replace: Replace = False,
    json: options.Json = False,
) -> int:
    """Read a bank from a file that patchbank export wrote; it judges as it did there."""
    from patchbank.inspection.keeping.transfer import import_bank_file

    with Workspace() as workspace:
        report = import_bank_file(
            workspace, file, category=category, replace_bank=replace, images=images
        )
    _print_transfer(report, json=json)
    return 0


def _print_transfer(report: TransferReport, *, json: bool) -> None:
    if json:
        print_json(report.to_json())
        return
    pictures = f"{report.image_files} with their files" if report.image_files else "thumbnails only"
    for name, text in (
        ("category", f"{report.category}, version {report.bank_version}"),
        ("file", f"{report.file}, {report.file_bytes / 1e6:,.1f} MB"),
        ("bank", f"{report.bank_size:,} patches"),
        ("images", f"{report.images}, {pictures}"),
    ):
        answer().print(f"{name:<12} {text}", markup=False)


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
        int | None,
        typer.Option(help="Side in pixels of its crop, 0 for none.  \\[default: the file's]"),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(help="Patch distances to image score.  \\[default: Anomalib's]"),
    ] = None,
    assume_defaults: Annotated[
        bool,
        typer.Option(
            "--assume-defaults",
            help="Take Anomalib's defaults for what neither the file nor an option says.",
        ),
    ] = False,
    replace: Replace = False,
    json: options.Json = False,
) -> int:
    """Take over a PatchCore memory bank that was trained with Anomalib.

    Nothing in the file is run. The bank judges once it is calibrated: patchbank calibrate CATEGORY
    GOOD_IMAGES...
    """
    from patchbank.contrib.anomalib import import_anomalib_file

    with Workspace() as workspace:
        report = import_anomalib_file(
            workspace,
            file,
            category,
            backbone=backbone,
            layers=layers,
            image_size=image_size,
            center_crop=center_crop,
            image_score=score,
            assume_defaults=assume_defaults,
            replace=replace,
        )
    print_remarks(report.remarks)
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
