"""Starting processes that live on without us."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from patchbank.store.embedded.accounts import Account

# The shell starts the command in the background and ends, so that the command becomes a child of
# init: nobody has to reap it, and a long-lived caller gathers no zombies.
_DETACH = '"$@" &'


def server_environment() -> dict[str, str]:
    """Return our environment without what would steer PostgreSQL (PGDATA, PGPORT...)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    # C: messages we recognise; UTC: initdb spends no time on guessing the zone.
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def spawn_detached(
    command: Sequence[str],
    *,
    log: int,
    account: Account,
    descriptors: Sequence[int],
    folder: Path,
) -> None:
    """Start `command` in a session of its own, so that no Ctrl-C of ours reaches it.

    It starts in `folder` (which the account need not be able to reach), writes to the descriptor
    `log` (or `subprocess.DEVNULL`), and inherits `descriptors` and nothing else of ours: what waits
    for the end of our own output does not wait for it.
    """
    subprocess.run(
        ["/bin/sh", "-c", _DETACH, "sh", *command],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=tuple(descriptors),
        start_new_session=True,
        user=account.uid if account.switch else None,
        group=account.gid if account.switch else None,
        extra_groups=[] if account.switch else None,
        cwd=folder,
        env=server_environment(),
    )
