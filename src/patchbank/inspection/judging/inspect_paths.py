"""Judge the images that are found at paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from patchbank.datasets.collect import collect
from patchbank.errors import ParameterError
from patchbank.inspection.judging.inspect import DEFAULT_TOP, Inspector
from patchbank.inspection.parts import parts_in
from patchbank.inspection.sources import source_name
from patchbank.inspection.verdicts import Inspection, Refused
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent


def inspect_paths(
    workspace: Workspace,
    category: str,
    paths: Sequence[str | Path],
    *,
    part: str | None = None,
    part_from: str | None = None,
    station: str | None = None,
    top: int = DEFAULT_TOP,
    heatmaps: Path | None = None,
    report: Path | None = None,
    in_database: bool = False,
    record: bool = True,
    on_database_loss: str = "raise",
    bank_version: int | None = None,
    on_remarks: Callable[[Sequence[str]], None] = lambda _: None,
    progress: Progress = silent,
) -> Iterator[Inspection | Refused]:
    """Judge the images found at paths, each a folder, an image or a glob; see `Inspector`.

    Parameters
    ----------
    part, part_from
        The part that all of them show, or a regular expression that finds it in each name; see
        `parts_in`.
    on_remarks
        Is called first, with remarks on how the images were found.
    """
    if part is not None and part_from is not None:
        raise ParameterError("--part and --part-from: give one of them")
    found = collect(paths)
    parts: Sequence[str | None] = [part] * len(found.images)
    remarks = found.remarks
    if part_from is not None:
        parts, unnamed = parts_in([source_name(image) for image in found.images], part_from)
        remarks = (*remarks, *unnamed)
    on_remarks(remarks)
    inspector = Inspector(
        workspace,
        category,
        in_database=in_database,
        record=record,
        on_database_loss=on_database_loss,
        bank_version=bank_version,
    )
    yield from inspector.inspect_many(
        found.images,
        parts=parts,
        station=station,
        top=top,
        heatmaps=heatmaps,
        report=report,
        progress=progress,
    )
