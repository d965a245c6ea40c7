"""The key of a bank version."""

from __future__ import annotations

from typing import NamedTuple


class BankKey(NamedTuple):
    """A version of a category's bank, and the generation of its rows."""

    category_id: int
    generation: int
    version: int

    def parameters(self) -> dict[str, int]:
        """Return the key as query parameters."""
        return self._asdict()
