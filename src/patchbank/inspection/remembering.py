"""What is found out once for each state of a category, and remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from patchbank.spelling import composed

Result = TypeVar("Result")


class LastResults(Generic[Result]):
    """The last result of each category, made anew when its state is another. Thread-safe.

    Parameters
    ----------
    most
        How many categories are remembered, those made last.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._found: OrderedDict[str, tuple[Hashable, Result]] = OrderedDict()

    def of(self, category: str, state: Hashable, make: Callable[[], Result]) -> Result:
        """Return what `make` returns, or returned for the same state before."""
        name = composed(category)
        with self._lock:
            known = self._found.get(name)
        if known is not None and known[0] == state:
            return known[1]
        made = make()
        with self._lock:
            self._found[name] = state, made
            self._found.move_to_end(name)
            if len(self._found) > self._most:
                self._found.popitem(last=False)
        return made
