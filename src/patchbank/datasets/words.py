"""Interpret names of folders and files: good or defective, train or test."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

# Between a lower-case letter and a capital, or before the last of several capitals: NGParts.
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W\d_]+")
# Good only next to names for bad; otherwise names of exposures, products and production runs.
_PERHAPS_GOOD = r"(accept|accepted|clean|free|goods|healthy|intact|io|normal|pass|passed)"
_BAD = (
    r"(bad|ng|ko|nok|nio|notok|notgood|nogood|def|fault|faulty|faults|fail|failed|failures?|scrap"
    r"|rejects?|rejected|schlecht|fehler|defekte?|defects?|defective|anomal\w+|\w+anomalies|abnormal\w*)"
)
# Bad next to names for good.
_KIND = (
    r"(?:(?:scratch|crack|dent|stain|hole|flaw|damage|contamination|burr|missing|broken|bent"
    r"|corrosion)(?:e?s|e?d)?)"
)
_GOOD = rf"(good|ok|okay|gut|flawless|defectfree|nodefects?|(un|non)({_BAD}|{_KIND}))"
# May be joined to them: goodparts.
_THINGS = r"(parts?|images?|imgs?|samples?)?"
_NO_DEFECT = re.compile(
    rf"\b((no|non|not|without|zero) ({_BAD}|{_KIND})|({_BAD}|{_KIND}) free|free of \w+)\b"
)
_NOT_GOOD = re.compile(rf"\b(no|non|not) ({_GOOD}|{_PERHAPS_GOOD})\b")
# A label has few words; a sentence such as `notes_on_a_bad_batch_of_may` is not a label.
_MOST_WORDS = 5
_TRAIN = frozenset({"train", "training"})
_TEST = frozenset({"test", "testing", "tests", "val", "valid", "validation"})

Quality = Literal["good", "perhaps good", "bad", "kind of defect"]


def words(name: str) -> list[str]:
    """Return the words of a name in lower case: ``defectMasks2`` -> defect, masks."""
    return _WORD.findall(_CAMEL.sub(" ", name).lower())


@lru_cache(maxsize=4096)
def quality_of(name: str) -> Quality | None:
    """Return whether a name means good or defective images; None if neither."""
    found = words(name)
    if len(found) > _MOST_WORDS:
        return None
    text = " ".join(found)
    if _NO_DEFECT.search(text):
        return "good"
    found = [*found, "".join(found)]  # n.i.O. is nio
    if _NOT_GOOD.search(text) or _any(_BAD, found):
        return "bad"
    if _any(_KIND, found):
        return "kind of defect"
    if _any(_GOOD, found):
        return "good"
    return "perhaps good" if _any(_PERHAPS_GOOD, found) else None


def is_good_name(name: str) -> bool:
    """Return whether a name means good images: ``good``, ``ok_front``, ``no_defect``."""
    return quality_of(name) in ("good", "perhaps good")


def _any(pattern: str, found: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern + _THINGS, word) for word in found)


def is_train(name: str) -> bool:
    """Return whether a name means images to learn from."""
    return not _TRAIN.isdisjoint(words(name))


def is_test(name: str) -> bool:
    """Return whether a name means images to judge."""
    return not _TEST.isdisjoint(words(name))
