"""`patchbank export`, `import` and `import-anomalib`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, print_json, print_remarks, show_progress
from patchbank.inspection.workspace import Workspace
from patchbank.memory.scoring import ScoreMethod
from patchbank.printable import counted

if TYPE_CHECKING:
    from patchbank.inspection.keeping.transfer import TransferReport


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("export")(guarded(export_command))
    app.command("import")(guarded(import_command))
    app.command("import-anomalib")(guarded(import_anomalib_command))


Replace = Annotated[
    bool,
    typer.Option(
        "--replace", help="Store it as the next version if the category already has a bank."
    ),
]


def export_command(
    category: options.Category,
    file: Annotated[Path, typer.Argument(help="File to write.", show_default=False)],
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Include the files of the reference images.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    json: options.Json = False,
) -> int:
    """Export the active bank of a category to one file."""
    from patchbank.inspection.keeping.transfer import export_bank

    with Workspace() as workspace, show_progress() as progress:
        report = export_bank(
            workspace, category, file, with_images=with_images, force=force, progress=progress
        )
    _print_transfer(report, json=json)
    return 0


def import_command(
    file: Annotated[
        Path, typer.Argument(help="File written by patchbank export.", show_default=False)
    ],
    category: Annotated[
        str | None, typer.Option(help="Name of the category.  \\[default: as in the file]")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="New folder for the image files contained in the file.")
    ] = None,
    replace: Replace = False,
    json: options.Json = False,
) -> int:
    """Import a bank from a file written by patchbank export."""
    from patchbank.inspection.keeping.transfer import import_bank_file

    with Workspace() as workspace:
        report = import_bank_file(
            workspace, file, category=category, replace_bank=replace, images=images
        )
    _print_transfer(report, json=json)
    return 0


def _print_transfer(report: TransferReport, *, json: bool) -> None:
    print_remarks(report.remarks)
    if json:
        print_json(report.to_json())
        return
    pictures = f"{report.image_files} with image files" if report.image_files else "thumbnails only"
    for name, text in (
        ("category", f"{report.category}, version {report.bank_version}"),
        ("file", f"{report.file}, {report.file_bytes / 1e6:,.1f} MB"),
        ("bank", counted(report.bank_size, "patch", "patches")),
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
    category: Annotated[str, typer.Option(help="Category, for example leather.")],
    backbone: Annotated[
        str | None, typer.Option(help="Backbone it was trained with.  \\[default: the file's]")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers, comma-separated.  \\[default: the file's]")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(help="Size the images were resized to, in pixels.  \\[default: the file's]"),
    ] = None,
    center_crop: Annotated[
        int | None,
        typer.Option(
            help="Size of the centre crop in pixels, 0 for none.  \\[default: the file's]"
        ),
    ] = None,
    score: Annotated[
        ScoreMethod | None,
        typer.Option(
            help="How patch distances are combined into the image score.  \\[default: Anomalib's]"
        ),
    ] = None,
    assume_defaults: Annotated[
        bool,
        typer.Option(
            "--assume-defaults",
            help="Use Anomalib's defaults for settings that neither the file nor an option gives.",
        ),
    ] = False,
    ignore_mask: options.IgnoreMask = None,
    ignore_box: options.IgnoreBox = None,
    only_box: options.OnlyBox = None,
    replace: Replace = False,
    json: options.Json = False,
) -> int:
    """Import a PatchCore memory bank trained with Anomalib.

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
            ignore_mask=ignore_mask,
            ignore_box=ignore_box,
            only_box=only_box,
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
        (
            "bank",
            f"{counted(report.bank_size, 'patch', 'patches')} of {report.dimension} dimensions",
        ),
        *(
            (
                setting.name.replace("_", " "),
                f"{_plain(setting.value)} ({_SOURCES[setting.source]})",
            )
            for setting in report.settings
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
