from __future__ import annotations

import pytest

from patchbank.printable import counted, counted_rows, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("part\x1b[31mred.png", r"part\x1b[31mred.png"),
        ("\u202egnp.liaf", r"\u202egnp.liaf"),
        ("\u2066a\u2069\u200b\ufeff\u061c", r"\u2066a\u2069\u200b\ufeff\u061c"),
        ("two\nlines\r\t\x00\x7f\x9b", r"two\nlines\r\t\x00\x7f\x9b"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("caf\udce9", r"caf\udce9"),
        ("a\u3164\u115f\u1160\uffa0", r"a\u3164\u115f\u1160\uffa0"),
        ("a\u034f\u17b4\u17b5\u2800", r"a\u034f\u17b4\u17b5\u2800"),
        ("tag\U000e0041", r"tag\U000e0041"),
    ],
)
def test_what_a_terminal_obeys_or_hides_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ünïcode 部品.png",
        "נייר",
        "back\\slash",
        "a\u00a0b",
        "🔩",
        "\u2699\ufe0f",
        "葛\U000e0100城.png",
    ],
)
def test_all_else_is_as_it_was(text: str) -> None:
    assert printable(text) == text


def test_numbers_agree_with_their_nouns() -> None:
    assert counted(0, "image") == "0 images"
    assert counted(1, "image") == "1 image"
    assert counted(1_200, "patch", "patches") == "1,200 patches"


def test_a_single_row_has_a_singular_name() -> None:
    assert [counted_rows(1, name) for name in ("patches", "images")] == ["1 patch", "1 image"]
    assert counted_rows(1_200, "patches") == "1,200 patches"
