"""The key of a bank version."""

from __future__ import annotations

from typing import NamedTuple

from patchbank.errors import BankChangedError


class BankKey(NamedTuple):
    """A version of a category's bank, and the generation of its rows."""

    category_id: int
    generation: int
    version: int

    def parameters(self) -> dict[str, int]:
        """Return the key as query parameters."""
        return self._asdict()

    def check_version(self, category: str, expected: int | None) -> None:
        """Raise `BankChangedError` if this is not the version that somebody expects, if any."""
        if expected not in (None, self.version):
            raise BankChangedError(
                f"category {category!r}: changed meanwhile, version {self.version} is in use now "
                f"instead of version {expected}; look at it, then decide again"
            )
