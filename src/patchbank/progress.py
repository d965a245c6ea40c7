"""How long-running work reports its progress."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A callback for progress; it decides whether and how to show it.

    Long loops call it a few times a second. It must return quickly; it may raise
    `KeyboardInterrupt`, which the caller does not catch.
    """

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report that `done` of `total` units of `stage` are done (``0 <= done <= total``)."""


def silent(stage: str, done: int, total: int) -> None:
    """Show nothing, the default."""
