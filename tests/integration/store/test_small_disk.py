"""Disks that are full, or that we fill: what was there stays in reach, and room comes back."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from patchbank.errors import DiskFullError
from patchbank.store.database import open_database
from patchbank.store.embedded import server as embedded_server
from patchbank.store.embedded.reserve import LEAST_RESERVE_BYTES, tidy_up
from patchbank.store.embedded.server import EmbeddedServer
from tests.fixtures.banks import make_bank

MEGABYTE = 2**20


def _can_mount() -> bool:
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return False
        subprocess.run(["umount", folder], check=True)
        return True


def _reserve(home: Path) -> int:
    file = home / "postgres" / "reserve"
    return file.stat().st_size if file.exists() else 0


def _free(home: Path) -> int:
    return shutil.disk_usage(home).free + _reserve(home)


def _fill(file: Path) -> None:
    """Take all the room there is, as other programs do."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as filling:
        for size in (MEGABYTE, 4096):
            with contextlib.suppress(OSError):
                while True:
                    filling.write(bytes(size))


def test_room_is_laid_aside(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, idle_minutes=60)
    server.connect(lambda address: psycopg.connect(address)).close()
    try:
        found = (tmp_path / "postgres" / "reserve").stat()
        assert found.st_size >= LEAST_RESERVE_BYTES
        # Taken, not only promised.
        assert found.st_blocks * 512 >= found.st_size
        assert found.st_uid == (tmp_path / "postgres" / "data").stat().st_uid
    finally:
        server.stop()


# A disk can be made small only by those who may mount one; what the server's own complaint becomes
# is tested everywhere else.
if _can_mount():

    @pytest.fixture
    def small_disk() -> Iterator[Callable[[int], Path]]:
        with tempfile.TemporaryDirectory(prefix="patchbank-disk-") as folder:

            def mount(megabytes: int) -> Path:
                options = f"size={megabytes}m,mode=0755"
                subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
                return Path(folder) / "home"

            yield mount
            EmbeddedServer(Path(folder) / "home").stop()
            subprocess.run(["umount", folder], check=True)

    @pytest.mark.parametrize("size", [20, 70])
    def test_no_room_for_a_database(small_disk: Callable[[int], Path], size: int) -> None:
        home = small_disk(size)
        with pytest.raises(DiskFullError, match=r"no space left.*takes 86 MB.*PATCHBANK_HOME"):
            open_database(None, home)
        assert not (home / "postgres" / "data").exists()
        assert not (home / "postgres" / "data.new").exists()

    # Where the bank does not fit, and where it fits but the log of it does not.
    @pytest.mark.parametrize("size", [85, 100, 150])
    def test_a_bank_that_does_not_fit_is_tried_again_and_again(
        small_disk: Callable[[int], Path], size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = small_disk(size)
        server = EmbeddedServer(home, idle_minutes=60)
        large = make_bank(patches=30_000, dimensions=512)
        free = []
        for number in range(4):
            with open_database(None, home, idle_minutes=60) as database:
                database.banks.save("tile", make_bank())
                # As if another program took the room after it was looked at.
                with monkeypatch.context() as patched:
                    patched.setattr(database, "check_room", lambda needed: None)
                    with pytest.raises(DiskFullError, match="no space left"):
                        database.banks.save("tile", large)
                with pytest.raises(DiskFullError, match="the bank needs about"):
                    database.banks.save("tile", large)
                assert database.banks.active("tile").version == number + 1
            free.append(_free(home))
            assert _reserve(home) >= LEAST_RESERVE_BYTES
            if number == 1:
                server.stop()
            elif number == 2:
                os.kill(server.status().pid or 0, signal.SIGKILL)
        # Only what the log has taken by the second time is not given back.
        assert free[-1] > free[0] - 17 * MEGABYTE
        assert free[-1] > free[1] - 17 * MEGABYTE

    def test_a_crash_while_space_is_freed_is_waited_for(
        small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = small_disk(150)
        stayed_up: list[bool] = []

        def crash_first(connection: psycopg.Connection) -> bool:
            if not stayed_up:
                # The server then ends all connections, and recovers.
                os.kill(connection.info.backend_pid, signal.SIGKILL)
            stayed_up.append(tidy_up(connection))
            return stayed_up[-1]

        with open_database(None, home, idle_minutes=60) as database:
            database.banks.save("tile", make_bank())
        monkeypatch.setattr(embedded_server, "tidy_up", crash_first)
        EmbeddedServer(home, idle_minutes=60).make_room()
        # On a slow machine the server may accept another connection before it notices.
        assert (stayed_up[0], stayed_up[-1]) == (False, True)
        assert _reserve(home) >= LEAST_RESERVE_BYTES

    def test_a_disk_that_others_filled(small_disk: Callable[[int], Path]) -> None:
        home = small_disk(100)
        with open_database(None, home, idle_minutes=60) as database:
            database.banks.save("tile", make_bank())
        server = EmbeddedServer(home, idle_minutes=60)
        os.kill(server.status().pid or 0, signal.SIGKILL)
        other = home.parent / "other"
        _fill(other)
        with open_database(None, home, idle_minutes=60) as database:
            assert database.banks.active("tile").version == 1
        server.stop()
        other.unlink()
        with open_database(None, home, idle_minutes=60) as database:
            assert database.banks.save("tile", make_bank()) == 2
        assert _reserve(home) >= LEAST_RESERVE_BYTES

    def test_a_session_that_has_no_room_to_begin(small_disk: Callable[[int], Path]) -> None:
        home = small_disk(100)
        with open_database(None, home, idle_minutes=60) as database:
            database.banks.save("tile", make_bank())
        _fill(home.parent / "other")
        # As after a crash: the next session writes them again.
        written_anew = [*(home / "postgres" / "data").rglob("pg_internal.init")]
        assert written_anew
        for file in written_anew:
            file.unlink()
        _fill(home.parent / "another")
        with open_database(None, home, idle_minutes=60) as database:
            assert database.banks.active("tile").version == 1

    def test_a_category_is_removed_on_a_full_disk(small_disk: Callable[[int], Path]) -> None:
        home = small_disk(180)
        server = EmbeddedServer(home, idle_minutes=60)
        with open_database(None, home, idle_minutes=60) as database:
            database.banks.save("tile", make_bank(patches=9_000, dimensions=512))
        # After its checkpoint, each page that is written to goes into the log whole.
        server.stop()
        with open_database(None, home, idle_minutes=60) as database:
            _fill(home.parent / "other")
            assert database.categories.remove("tile").patches == 9_000
        # As long as others fill the disk, the server may crash again at any time.
        (home.parent / "other").unlink()
        with open_database(None, home, idle_minutes=60) as database:
            assert database.categories.list() == []

    def test_a_running_server_whose_disk_others_fill(small_disk: Callable[[int], Path]) -> None:
        home = small_disk(120)
        other = home.parent / "other"
        with open_database(None, home, idle_minutes=60) as database:
            database.banks.save("tile", make_bank())
            _fill(other)
            with pytest.raises(DiskFullError, match="the bank needs about"):
                database.banks.save("tile", make_bank(patches=20_000, dimensions=512))
            other.unlink()
            assert database.banks.save("tile", make_bank()) > 1
