"""What was opened before a fork, and the child that must not use it.

Threads do not live on in a forked child, and connections would be shared with the parent: both ask,
and either may get the other's answer.
"""

from __future__ import annotations

import os
from typing import Final

from patchbank.errors import ForkedError


class Opener:
    """Remembers which process opened something.

    Parameters
    ----------
    name
        What messages call it, for example ``"the database"``.
    """

    def __init__(self, name: str) -> None:
        self._name: Final = name
        self._process: Final = os.getpid()

    @property
    def is_this_process(self) -> bool:
        """Whether this process opened it."""
        return self._process == os.getpid()

    def check(self) -> None:
        """Check that this process opened it.

        Raises
        ------
        ForkedError
            If it is a child that was forked afterwards.
        """
        if not self.is_this_process:
            raise ForkedError(
                f"{self._name} was opened before this process was forked and cannot be used in it: "
                "open it here, after the fork (with gunicorn in the hook post_fork), or start "
                "processes by multiprocessing.get_context('spawn')"
            )
