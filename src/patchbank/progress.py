"""How long work tells its caller where it is, without knowing whether anybody looks."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as work advances; the callee decides whether and how to show it.

    Long loops call it at least a few times a second and never more than needed; it must return
    quickly, and it may raise `KeyboardInterrupt`, which the caller lets through.
    """

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report that `done` of `total` units of `stage` are finished (``0 <= done <= total``)."""


def silent(stage: str, done: int, total: int) -> None:
    """Show nothing: the default everywhere."""
