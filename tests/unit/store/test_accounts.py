from __future__ import annotations

import struct

import pytest

from patchbank.store.embedded.accounts import _acl_with

NOBODY = 0xFFFFFFFF
OWNER, USER, OWNING_GROUP, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32


def _entries(raw: bytes) -> dict[tuple[int, int], int]:
    assert struct.unpack("<I", raw[:4]) == (2,)
    return {(tag, number): allowed for tag, allowed, number in struct.iter_unpack("<HHI", raw[4:])}


def _allowed(entries: dict[tuple[int, int], int], key: tuple[int, int]) -> int:
    mask = entries.get((MASK, NOBODY), 7)
    return entries[key] & (mask if key[0] in (USER, OWNING_GROUP, GROUP) else 7)


@pytest.mark.parametrize(
    "before",
    [
        [(OWNER, 7, NOBODY), (OWNING_GROUP, 0, NOBODY), (OTHER, 0, NOBODY)],
        [(OWNER, 7, NOBODY), (OWNING_GROUP, 5, NOBODY), (OTHER, 0, NOBODY)],
        # After a chmod to 0700: the mask hides what the group and others had.
        [(OWNER, 7, NOBODY), (USER, 7, 5), (OWNING_GROUP, 5, NOBODY), (MASK, 0, NOBODY),
         (OTHER, 0, NOBODY)],
        [(OWNER, 7, NOBODY), (USER, 6, 42), (OWNING_GROUP, 5, NOBODY), (GROUP, 7, 3),
         (MASK, 6, NOBODY), (OTHER, 1, NOBODY)],
    ],
)  # fmt: skip
def test_one_more_may_pass_and_nobody_elses_rights_change(
    before: list[tuple[int, int, int]],
) -> None:
    old = {(tag, number): allowed for tag, allowed, number in before}
    new = _entries(_acl_with(42, before))
    assert _allowed(new, (USER, 42)) & 1
    assert _allowed(new, (USER, 42)) & ~1 == (_allowed(old, (USER, 42)) if (USER, 42) in old else 0)
    for key in old.keys() - {(MASK, NOBODY), (USER, 42)}:
        assert _allowed(new, key) == _allowed(old, key)
    assert list(new) == sorted(new)
