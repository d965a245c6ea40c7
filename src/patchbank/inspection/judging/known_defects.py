"""What the defect book has already: labels as they are spelled, and images."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from patchbank.datasets.layouts.shared import some
from patchbank.errors import ParameterError
from patchbank.inspection.judging.live_bank import ReadyBank
from patchbank.inspection.sources import readable
from patchbank.inspection.workspace import Workspace
from patchbank.printable import printable
from patchbank.spelling import composed
from patchbank.store.defects import NewDefect


def checked_label(label: str) -> str:
    """Return a label as it is stored: composed, without spaces around it or several in a row.

    Raises
    ------
    ParameterError
        If it is no defect type.
    """
    if readable(label) != label:
        raise ParameterError(
            f"label {label!r}: is not valid UTF-8; give a defect type, for example crack"
        )
    label = " ".join(composed(label).split())
    if not label:
        raise ParameterError("label: must not be empty; give a defect type, for example crack")
    if printable(label) != label:
        raise ParameterError(
            f"label {label!r}: has characters that cannot be shown; give a defect type, for "
            "example crack"
        )
    return label


def known_label(workspace: Workspace, category: str, label: str) -> tuple[str, list[str]]:
    """Return a label as the category spells it, and a remark where that differs.

    Labels that differ in upper and lower case alone would have their defects counted apart.

    Raises
    ------
    UnknownCategoryError
        If there is no such category.
    ParameterError
        If it is no defect type.
    """
    label = checked_label(label)
    known = workspace.database.reviews.labels(category)
    same = [other for other in known if other.casefold() == label.casefold()]
    if label in same or not same:
        return label, []
    return same[0], [f"label {label!r}: recorded as {same[0]!r}, as others are"]


def recorded_defects(workspace: Workspace, category: str) -> dict[str, str]:
    """Return the label, or else the name, of each recorded image, by the SHA-256 of its content."""
    return {
        defect.sha256: defect.label or defect.name
        for defect in workspace.database.defects.of_category(category)
        if not defect.synthetic
    }


def in_place_of(
    workspace: Workspace, category: str, defects: Sequence[NewDefect]
) -> tuple[list[NewDefect], list[str]]:
    """Return defects in the place of those recorded of the same images, and remarks.

    An image counts once, whatever the path that it was given by.
    """
    there = [
        item for item in workspace.database.defects.of_category(category) if not item.synthetic
    ]
    by_content = {item.sha256: item for item in there}
    by_name = {item.name: item for item in there}
    found, renamed, labelled, lost = [], [], [], []
    for new in defects:
        same = by_name.get(new.name)
        if same is None or same.sha256 != new.sha256:
            same = by_content.get(new.sha256)
        if same is None:
            other = by_name.get(new.name)
            if other is not None and other.origin != new.origin:
                lost.append(new.name)
            found.append(new)
            continue
        if same.name != new.name:
            renamed.append(f"{new.name} as {same.name}")
        if new.label is None and same.label is not None:
            labelled.append(f"{same.name} as {same.label}")
        found.append(replace(new, name=same.name, label=new.label or same.label))
    remarks = []
    if lost:
        remarks.append(
            f"{len(lost)} replaced another image that had the same name: {some(lost)}; use longer "
            "paths to keep both"
        )
    if renamed:
        remarks.append(f"recorded before, and updated under the same name: {some(renamed)}")
    if labelled:
        remarks.append(f"recorded before with a label, which stays: {some(labelled)}")
    return found, remarks


def are_references(bank: ReadyBank, defects: Sequence[NewDefect]) -> list[str]:
    """Return a remark where defects are references of the bank, too."""
    references = {image.sha256: image.name for image in bank.stored.content.images}
    names = [references[defect.sha256] for defect in defects if defect.sha256 in references]
    if not names:
        return []
    which = "1 defect is a reference" if len(names) == 1 else f"{len(names)} defects are references"
    withdraw = shlex.join(["patchbank", "withdraw", bank.stored.category, *names[:3]])
    return [
        f"{which} of the bank too, so that images alike pass; withdraw what is not good: {withdraw}"
    ]
