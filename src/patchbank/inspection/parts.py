"""Which part an image shows, and at which station it was taken."""

from __future__ import annotations

import re
from collections.abc import Sequence

from patchbank.errors import ParameterError
from patchbank.printable import counted

_LONGEST = 200


def checked_label(value: str, option: str) -> str:
    """Return the id of a part or the name of a station as it is stored.

    Raises
    ------
    ParameterError
        If it is empty, too long, or not printable.
    """
    label = value.strip()
    if not label:
        raise ParameterError(f"{option} is empty; leave it out or give a name")
    if len(label) > _LONGEST:
        raise ParameterError(
            f"{option} {label[:20]!r}... has {len(label)} characters; use at most {_LONGEST}"
        )
    if not label.isprintable():
        raise ParameterError(
            f"{option} {label!r} must not contain control characters, invisible ones or spaces "
            "other than the usual one"
        )
    return label


def part_expression(pattern: str) -> re.Pattern[str]:
    """Return a pattern that finds the part in an image's name, compiled; see `parts_in`.

    Raises
    ------
    ParameterError
        If it is not a regular expression or has several groups.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ParameterError(
            f"part-from {pattern!r}: is not a regular expression ({error})"
        ) from error
    if expression.groups > 1:
        raise ParameterError(
            f"part-from {pattern!r}: has {expression.groups} groups; give one, around the part's "
            "id, and write the others as (?:...)"
        )
    return expression


def part_in(name: str, expression: re.Pattern[str]) -> str | None:
    """Return the part that an image's name tells; None if it tells none."""
    found = expression.search(name)
    return checked_label(found[expression.groups], "part") if found else None


def parts_in(names: Sequence[str], pattern: str) -> tuple[list[str | None], tuple[str, ...]]:
    """Return the part that each image's name tells, None where it tells none, and remarks.

    Parameters
    ----------
    names
        Names of images, as recorded.
    pattern
        A regular expression that is searched in each name. Its group is the part, or all that it
        matches if it has no group.

    Raises
    ------
    ParameterError
        If the pattern is not a regular expression, has several groups, or fits no name.
    """
    expression = part_expression(pattern)
    parts = [part_in(name, expression) for name in names]
    lacking = [name for name, part in zip(names, parts, strict=True) if part is None]
    if not lacking:
        return list(parts), ()
    if len(lacking) == len(names):
        raise ParameterError(f"part-from {pattern!r}: fits no image, such as {names[0]!r}")
    return list(parts), (
        f"{counted(len(lacking), 'image')} recorded without a part, because part-from "
        f"{pattern!r} does not fit, such as {lacking[0]!r}",
    )
