"""Spellings of names: Unicode forms, and the nearest match to a misspelled name."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), so that names can be compared.

    macOS returns the names of files and folders decomposed (NFD).
    """
    return unicodedata.normalize("NFC", name)


def spellings(name: str) -> list[str]:
    """Return a name unchanged, composed (NFC) and decomposed (NFD), without duplicates."""
    return list(dict.fromkeys((name, composed(name), unicodedata.normalize("NFD", name))))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar, ignoring case; None if none is close."""
    lowercase = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), lowercase, n=1)
    return lowercase[matches[0]] if matches else None
