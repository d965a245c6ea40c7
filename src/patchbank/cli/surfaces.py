"""`patchbank make-surfaces`."""

from __future__ import annotations

from typing import Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, print_json, show_progress


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("make-surfaces")(guarded(make_surfaces_command))


def make_surfaces_command(
    folder: options.Folder,
    image_size: Annotated[int, typer.Option(help="Side length of the images, in pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    json: options.Json = False,
) -> None:
    """Create a synthetic data set: five materials with five defect types each, and masks.

    It is written in MVTec AD's layout into a new or an empty folder, for `evaluate` and
    benchmarks; the same seed and size give the same pixels on every machine.
    """
    from patchbank.datasets.surfaces import CATEGORIES, make_surfaces

    with show_progress() as progress:
        made = make_surfaces(folder, image_size=image_size, seed=seed, progress=progress)
    if json:
        print_json({"folder": str(folder), "images": made, "categories": list(CATEGORIES)})
    else:
        answer().print(
            f"{folder}: {made:,} synthetic images of {', '.join(CATEGORIES)}", markup=False
        )
