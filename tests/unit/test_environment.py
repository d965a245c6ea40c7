"""The command that installs packages where patchbank finds them."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from patchbank.environment import install_command


def test_plain_pip_is_named_only_where_it_is_this_environments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in ("ours", "other"):
        (tmp_path / folder).mkdir()
        pip = tmp_path / folder / "pip"
        pip.write_text("#!/bin/sh\n")
        pip.chmod(0o755)
    python = tmp_path / "ours" / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", str(tmp_path / "ours"))
    assert install_command("patchbank[hub]") == "pip install 'patchbank[hub]'"
    module = importlib.util.find_spec("pip") is not None
    expected = [str(python), "-m", "pip"] if module else ["uv", "pip"]
    for path in (tmp_path / "other", tmp_path / "empty"):
        monkeypatch.setenv("PATH", str(path))
        command = shlex.split(install_command("patchbank[hub]"))
        assert command[: len(expected)] == expected
        assert str(python) in command
        assert command[-1] == "patchbank[hub]"


def test_an_environment_without_pip_is_uvs(tmp_path: Path) -> None:
    venv.create(tmp_path / "environment", with_pip=False)
    python = tmp_path / "environment" / "bin" / "python"
    sources = Path(__file__).parents[2] / "src"
    script = (
        f"import sys; sys.path.append({str(sources)!r}); "
        "from patchbank.environment import install_command; print(install_command('onnx'))"
    )
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"uv pip install --python {shlex.quote(str(python))} onnx\n"
