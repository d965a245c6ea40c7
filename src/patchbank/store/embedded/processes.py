"""Start processes that outlive us."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from patchbank.store.embedded.accounts import Account

# The shell starts the command in the background and exits, so that init adopts the command and a
# long-lived caller collects no zombies.
_DETACH = '"$@" &'


def server_environment() -> dict[str, str]:
    """Return our environment without the variables of PostgreSQL (PGDATA, PGPORT, ...)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    # C: messages we recognise; UTC: initdb need not guess the time zone.
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def spawn_detached(
    command: Sequence[str],
    *,
    log: int,
    account: Account,
    descriptors: Sequence[int],
    folder: Path,
) -> None:
    """Start `command` in a new session, so that Ctrl-C does not reach it.

    It starts in `folder` (to which the account needs no access), writes to the descriptor `log`
    (or `subprocess.DEVNULL`), and inherits only `descriptors`, so that a pipe on our output closes
    when we exit.
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
