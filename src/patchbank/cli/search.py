"""`patchbank search`, `patchbank index` and `patchbank defects`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from patchbank.cli import options
from patchbank.cli.guard import EXIT_ERROR, EXIT_FAILED, guarded
from patchbank.cli.output import answer, print_json, print_remarks, show_progress, talk
from patchbank.errors import ParameterError
from patchbank.inspection.judging.defects import (
    DefectsAdded,
    add_defects,
    add_synthetic_defects,
    defect_to_json,
    list_defects,
    refresh_defects,
    remove_defects,
)
from patchbank.inspection.judging.index import build_index, drop_indexes
from patchbank.inspection.judging.search import search
from patchbank.inspection.judging.search_results import Among, SearchResult
from patchbank.inspection.judging.similarity_rule import parse_threshold
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted_rows
from patchbank.store.hnsw_index import DEFAULT_EF_SEARCH, MAX_EF_SEARCH, Indexed, Metric, VectorType

_On = Annotated[Indexed | None, typer.Option(help="What to index.  \\[default: images]")]
_Metric = Annotated[Metric, typer.Option(help="Distance used to rank the results.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("search")(guarded(search_command))
    app.command("index")(guarded(index_command))
    group = typer.Typer(no_args_is_help=True, help="Record, list and remove images of defects.")
    group.command("add")(guarded(add_command))
    group.command("refresh")(guarded(refresh_command))
    group.command("list")(guarded(list_command))
    group.command("remove")(guarded(remove_command))
    group.command("use")(guarded(use_command))
    app.add_typer(group, name="defects")


def search_command(
    category: options.Category,
    image: Annotated[
        str | None, typer.Argument(help="Image to search for.", show_default=False)
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Search for a stored image by its name, or for a stored patch, such as "
            "NAME#r14c03."
        ),
    ] = None,
    among: Annotated[Among, typer.Option(help="Which stored images to search.")] = "references",
    metric: _Metric = "cosine",
    threshold: Annotated[
        str,
        typer.Option(
            help="Similarity to a reference that a good image must reach, such as 0.9; auto "
            "(calibrated for the bank's false-alarm rate); or none."
        ),
    ] = "auto",
    top: options.Top = 10,
    exact: Annotated[
        bool, typer.Option("--exact", help="Use an exact scan even if there is an index.")
    ] = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Compare raw embeddings instead of centred ones."),
    ] = False,
    json: options.Json = False,
) -> int:
    """Find what is most similar to an image, or to a stored image or patch.

    Exits 1 for an anomalous image, that is, if no reference reaches the threshold. Does not replace
    inspect.
    """
    with Workspace() as workspace:
        result = search(
            workspace,
            category,
            image,
            name=name,
            among=among,
            metric=metric,
            threshold=parse_threshold(threshold),
            top=top,
            exact=exact,
            raw=raw,
        )
    print_remarks(result.remarks)
    if json:
        print_json(result.to_json())
    else:
        _print_result(result)
    return EXIT_FAILED if result.normal is False else 0


def index_command(
    category: options.Category,
    on: _On = None,
    type: Annotated[  # noqa: A002 - the option's name
        VectorType | None,
        typer.Option(
            help="Type of the indexed vectors. halfvec needs half the space and allows up to 4,000 "
            "dimensions.  "
            "\\[default: vector if it fits]"
        ),
    ] = None,
    metric: Annotated[
        Metric | None,
        typer.Option(help="Distance used to rank the results.  \\[default: cosine]"),
    ] = None,
    ef_search: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_EF_SEARCH,
            help="Minimum number of candidates per search. More is slower but more accurate.  "
            f"\\[default: {DEFAULT_EF_SEARCH}]",
        ),
    ] = None,
    remove: Annotated[
        bool,
        typer.Option(
            "--remove", "--drop", help="Remove the category's indexes, or those chosen by --on."
        ),
    ] = False,
    json: options.Json = False,
) -> int:
    """Build an HNSW index on the active bank, to speed up searches in large banks.

    It is built while others read and write, and measured against the exact scan.
    """
    if remove:
        for option, value in (("--type", type), ("--metric", metric), ("--ef-search", ef_search)):
            if value is not None:
                raise ParameterError(
                    f"{option} cannot be used with --remove; leave one of them out"
                )
    with Workspace() as workspace, show_progress() as progress:
        if remove:
            removed = [index.name for index in drop_indexes(workspace, category, on)]
            if json:
                print_json({"category": category, "removed": removed})
            else:
                answer().print(f"removed: {', '.join(removed) or 'nothing'}", markup=False)
            return 0
        report = build_index(
            workspace,
            category,
            on=on or "images",
            type_=type,
            metric=metric or "cosine",
            ef_search=ef_search or DEFAULT_EF_SEARCH,
            progress=progress,
        )
    if report.warning is not None:
        talk().print(f"patchbank: {report.warning}", markup=False, style="yellow")
    if json:
        print_json(report.to_json())
        return 0
    index = report.index
    console = answer()
    console.print(
        f"{index.name}: {counted_rows(report.rows, index.on)} as {index.type} of "
        f"{index.dimensions} dimensions, {report.size_bytes / 1e6:,.1f} MB, in "
        f"{report.seconds:.1f} s",
        markup=False,
    )
    if report.recall is None:
        console.print("recall not measured: there is no other vector to search for", markup=False)
        return 0
    console.print(
        f"recall {report.recall:.4f} of the ten nearest, against the exact scan, for "
        f"{counted_rows(report.queries, f'stored {index.on}')}, each without itself",
        markup=False,
    )
    return 0


def add_command(
    category: options.Category,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Folders, images or globs.", show_default=False),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Defect type, for example crack.")] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Where the defect is: the mask of a single image, or a folder of masks named like "
            "the images.  \\[default: where the bank finds it]"
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="Where the defect of a single image is, instead of a mask: in pixels of the image "
            "or in per cent. May be repeated.",
        ),
    ] = None,
    synthetic: Annotated[
        int | None,
        typer.Option(min=1, help="Create this many synthetic defects from the reference images."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the synthetic defects.")] = 0,
    json: options.Json = False,
) -> int:
    """Record images of defects, so that other images can be compared with them."""
    if (synthetic is None) == (not paths):
        raise ParameterError("defects add: give either images or --synthetic with a number")
    if synthetic is not None and label is not None:
        raise ParameterError("--label: synthetic defects have their own label; leave --label out")
    if synthetic is not None and box:
        raise ParameterError("--box: synthetic defects have their own masks; leave --box out")
    if synthetic is not None and mask is not None:
        raise ParameterError("--mask: synthetic defects have their own masks; leave --mask out")
    with Workspace() as workspace, show_progress() as progress:
        if synthetic is not None:
            added = add_synthetic_defects(
                workspace, category, synthetic, seed=seed, progress=progress
            )
        else:
            added = add_defects(
                workspace,
                category,
                paths or [],
                label=label,
                masks=mask,
                boxes=box or (),
                progress=progress,
            )
    return _print_added(category, added, json)


def refresh_command(category: options.Category, json: options.Json = False) -> int:
    """Bring defects that the bank cannot compare up to date, from their files."""
    with Workspace() as workspace, show_progress() as progress:
        refreshed = refresh_defects(workspace, category, progress=progress)
    if not refreshed.names and not refreshed.refused:
        talk().print("all defects are up to date", markup=False)
    return _print_added(category, refreshed, json, key="refreshed")


def list_command(category: options.Category, json: options.Json = False) -> int:
    """List the recorded defects."""
    with Workspace() as workspace:
        defects = list_defects(workspace, category)
    console = answer()
    for defect in defects:
        if json:
            print_json(defect_to_json(defect))
            continue
        remarks = [defect.label or "no label"]
        remarks += ["synthetic"] if defect.synthetic else []
        if not defect.comparable:
            remarks.append("made with another extractor, not compared")
        elif not defect.boxes:
            remarks.append("without regions, not compared")
        console.print(f"{defect.name}  ({', '.join(remarks)})", markup=False)
    if any(not (defect.comparable and defect.boxes) for defect in defects):
        talk().print(
            f"patchbank defects refresh {category} brings those not compared up to date",
            markup=False,
        )
    if not defects:
        talk().print("no defects yet; start with: patchbank defects add CATEGORY PATH...")
    return 0


def use_command(
    category: options.Category,
    switch: Annotated[
        Literal["on", "off"],
        typer.Argument(help="Whether likeness to the recorded defects changes scores."),
    ] = "on",
    json: options.Json = False,
) -> int:
    """Let likeness to the recorded defects change scores, or switch that off.

    It is fitted to the defects recorded now, as a new version of the bank: undo takes it back. Run
    it again after more defects were recorded.
    """
    from patchbank.inspection.living.likeness import use_likeness

    with Workspace() as workspace, show_progress() as progress:
        report = use_likeness(workspace, category, on=switch == "on", progress=progress)
    print_remarks([*(refused.error for refused in report.refused), *report.remarks])
    if json:
        print_json(report.to_json())
    else:
        answer().print(report.describe(), markup=False)
    return 0


def remove_command(
    category: options.Category,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Names as shown by the list.", show_default=False),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Remove all synthetic defects.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Remove recorded defects."""
    with Workspace() as workspace:
        removed = remove_defects(workspace, category, names or [], synthetic=synthetic)
    if json:
        print_json({"category": category, "removed": removed})
    else:
        answer().print(f"removed: {', '.join(removed) or 'nothing'}", markup=False)
    return 0


