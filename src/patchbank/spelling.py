"""Names as people and file systems spell them: the same name in other characters, or mistaken."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which names are compared.

    macOS gives the names of files and folders decomposed (NFD): the same name in other characters.
    """
    return unicodedata.normalize("NFC", name)


def spellings(name: str) -> list[str]:
    """Return a name as given, then composed (NFC) and decomposed (NFD), each once."""
    return list(dict.fromkeys((name, composed(name), unicodedata.normalize("NFD", name))))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return which of the known names is most like one that is none of them, in small letters."""
    spelled = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), spelled, n=1)
    return spelled[close[0]] if close else None
