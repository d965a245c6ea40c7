"""Text made fit to show: names of files, of categories, of a database; numbers with nouns."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

# Control characters (a terminal obeys them), format characters (they turn the order of writing or
# cannot be seen), halves of surrogate pairs (nothing can encode them), separators of lines.
_ESCAPED_KINDS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# What is drawn as nothing, or as a space, though Unicode calls it a letter, a mark or a symbol: the
# joiner of graphemes, the fillers of Hangul, vowels of Khmer that go without saying, the blank of
# Braille. Not variation selectors, which emoji have, and names in Japanese.
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def _is_escaped(character: str) -> bool:
    return character in _FILLERS or unicodedata.category(character) in _ESCAPED_KINDS


def _as_in_python(character: str) -> str:
    return character.encode("unicode_escape").decode()


def printable(text: str, escape: Callable[[str], str] = _as_in_python) -> str:
    r"""Return text on one line, with ``\x1b`` or ``\u202e`` for what is not to be shown as it is.

    Parameters
    ----------
    escape
        What to write for such a character.
    """
    if text.isprintable() and _FILLERS.isdisjoint(text):
        return text
    return "".join(escape(character) if _is_escaped(character) else character for character in text)


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 image``, ``1,200 images``.

    Parameters
    ----------
    plural
        Of the noun, where it does not just get an s.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
