"""Backups of a whole database: written while it is in use, and read into an empty one.

A backup is an archive of pg_dump, so that PostgreSQL's own programs can read it too.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from patchbank.errors import (
    BackupError,
    DatabaseError,
    DatabaseTooNewError,
    DiskFullError,
)
from patchbank.store import queries
from patchbank.store.database import Database
from patchbank.store.embedded.room import complains_of_disk
from patchbank.store.migrate import migrations
from patchbank.store.psql import ClientPrograms

# The first lines of what pg_restore writes, which servers before PostgreSQL 17 do not know.
_UNKNOWN_SETTING = b"SET transaction_timeout = 0;\n"
_HEADING_LINES = 50
_VECTOR = re.compile(r'type "(.+)\.(?:half)?vec(?:tor)?" does not exist')
_COPIED = re.compile(rb"^COPY patchbank\.migration .*?;\n(.*?)^\\\.$", re.MULTILINE | re.DOTALL)
_PART = 1 << 20


class BackupContents(NamedTuple):
    """What a database has."""

    categories: int
    bank_versions: int
    references: int
    inspections: int
    inspection_images: int
    defects: int
    keys: int
    sinks: int


def contents(database: Database) -> BackupContents:
    """Return what a database has."""
    with database.connection(long=True, snapshot=True) as connection:
        row = connection.execute(queries.load("database")["backup_contents"]).fetchone()
    assert row is not None
    return BackupContents(*row)


def write_backup(database: Database, programs: ClientPrograms, target: Path) -> BackupContents:
    """Write all of a database, as of one moment, while others use it; return what that is.

    Parameters
    ----------
    target
        A new or an empty file, which this account alone may read: the backup has secrets.

    Raises
    ------
    DatabaseError
        If a pooler is in between, or this role may not read everything.
    DiskFullError, BackupError
        If it cannot be written.
    """
    if database.pooled:
        raise DatabaseError(
            "a backup needs a session of its own; set PATCHBANK_DATABASE_URL to the server, not to "
            "the pooler before it"
        )
    statements = queries.load("database")
    with database.connection(long=True, snapshot=True) as connection:
        row = connection.execute(statements["backup_contents"]).fetchone()
        exported = connection.execute("select pg_export_snapshot()").fetchone()
        assert row is not None
        assert exported is not None
        command = programs.command(
            "pg_dump", "--format=custom", "--compress=1", "--schema=patchbank", "--no-owner",
            "--no-privileges", f"--snapshot={exported[0]}",
        )  # fmt: skip
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 (of a descriptor)
            os.fchmod(descriptor, 0o600)
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.PIPE,
                check=False,
                env=programs.environment,
                # Ctrl-C reaches only us.
                start_new_session=True,
            )
    if done.returncode != 0:
        raise _failure("the backup cannot be written", done.stderr, str(target))
    return BackupContents(*row)


def check_backup(programs: ClientPrograms, source: Path) -> None:
    """Raise an error if a file is not a backup that this program can read.

    Raises
    ------
    BackupError
        If it is not one of patchbank, or damaged at its beginning.
    DatabaseTooNewError
        If a newer patchbank wrote it.
    """
    done = subprocess.run(
        programs.command(
            "pg_restore", "--data-only", "--table=migration", "--file=-", str(source), apart=True
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env=programs.environment,
        start_new_session=True,
    )
    found = _COPIED.search(done.stdout)
    if done.returncode != 0 or found is None:
        reason = "" if done.returncode == 0 else f" ({_last_line(done.stderr)})"
        raise BackupError(
            f"{source} is not a backup of patchbank{reason}; give a file that `patchbank backup` "
            "wrote"
        )
    names = {line.split("\t")[0] for line in found[1].decode().splitlines()}
    unknown = sorted(names - set(migrations()))
    if unknown:
        raise DatabaseTooNewError(
            f"{source} was written by a newer patchbank (migration {unknown[-1]}); upgrade this "
            "patchbank"
        )


def read_backup(programs: ClientPrograms, source: Path) -> None:
    """Replace an empty database by a backup, in one transaction.

    Raises
    ------
    BackupError
        If the database is not empty, or the backup is damaged; then nothing has changed.
    DiskFullError
        If the server's disk is full.
    """
    reading = subprocess.Popen(
        programs.command(
            "pg_restore", "--no-owner", "--no-privileges", "--file=-", str(source), apart=True
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=programs.environment,
        start_new_session=True,
    )
    writing = subprocess.Popen(
        programs.command(
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--file=-",
            f"--output={os.devnull}",
        ),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=programs.environment,
        start_new_session=True,
    )  # fmt: skip
    with _ended(reading), _ended(writing):
        assert reading.stdout is not None
        assert reading.stderr is not None
        assert writing.stdin is not None
        try:
            _pass_on(reading.stdout, writing.stdin)
            damaged = reading.wait() != 0
            # Without the last statement, nothing is committed.
            writing.stdin.write(b"" if damaged else b"\ncommit;\n")
        except BrokenPipeError:
            # What psql says of it is read below.
            damaged = False
        complaint = writing.communicate()[1]
        if damaged:
            raise _failure(f"{source} is damaged", reading.stderr.read(), str(source))
        if writing.returncode != 0:
            raise _failure("the backup cannot be restored", complaint, "the database")


def _pass_on(source: IO[bytes], target: IO[bytes]) -> None:
    target.write(
        b"begin; set local client_min_messages to error;\n"
        + queries.load("database")["make_way"]
        + b";\n"
    )
    for _ in range(_HEADING_LINES):
        line = source.readline()
        if line != _UNKNOWN_SETTING:
            target.write(line)
    while part := source.read(_PART):
        target.write(part)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None and not stream.closed:
                stream.close()


def _failure(problem: str, complaint: bytes, place: str) -> BackupError | DiskFullError:
    reason = _last_line(complaint)
    if complains_of_disk(reason):
        return DiskFullError(f"no space left on the disk of {place}; free some space and retry")
    schema = _VECTOR.search(reason)
    if schema is not None:
        return BackupError(
            f"{problem}: it expects pgvector in the schema {schema[1]}; run `create extension "
            f"vector schema {schema[1]}` in the new database first"
        )
    return BackupError(f"{problem}: {reason}")


def _last_line(complaint: bytes) -> str:
    """Return what a program said, without its name and those of files."""
    lines = [
        line
        for line in complaint.decode(errors="replace").splitlines()
        if re.match(r"(?:[\w/]*(?:pg_dump|pg_restore|psql)|psql:).*?(?:error|ERROR|FATAL)", line)
    ] or complaint.decode(errors="replace").strip().splitlines()
    last = lines[0] if lines else "it ended without a message"
    return re.sub(r"^.*?(?:error|ERROR|FATAL): +", "", last).rstrip(".")
