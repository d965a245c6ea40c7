"""`patchbank categories`, `show`, `activate`, `remove` and `doctor`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from patchbank.cli import options
from patchbank.cli.guard import EXIT_ERROR, guarded
from patchbank.cli.living import version_line
from patchbank.cli.output import answer, local_time, print_json, print_remarks, print_table, talk
from patchbank.errors import ParameterError
from patchbank.inspection.keeping.manage import (
    activate_version,
    list_categories,
    remove_category,
    show_category,
)
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted, counted_rows, printable
from patchbank.vision.regions import Regions


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("categories")(guarded(categories_command))
    app.command("show")(guarded(show_command))
    app.command("activate")(guarded(activate_command))
    app.command("remove")(guarded(remove_command))
    # Its name of before.
    app.command("forget", hidden=True)(guarded(remove_command))
    app.command("doctor")(guarded(doctor_command))


def categories_command(json: options.Json = False) -> int:
    """List the categories."""
    with Workspace() as workspace:
        documents = list_categories(workspace)
    if json:
        for document in documents:
            print_json(document)
        return 0
    if not documents:
        talk().print("no categories yet; start with: patchbank fit CATEGORY PATH...")
        return 0
    print_table(
        (
            ("category", "left"),
            ("version", "right"),
            ("images", "right"),
            ("bank size", "right"),
            ("inspections", "right"),
            ("learned", "left"),
        ),
        [
            [
                "-" if document[key] is None else _plain(name, document[key])
                for document in [_with_counts(document)]
                for name, key in (
                    ("", "category"), ("", "bank_version"), ("", "images"), ("", "bank_size"),
                    ("", "inspections"), ("learned_at", "learned_at"),
                )
            ]
            for document in documents
        ],
    )  # fmt: skip
    return 0


def show_command(category: options.Category, json: options.Json = False) -> int:
    """Show a category's active bank and its history."""
    with Workspace() as workspace:
        document = show_category(workspace, category, check_patches=True)
    if json:
        print_json(document)
        return 0
    console = answer()
    history, indexes = document.pop("history"), document.pop("indexes", [])
    document = _with_counts(document)
    for name, value in document.items():
        if not isinstance(value, dict):
            console.print(f"{name.replace('_', ' '):<22} {_plain(name, value)}", markup=False)
            continue
        console.print(name.replace("_", " "), markup=False)
        in_tiles = value.get("scale") is not None
        for key, inner in value.items():
            if key == "regions":
                text = "everything" if inner is None else Regions.from_json(inner).in_words()
                console.print(f"  {'inspected':<20} {text}", markup=False)
                continue
            # The network's input is a tile then.
            label = "tile" if in_tiles and key == "image_size" else key.replace("_", " ")
            console.print(f"  {label:<20} {_plain(key, inner)}", markup=False)
    for index in indexes:
        recall = index["recall_at_10"]
        console.print(
            f"index {index['name']}: {index['on']}, {index['metric']}, ef_search "
            f"{index['ef_search']}, {index['size_megabytes']:,.1f} MB, recall "
            + ("not measured" if recall is None else f"{recall:.4f}"),
            markup=False,
        )
    for entry in history:
        answer().print(version_line(entry), markup=False)
    return 0


def activate_command(
    category: options.Category,
    version: Annotated[
        int, typer.Option(min=1, help="The version, as listed by `patchbank show`.")
    ],
    json: options.Json = False,
) -> int:
    """Make an earlier version of a category's bank the active one.

    It becomes the next version, so the history is kept and you can go back in the same way.
    Running inspectors use it from their next image on.
    """
    with Workspace() as workspace:
        done = activate_version(workspace, category, version)
    print_remarks(done.remarks)
    if json:
        print_json(done.to_json())
    else:
        answer().print(
            f"{category}: version {done.bank_version} is active, the same as version {version}; "
            f"to go back: patchbank activate {category} --version {done.version_before}",
            markup=False,
        )
    return 0


def remove_command(
    category: options.Category,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    json: options.Json = False,
) -> int:
    """Permanently remove a category with its banks, images and inspections."""
    with Workspace() as workspace:
        document = show_category(workspace, category)
        if not yes:
            if not talk().is_terminal or json:
                raise ParameterError(
                    f"remove {category}: this cannot be undone; confirm with --yes"
                )
            typer.confirm(
                f"Remove {printable(category)} with {counted(document['images'], 'image')} and "
                "all its inspections?",
                abort=True,
                err=True,
            )
        removed = remove_category(workspace, category)
    if json:
        print_json({"category": category, "removed": removed})
    else:
        counts = ", ".join(counted_rows(count, name) for name, count in removed.items())
        answer().print(f"removed {category}: {counts}", markup=False)
    return 0


def doctor_command(json: options.Json = False) -> int:
    """Check the installation: packages, database, weights, processor, disk."""
    from patchbank.inspection.keeping.doctor import diagnose

    with Workspace() as workspace:
        findings = diagnose(workspace)
    healthy = all(finding.healthy for finding in findings)
    if json:
        print_json({"healthy": healthy, "findings": [finding.to_json() for finding in findings]})
    else:
        console = answer()
        for finding in findings:
            mark = "[green]ok[/]     " if finding.healthy else "[red]problem[/]"
            console.print(f"{mark} [bold]{finding.name:<18}[/]", end=" ")
            console.print(finding.text, markup=False)
    return 0 if healthy else EXIT_ERROR


# What counts and sizes in a category's document are in.
_UNITS = {
    "bank_size": "patches",
    "bit_depth": "bits",
    "center_crop": "pixels",
    "image_size": "pixels",
    "overlap": "pixels",
    "smoothing_sigma": "pixels",
}


def _with_counts(document: dict[str, Any]) -> dict[str, Any]:
    """Return a category's document with the number of its inspections as people read it."""
    shown = dict(document)
    if shown.pop("inspections_estimated"):
        shown["inspections"] = f"about {document['inspections']:,}"
    return shown


def _plain(name: str, value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_plain("", inner) for inner in value) or "none"
    if name == "learned_at":
        return local_time(str(value))
    if isinstance(value, int | float) and name != "seed":
        number = f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
        return f"{number} {_UNITS[name]}" if name in _UNITS else number
    return str(value)
