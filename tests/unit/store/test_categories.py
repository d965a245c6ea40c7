from __future__ import annotations

import pytest

from patchbank.errors import ParameterError
from patchbank.store.categories import checked_category_name


@pytest.mark.parametrize(
    "name", ["leather", "cell mono", "Zellen-Ä", "瓷砖", "a" * 100, "50%_'x\""]
)
def test_names_that_are_fine(name: str) -> None:
    assert checked_category_name(name) == name


def test_a_name_is_the_same_composed_or_not() -> None:
    assert checked_category_name("Bu\u0308rste") == "B\u00fcrste"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "empty"),
        (" ", "empty"),
        (" a", "space"),
        ("a\t", "space"),
        ("a" * 101, "101 characters"),
        ("a/b", "slash"),
        ("a\\b", "slash"),
        ("..", "slash or be a dot"),
        ("a\nb", "control"),
        ("a\0b", "control"),
        ("a\x1b[31mb", "control"),
        ("a\u2028b", "control"),
        ("a\ud800b", "control"),
    ],
)
def test_names_that_are_not(name: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as raised:
        checked_category_name(name)
    assert "\n" not in str(raised.value)
