"""Which references an added image depends on, where a person says so by a rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.grouping import groups_by
from patchbank.errors import ParameterError
from patchbank.inspection.living.bank import LivingBank
from patchbank.printable import counted

Integers = NDArray[np.int64]


def joined_groups(
    bank: LivingBank, rule: str | None, names: Sequence[str]
) -> tuple[Integers | None, tuple[str, ...]]:
    """Return each image's group after an addition, and remarks.

    Parameters
    ----------
    rule
        See `groups_by`; it is applied to the references too. By default that of the fit, if that
        applies to more images.
    names
        Of the images that are added.

    Returns
    -------
    numbers
        int64 (n,): of the references, then of the added images; -1 for a group of its own. None
        where no rule says anything.

    Raises
    ------
    ParameterError
        If this is no such rule, it gives no image a group, or the groups are detected.
    DatasetError
        If the table of the rule cannot be read.
    """
    scores = bank.content.scores
    known = [image.name for image in bank.content.images]
    numbers = np.full(len(known) + len(names), -1)
    learned = (scores.image >= 0) & ~scores.held_out
    numbers[scores.image[learned]] = scores.group[learned]
    category = bank.stored.category
    rule = rule or bank.settings.group_by or None
    if rule is None:
        if bank.textures or (numbers < 0).all():
            return None, ()
        are = "counts" if len(names) == 1 else "count"
        return None, (
            f"references of {category!r} are in groups, and {counted(len(names), 'added image')} "
            f"{are} as independent; give --group-by if they show parts that are known",
        )
    if bank.textures:
        raise ParameterError(
            f"--group-by {rule!r}: the groups of {category!r} are detected, those of added images "
            "too; leave it out, or fit again with it"
        )
    labels, remarks = groups_by(rule, [*known, *names])
    members = defaultdict(list)
    for slot, name in enumerate([*known, *names]):
        if name in labels:
            members[labels[name]].append(slot)
    for slots in members.values():
        if len(slots) < 2 or slots[-1] < len(known):
            continue
        of_parts = np.unique(numbers[slots])
        of_parts = of_parts[of_parts >= 0]
        number = int(of_parts[0]) if len(of_parts) else int(numbers.max()) + 1
        numbers[np.isin(numbers, of_parts)] = number
        numbers[slots] = number
    return numbers, remarks
