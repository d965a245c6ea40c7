"""What all sinks have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from patchbank.inspection.keeping.recorded import RecordedInspection


class Outcome(NamedTuple):
    """What became of an inspection that was sent.

    Attributes
    ----------
    error
        Why the receiver did not take it; None if it did.
    seconds
        For how long the receiver asked not to be tried again.
    """

    error: str | None = None
    seconds: float = 0.0


class Sink(Protocol):
    """A receiver of inspections. Lives in one event loop."""

    async def send(self, inspections: Sequence[RecordedInspection]) -> list[Outcome]:
        """Send inspections, oldest first; return what became of each.

        Raises
        ------
        SinkError
            If the receiver cannot be reached: then none may have arrived, or some.
        """

    async def test(self) -> None:
        """Send something that is not an inspection, or find out otherwise that it would arrive.

        Raises
        ------
        SinkError
            If it would not.
        """

    async def close(self) -> None:
        """Let go of connections."""