def _print_result(result: SearchResult) -> None:
    console = answer()
    if result.verdict is not None:
        console.print(result.verdict, style="green" if result.normal else "red", markup=False)
    if result.standing is not None and result.threshold is not None:
        console.print(f"  {result.standing.describe(result.threshold)}", markup=False)
    for match in result.matches:
        distance = f"  distance {match.distance:.4f}" if result.metric == "l2" else ""
        remarks = []
        if result.among == "defects":
            remarks = [match.label or "no label", *(["synthetic"] if match.synthetic else [])]
        remarks += ["itself"] if match.itself else []
        console.print(
            f"  {match.similarity:7.4f}{distance}  {match.name}"
            + (f"  ({', '.join(remarks)})" if remarks else ""),
            markup=False,
        )
    if not result.matches:
        talk().print("there is nothing to compare with", markup=False)
    if result.method != "exact scan":
        talk().print(f"found by {result.method}", markup=False)


def _print_added(category: str, added: DefectsAdded, json: bool, key: str = "added") -> int:
    print_remarks(added.remarks)
    for refused in added.refused:
        talk().print(f"patchbank: {refused.error}", markup=False, style="red")
    if json:
        print_json(
            {
                "category": category,
                key: list(added.names),
                "synthetic": added.synthetic,
                "refused": [refusal.to_json() for refusal in added.refused],
                "remarks": list(added.remarks),
            }
        )
    else:
        for name in added.names:
            answer().print(f"{name}{'  (synthetic)' if added.synthetic else ''}", markup=False)
    return EXIT_ERROR if added.refused else 0
