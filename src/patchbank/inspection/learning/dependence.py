"""Which reference images show the same part, and so vouch for one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchbank.memory.groups import Groups
from patchbank.printable import counted
from patchbank.store.bank_content import BankContent
from patchbank.vision.same_part import SameParts

# So many images, at even distances, are compared with all others first.
_SAMPLE = 24
# A picture of the same part shares more than this with another. Of plain sets, at most 6 % of the
# images do so, and of sets of dependent images 40 to 100 % (docs/reference-images.md).
_CERTAIN = 0.4
# Where as many of the sampled images do, images depend on one another that share more than ...
_FREQUENT = 0.25
_DEPENDENT = 0.2
# What is compared grows with the square of the number.
_MOST = 2_000

_REMEDY = (
    "if you know which images belong together, say so with --group-by; if each shows another part, "
    "use --group-by image"
)


@dataclass(frozen=True)
class Dependence:
    """Whether images show the same parts.

    Attributes
    ----------
    groups
        Images that depend on one another; None where they do not, or nothing would remain when a
        group is left out.
    remark
        What a person must know; empty where images do not depend on one another.
    """

    groups: Groups | None = None
    remark: str = ""


def dependence_of(textures: Sequence[bytes], order: Sequence[int]) -> Dependence:
    """Return whether images show the same parts.

    A few pictures of the same part do no harm: where a share s of the images has a twin, the
    false-alarm rate is at most 1 / (1 - s) times as stated. So they count only where there are
    many.

    Parameters
    ----------
    textures
        What `same_part.texture` returns of each.
    order
        Numbers by which they are sorted: neighbours often show the same part.
    """
    count = len(textures)
    if count < 3:
        return Dependence()
    compared = np.argsort(order)[:_MOST]
    parts = SameParts([textures[slot] for slot in compared])
    if not _is_frequent(parts):
        return Dependence()
    many = "many images seem to show the same parts or to overlap"
    risk = "so more good parts may fail than stated"
    if count > _MOST:
        return Dependence(None, f"{many}, {risk}: they vouch for one another; {_REMEDY}")
    groups = _groups(parts, compared, count)
    if groups is None:
        return Dependence(None, f"all images seem to show the same part, {risk}: add other parts")
    return Dependence(
        groups,
        f"{many}: {counted(count, 'image')} count as about {len(groups):,} independent; {_REMEDY}",
    )


def groups_of_references(
    content: BankContent, textures: Sequence[bytes], number: NDArray[np.int64] | None = None
) -> Groups | None:
    """Return which references of a bank depend on one another; held-out images are alone.

    Parameters
    ----------
    textures
        Each image's texture, empty if it has none. If any image has one, groups are detected.
    number
        int64 (n,): otherwise each image's group, -1 if it is alone; by default those of the scores.
    """
    scores = content.scores
    known = scores.image >= 0
    out = scores.image[known & scores.held_out]
    if any(textures):
        alone = set(out.tolist())
        return groups_of([b"" if slot in alone else each for slot, each in enumerate(textures)])
    if number is None:
        number = np.full(len(content.images), -1)
        number[scores.image[known]] = scores.group[known]
    number = number.copy()
    number[out] = -1
    return Groups.of_numbers(number)


def groups_of(textures: Sequence[bytes]) -> Groups | None:
    """Return groups of images that show the same parts; an image without a texture is alone.

    None if nothing would remain when a group is left out.
    """
    known = np.array([slot for slot, texture in enumerate(textures) if texture], np.int64)
    return _groups(SameParts([textures[slot] for slot in known]), known, len(textures))


def _groups(parts: SameParts, known: NDArray[np.int64], count: int) -> Groups | None:
    """Return the groups of `count` images, of which those in `parts` are known, by their slots."""
    shared = parts.shared(np.arange(len(parts)))
    likeness = np.full((count, count), -1, np.float32)
    likeness[np.ix_(known, known)] = np.minimum(shared, shared.T)
    return Groups.of_links(likeness, _DEPENDENT)


def _is_frequent(parts: SameParts) -> bool:
    sample = np.unique(np.linspace(0, len(parts) - 1, _SAMPLE).astype(np.int64))
    most = parts.shared(sample).max(axis=1)
    return bool(np.mean(most > _CERTAIN) >= _FREQUENT)
