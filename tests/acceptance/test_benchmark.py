"""`patchbank benchmark`: its table, how it goes on after an interrupt, what it says of mistakes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from patchbank.cli import options
from patchbank.datasets.catalogue import DATASETS
from tests.fixtures.commands import Run, finish, start
from tests.fixtures.surfaces import Surfaces

SMALL = ("--image-size", "96")


@pytest.fixture
def root(surfaces: Surfaces, tmp_path: Path) -> Path:
    shutil.copytree(surfaces.root / "brushed", tmp_path / "set" / "leather")
    shutil.copytree(surfaces.root / "brushed", tmp_path / "set" / "tile")
    return tmp_path / "set"


def test_the_table_stands_beside_published_figures(
    patchbank: Run, root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    outcome = patchbank("benchmark", root, "--category", "tile,leather", "--folder", out, *SMALL)
    assert outcome.code == 0, outcome.err
    measured, header, *rows, report = outcome.out.splitlines()
    note = rows.pop()
    assert "efficientnet-lite0, layers " in measured
    assert measured.endswith(
        ", 96 pixels, f32, coreset 10 %, score top8, requested false-alarm rate 1 %, seed 0"
    )
    for title in (
        "image AUROC",
        "AP",
        "F1-max",
        "pixel AP",
        "AUPRO 0.3",
        "fit, seconds",
        "ms/image",
    ):
        assert title in header
    names = [row[: header.index("image AUROC") - 1].strip() for row in rows]
    sources = ["PatchCore's authors", "Anomalib, earlier table", "Anomalib, later table"]
    assert names == ["tile", *sources, "leather", *sources, "average", *sources]
    assert note == "published averages over: same 2 of 15 categories"
    assert "0.9949" in rows[1]
    assert "0.9571" in rows[1]
    assert report == f"report: {out / 'index.html'}"
    assert (out / "index.html").is_file()
    again = patchbank("benchmark", root, "--category", "tile", "--folder", out, *SMALL, "--json")
    assert "tile: result of an earlier run" in again.err.splitlines()
    tile, average = again.documents
    assert tile["kept_from_before"] is True
    assert tile["image_auroc"] == average["image_auroc"] == 1.0
    assert average["report"] == str(out / "index.html")
    changed = patchbank(
        *("benchmark", root, "--category", "tile", "--folder", out, *SMALL, "--json"),
        *("--coreset-ratio", "0.2"),
    )
    assert (
        "tile: evaluated again: changed since the earlier run: settings" in changed.err.splitlines()
    )
    assert changed.documents[0]["kept_from_before"] is False


def test_the_figures_can_be_read_in_a_terminal(
    root: Path, database_url: str, graphs_home: Path, tmp_path: Path
) -> None:
    """One of 80 columns, where not all figures fit beside each other, and bars are drawn."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "patchbank", "benchmark", root, "--folder", "out", *SMALL],
        env={
            **os.environ,
            "PATCHBANK_HOME": str(graphs_home),
            "PATCHBANK_DATABASE_URL": database_url,
            "TERM": "xterm",
        },
        cwd=tmp_path,
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    # Linux ends the reading with an error when the process has gone.
    with contextlib.suppress(OSError):
        while part := os.read(leader, 65536):
            shown += part
    os.close(leader)
    assert process.wait() == 0
    _, bars, rest = shown.decode().rpartition("\x1b[1A")
    assert bars
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in rest.splitlines()]
    # Colorama, where it is installed, resets the colours at the end.
    lines = [line for line in lines if line]
    # Nothing that is printed is taken away with the bars.
    assert any("efficientnet-lite0, layers " in line for line in lines)
    assert lines[-1] == "report: out/index.html"
    tables = [line.split("  ")[0] for line in lines if line.startswith("category")]
    assert len(tables) > 1
    assert not any("…" in line for line in lines)
    assert max(map(len, [line for line in lines if line.startswith(("tile", "  Anom"))])) <= 80
    assert sum("0.9949" in line for line in lines) == 1


