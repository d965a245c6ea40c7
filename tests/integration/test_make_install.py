"""What `make install` and `make uninstall` refuse and leave alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make(
    target: str, prefix: Path, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    command = ["make", "--directory", str(ROOT), target, f"PREFIX={prefix}", f"PYTHON={python}"]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_command_of_another_installation_is_kept(tmp_path: Path) -> None:
    prefix = tmp_path / "with space"
    command = prefix / "bin" / "patchbank"
    command.parent.mkdir(parents=True)
    command.write_text("of pipx")
    done = make("install", prefix)
    assert done.returncode == 2
    assert f"make: {command} was not installed by make install; remove it first" in done.stderr
    assert make("uninstall", prefix).returncode == 0
    assert command.read_text() == "of pipx"
    assert not (prefix / "lib").exists()


def test_uninstall_removes_the_link_and_the_environment(tmp_path: Path) -> None:
    installed, command = tmp_path / "lib" / "patchbank", tmp_path / "bin" / "patchbank"
    (installed / "bin").mkdir(parents=True)
    command.parent.mkdir()
    command.symlink_to(installed / "bin" / "patchbank")
    assert make("uninstall", tmp_path).returncode == 0
    assert not installed.exists()
    assert not command.is_symlink()


def test_a_python_that_is_missing_or_cannot_make_environments_is_named(tmp_path: Path) -> None:
    done = make("install", tmp_path, "python-of-no-machine")
    assert "make: python-of-no-machine not found; install Python 3.11" in done.stderr
    done = make("install", tmp_path, "false")
    assert done.returncode == 2
    assert "make: cannot make the environment; on Debian and Ubuntu, install" in done.stderr
