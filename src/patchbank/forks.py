"""Refuse to use in a forked child what its parent opened.

Threads do not survive a fork, and a connection shared by parent and child may give either one the
other's answer.
"""

from __future__ import annotations

import os
from typing import Final

from patchbank.errors import ForkedError


class Opener:
    """The process that opened something.

    Parameters
    ----------
    name
        The name of the opened object in messages, such as ``"the database"``.
    """

    def __init__(self, name: str) -> None:
        self._name: Final = name
        self._process: Final = os.getpid()

    @property
    def is_this_process(self) -> bool:
        """Whether this process opened the object."""
        return self._process == os.getpid()

    def check(self) -> None:
        """Check that this process opened the object.

        Raises
        ------
        ForkedError
            If this process was forked after the object was opened.
        """
        if not self.is_this_process:
            raise ForkedError(
                f"{self._name} was opened before this process was forked and cannot be used in it: "
                "open it after the fork (with gunicorn, in the post_fork hook), or start "
                "processes with multiprocessing.get_context('spawn')"
            )
