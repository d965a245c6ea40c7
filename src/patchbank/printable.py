"""What can be shown or written as it is: text without control characters, finite numbers."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from typing import Any

# Control characters (terminals execute them), format characters (they reverse the text or are
# invisible), unpaired surrogates (they cannot be encoded), line separators.
_ESCAPED_KINDS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Invisible or blank characters that Unicode classifies as letters, marks or symbols: the grapheme
# joiner, Hangul fillers, Khmer inherent vowels, the Braille blank. Variation selectors stay: emoji
# and Japanese names use them.
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def _is_escaped(character: str) -> bool:
    return character in _FILLERS or unicodedata.category(character) in _ESCAPED_KINDS


def _as_in_python(character: str) -> str:
    return character.encode("unicode_escape").decode()


def printable(text: str, escape: Callable[[str], str] = _as_in_python) -> str:
    r"""Return text on one line, with unsafe characters escaped, such as ``\x1b`` or ``\u202e``.

    Parameters
    ----------
    escape
        Returns the replacement for an unsafe character.
    """
    if text.isprintable() and _FILLERS.isdisjoint(text):
        return text
    return "".join(escape(character) if _is_escaped(character) else character for character in text)


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 image``, ``1,200 images``.

    Parameters
    ----------
    plural
        The plural of the noun if it does not just add an s.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def counted_rows(count: int, plural: str) -> str:
    """Return a number with the name of rows, which is a plural: ``1 patch``, ``2 images``."""
    singular = plural.removesuffix("es" if plural.endswith("ches") else "s")
    return counted(count, singular, plural)


def finite(value: Any) -> Any:
    """Return what JSON can say of a document: infinity and NaN become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value
