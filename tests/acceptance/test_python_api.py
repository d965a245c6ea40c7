"""The Python API, and the example of the README as written there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import patchbank
from tests.fixtures.commands import Outcome
from tests.fixtures.surfaces import Surfaces, brushed

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def bank(learned: Outcome, database_url: str, graphs_home: Path) -> patchbank.Bank:
    return patchbank.open("brushed", home=graphs_home, database_url=database_url)


def test_the_example_of_the_readme_runs(
    database_url: str,
    graphs_home: Path,
    surfaces: Surfaces,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(example.splitlines()) <= 10 + 1  # ten lines and an empty one
    shutil.copytree(surfaces.train, tmp_path / "good")
    (tmp_path / "new").mkdir()
    shutil.copy(surfaces.scratched / "002.png", tmp_path / "new" / "0001.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATCHBANK_DATABASE_URL", database_url)
    monkeypatch.setenv("PATCHBANK_HOME", str(graphs_home))
    from patchbank.settings import get_settings

    get_settings.cache_clear()
    exec(compile(example, str(README), "exec"), {})
    get_settings.cache_clear()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("fail ")
    assert lines[1].startswith("(")
    assert len(lines) >= 1 + 1 + 10
    assert lines[-1].startswith("good/")


def test_an_image_may_be_a_path_bytes_a_picture_or_an_array(
    bank: patchbank.Bank, surfaces: Surfaces
) -> None:
    path = surfaces.scratched / "001.png"
    pixels = np.asarray(Image.open(path))
    with bank:
        scores = {
            bank.inspect(image).score
            for image in (path, str(path), path.read_bytes(), Image.open(path), pixels)
        }
    assert len(scores) == 1
    assert scores.pop() > 0


def test_an_inspection_holds_its_evidence(bank: patchbank.Bank, tmp_path: Path) -> None:
    wide = np.concatenate([brushed(300), brushed(301, scratched=True)], axis=1)
    with bank:
        inspection = bank.inspect(wide, name="wide", heatmaps=tmp_path)
    assert inspection.image == "wide"
    assert (inspection.width, inspection.height) == (192, 96)
    full = inspection.full_map()
    assert full.shape == (96, 192)
    assert np.isfinite(full).all()
    # The scratch is in the right half.
    assert np.unravel_index(int(full.argmax()), full.shape)[1] >= 96
    assert inspection.heatmap is not None
    assert inspection.heatmap.is_file()


def test_many_images_and_a_bad_one(bank: patchbank.Bank, surfaces: Surfaces) -> None:
    images: list[Path | bytes] = [
        surfaces.good / "000.png",
        b"no picture",
        surfaces.scratched / "000.png",
    ]
    with bank:
        good, bad, scratched = bank.inspect_many(images)
    assert isinstance(good, patchbank.Inspection)
    assert isinstance(bad, patchbank.Refused)
    assert "image-0001" in bad.error
    assert isinstance(scratched, patchbank.Inspection)
    assert scratched.verdict == "fail"


def test_a_bank_that_is_not_fitted_says_so(database_url: str, graphs_home: Path) -> None:
    with patchbank.open("new", home=graphs_home, database_url=database_url) as bank:
        assert not bank.fitted
        with pytest.raises(patchbank.PatchbankError, match="new"):
            bank.inspect(brushed(0))


def test_a_fit_elsewhere_is_seen_at_once(
    bank: patchbank.Bank, database_url: str, graphs_home: Path, surfaces: Surfaces
) -> None:
    image = surfaces.good / "000.png"
    with bank, patchbank.open("brushed", home=graphs_home, database_url=database_url) as other:
        assert bank.inspect(image).bank_version == 1
        other.fit(surfaces.train, image_size=64)
        inspection = bank.inspect(image)
        assert inspection.bank_version == 2
        assert inspection.anomaly_map.shape == (64, 64)
        # Removed and learned anew, its version is 1 again, and it is another bank.
        before = bank.inspect(image).score
        other._workspace.database.categories.remove("brushed")
        for _ in range(2):
            other.fit([brushed(number) for number in range(500, 512)], image_size=64)
        again = bank.inspect(image)
        assert again.bank_version == 2
        assert again.score != before


def test_the_package_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, patchbank, patchbank.cli.app; "
        "print([m for m in ('openvino', 'onnx', 'numba', 'sklearn', 'matplotlib', 'torch',"
        " 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