def test_an_interrupted_benchmark_goes_on_where_it_was(
    patchbank: Run,
    root: Path,
    surfaces: Surfaces,
    database_url: str,
    graphs_home: Path,
    tmp_path: Path,
) -> None:
    # Remarks come with each finished category: the first one's tells when to interrupt.
    (root / "leather" / "test" / "scratch" / "text.png").write_text("no picture")
    for number in range(30):
        shutil.copytree(surfaces.root / "brushed", root / f"z{number}")
    arguments = ("benchmark", root, "--folder", tmp_path / "out", *SMALL)
    process = start(*arguments, home=graphs_home, url=database_url)
    assert process.stderr is not None
    assert "text.png" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130
    assert "leather" in outcome.out
    assert "report: " in outcome.out
    folders = [path.name for path in (tmp_path / "out" / "categories").iterdir()]
    assert folders
    assert not [name for name in folders if name.startswith(".")]
    # The last of the thirty was not reached.
    outcome = patchbank(*arguments, "--category", "leather,z29")
    assert outcome.code == 0, outcome.err
    assert "leather: result of an earlier run" in outcome.err
    assert "z29: kept" not in outcome.err
    assert "z29" in outcome.out
    assert len(list((tmp_path / "out" / "categories").iterdir())) == len(folders) + 1


def test_private_images_get_score_maps(patchbank: Run, surfaces: Surfaces, tmp_path: Path) -> None:
    """MVTec AD 2: labelled public images, and private ones that nobody may label."""
    can = tmp_path / "ad2" / "can"
    shutil.copytree(surfaces.train, can / "train" / "good")
    shutil.copytree(surfaces.good, can / "test_public" / "good")
    shutil.copytree(surfaces.scratched, can / "test_public" / "bad")
    shutil.copytree(
        surfaces.root / "brushed" / "ground_truth" / "scratch",
        can / "test_public" / "ground_truth" / "bad",
    )
    shutil.copytree(surfaces.scratched, can / "test_private")
    out = tmp_path / "out"
    arguments = ("benchmark", tmp_path / "ad2", "--dataset", "mvtec-ad2", "--folder", out, *SMALL)
    outcome = patchbank(*arguments)
    assert outcome.code == 0, outcome.err
    assert "AUPRO 0.05" in outcome.out
    (folder,) = (out / "categories").iterdir()
    assert "8 score maps in" in outcome.out
    maps = sorted(folder.rglob("*.tiff"))
    assert [path.relative_to(folder / "maps").as_posix() for path in maps] == [
        f"can/test_private/{number:03}.tiff" for number in range(8)
    ]
    for path in maps:
        with Image.open(path) as image:
            scores = np.asarray(image)
        assert scores.shape == (96, 96)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
    assert patchbank(*arguments, "--json").documents[0]["kept_from_before"] is True
    maps[0].write_bytes(maps[0].read_bytes()[:100])
    again = patchbank(*arguments)
    assert "can: evaluated again: files of its earlier result are missing or changed" in again.err
    with Image.open(maps[0]) as image:
        image.load()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--dataset", "mvtek"), "mvtek"),
        (("--category", "lether"), "leather"),
        (("--category", " , "), "--category"),
        (("--aupro-limit", "0"), "AUPRO limit"),
        (("--layers", "nowhere"), "nowhere"),
        (("--seed", "0,x"), "--seed 0,x: 'x' is not a whole number"),
        (("--seed", "0,-1"), "'-1' is not a whole number"),
        (("--seed", ""), "'' is not a whole number"),
        (("--seed", "1,2,1"), "seed 1 is given twice"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    patchbank: Run, root: Path, tmp_path: Path, arguments: tuple[str, str], words: str
) -> None:
    outcome = patchbank("benchmark", root, "--folder", tmp_path / "out", *SMALL, *arguments)
    assert outcome.code == 2
    assert words in outcome.complaint
    assert outcome.out == ""
    assert not (tmp_path / "out").exists()


def test_the_help_names_every_data_set() -> None:
    assert get_args(options.DataSetLayout) == tuple(DATASETS)


@pytest.mark.parametrize("obstacle", [".", "categories", "index.html", "notes.txt"])
def test_a_folder_that_cannot_be_written_is_found_out_first(
    patchbank: Run, root: Path, tmp_path: Path, obstacle: str
) -> None:
    out = tmp_path / "out"
    if obstacle == "index.html":
        (out / obstacle).mkdir(parents=True)
    else:
        (out / obstacle).parent.mkdir(exist_ok=True)
        (out / obstacle).write_text("in the way")
    outcome = patchbank("benchmark", root, "--folder", out, *SMALL)
    assert outcome.code == 2
    assert str(out) in outcome.complaint
    what = {".": "it is a file", "categories": "categories is a file"}
    others = f"has files that are not a benchmark's, such as {obstacle}"
    assert what.get(obstacle, others) in outcome.complaint
    assert outcome.out == ""
    assert obstacle == "." or [path.name for path in out.iterdir()] == [obstacle]
