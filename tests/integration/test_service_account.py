"""A service: an account without a home, in an installation that is root's."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ACCOUNT = 54_321  # no account has this number

#: Counts values, which compiles a kernel or loads it; says where it is kept.
COUNT = """
import numpy as np
from patchbank.compiled import kernel_folder
from patchbank.inspection.workspace import Workspace
from patchbank.metrics._pixel_kernels import PAGES, count_pages
Workspace()
pages = np.zeros(PAGES, np.int64)
count_pages(np.ones(8, np.float32).view(np.int32), pages)
assert pages.sum() == 8
print(kernel_folder())
"""


class Planted:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.file),)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of root's that every account can enter."""
    if os.geteuid() != 0:
        pytest.skip("only root may become another account")
    if shutil.which("setpriv") is None:
        pytest.skip("this system has no setpriv")
    made = Path(tempfile.mkdtemp(prefix="patchbank-service-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def home(folder: Path) -> Path:
    """A home folder of the service."""
    home = folder / "home"
    home.mkdir()
    os.chown(home, ACCOUNT, ACCOUNT)
    return home


def python(
    *arguments: str, home: Path | None, user: int, account_home: str | None = None, url: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run Python as an account that has no home unless it is given one."""
    dropped = ("PATCHBANK_", "XDG_", "NUMBA_", "MPL", "HOME")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    given = {"HOME": account_home, "PATCHBANK_HOME": home}
    environment |= {name: str(value) for name, value in given.items() if value is not None}
    # Nothing listens there.
    environment["PATCHBANK_DATABASE_URL"] = url or "postgresql://nobody@127.0.0.1:1/none"
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    # The interpreter may lie where only root comes: reading is allowed everywhere, writing is not.
    become += [f"--{kind}-caps=-all,+dac_read_search" for kind in ("inh", "ambient")]
    return subprocess.run(
        [*(become if user else []), sys.executable, *arguments],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def count(home: Path, user: int, account_home: str | None = None) -> Path:
    ran = python("-c", COUNT, home=home, user=user, account_home=account_home)
    assert ran.returncode == 0, ran.stderr
    return Path(ran.stdout.strip())


def test_a_service_account_learns_and_judges(
    folder: Path, home: Path, own_database_url: str
) -> None:
    pictures = folder / "good"
    pictures.mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        noise = random.normal(128, 12, (64, 64)).astype(np.uint8)
        Image.fromarray(noise).save(pictures / f"{number}.png")
    for command in ("fit", "inspect"):
        ran = python(
            "-m", "patchbank", command, "part", str(pictures), home=home, user=ACCOUNT,
            url=own_database_url,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert "cannot be cached" not in ran.stderr
    assert list(home.glob("numba/**/*.nbc"))
    assert list(home.glob("graphs/*.graph"))


def test_the_doctor_inspects_where_nothing_can_be_kept(folder: Path) -> None:
    # Root's home folder: the account may neither make one in it nor write to it.
    ran = python("-m", "patchbank", "doctor", "--json", home=folder, user=ACCOUNT)
    found = {one["name"]: one for one in json.loads(ran.stdout)["findings"]}
    assert found["inspection"]["healthy"], found["inspection"]
    assert "told apart in" in found["inspection"]["text"]
    assert "kernels and graphs cannot be cached" in found["caches"]["text"]
    assert "permission denied" in found["caches"]["text"]
    assert "set PATCHBANK_HOME" in found["caches"]["text"]
    (remark,) = ran.stderr.strip().splitlines()
    assert remark.startswith("remark   compiled kernels cannot be cached")


def test_root_loads_no_code_that_another_account_can_write(folder: Path, home: Path) -> None:
    theirs = count(home, ACCOUNT)
    assert theirs.is_relative_to(home)
    marker = home / "loaded"
    planted = pickle.dumps(Planted(marker))
    for file in [*theirs.rglob("*.nbi"), *theirs.rglob("*.nbc")]:
        file.write_bytes(planted)
    (folder / "root").mkdir()
    ours = count(home, 0, str(folder / "root"))
    assert not marker.exists()
    assert ours.is_relative_to(folder / "root")
    # Who may write there is who runs there: only so does the plant grow.
    python("-c", COUNT, home=home, user=ACCOUNT)
    assert marker.exists()


def test_an_account_without_any_home_is_told_so(folder: Path) -> None:
    ran = python("-m", "patchbank", "categories", home=None, user=ACCOUNT)
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith("patchbank: home folder ~/")
    assert "set PATCHBANK_HOME" in line


def test_matplotlib_keeps_its_fonts_in_the_home(home: Path) -> None:
    program = (
        "from patchbank.inspection.workspace import Workspace\n"
        "from patchbank.reports import drawing\n"
        "Workspace()\n"
        "drawing._set_matplotlib_cache()\n"
        "import matplotlib\n"
        "print(matplotlib.get_cachedir())\n"
    )
    ran = python("-c", program, home=home, user=ACCOUNT)
    assert ran.stdout.strip() == str(home / "matplotlib")
    assert ran.stderr == ""
