"""Lists of many rows, page after page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

Row = TypeVar("Row")


class Page(NamedTuple):
    """Some of many documents; `next` is the number after which the next page begins, if any."""

    items: list[dict[str, Any]]
    next: int | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return self._asdict()


def page_of(
    rows: Sequence[Row],
    limit: int,
    document: Callable[[Row], dict[str, Any]],
    number: Callable[[Row], int],
) -> Page:
    """Return a page of rows, of which one more was asked for than the page has."""
    shown = rows[:limit]
    return Page([document(row) for row in shown], number(shown[-1]) if len(rows) > limit else None)
