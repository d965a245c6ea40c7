"""What a bank is known by."""

from __future__ import annotations

from typing import NamedTuple


class BankKey(NamedTuple):
    """A version of a category's bank, and the generation its rows are of."""

    category_id: int
    generation: int
    version: int

    def parameters(self) -> dict[str, int]:
        """Return it as the queries take it."""
        return self._asdict()
