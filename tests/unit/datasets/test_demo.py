"""The demo set, from the real package."""

from __future__ import annotations

import errno
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from patchbank.datasets.demo import CellKind, demo_split, export_demo
from patchbank.datasets.layouts import mvtec
from patchbank.datasets.samples import CategorySamples, Mask, Sample
from patchbank.errors import DatasetError, DiskFullError, MissingExtraError, ParameterError


@pytest.mark.parametrize(("kind", "good", "defective"), [("mono", 588, 313), ("poly", 920, 402)])
def test_the_split_uses_every_clear_cell_once(kind: CellKind, good: int, defective: int) -> None:
    split = demo_split(kind)
    assert split.category == f"cell-{kind}"
    assert len(split.train) == 200
    assert split.kinds == {"good": good - 200, "defective": defective}
    labels = Counter(sample.label for sample in split.test)
    assert labels == {"good": good - 200, "anomalous": defective}
    paths = {sample.path for sample in (*split.train, *split.test)}
    assert len(paths) == good + defective
    assert all(path.is_file() for path in paths)


def test_the_split_depends_on_the_seed_alone() -> None:
    first, again, other = (demo_split("mono", seed=seed) for seed in (0, 0, 1))
    assert first == again
    shared = {s.path for s in first.train} & {s.path for s in other.train}
    assert 200 * 200 / 588 * 0.6 < len(shared) < 200 * 200 / 588 * 1.5  # as by chance


def test_cells_nobody_is_sure_of_have_no_label() -> None:
    split = demo_split("mono", uncertain=True)
    assert split.kinds["probability-1-3"] == 117
    assert split.kinds["probability-2-3"] == 56
    assert sum(sample.label == "unknown" for sample in split.test) == 117 + 56


@pytest.mark.parametrize("reference", [0, -1, 588, 10_000])
def test_too_many_references_are_refused(reference: int) -> None:
    with pytest.raises(ParameterError, match="588 good mono cells"):
        demo_split("mono", reference=reference)


def test_a_seed_below_zero_is_refused() -> None:
    with pytest.raises(ParameterError, match="seed"):
        demo_split("mono", seed=-1)


def test_without_the_package_the_command_to_install_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "elpv_dataset", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'patchbank\[demo\]'"):
        demo_split("mono")


@pytest.mark.slow
def test_the_export_loads_as_the_same_split(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    target = tmp_path / "new" / "demo"
    count = export_demo(target, progress=lambda _stage, done, total: steps.append((done, total)))
    assert mvtec.list_categories(target) == ["cell-mono", "cell-poly"]
    assert count == 588 + 313 + 920 + 402
    assert steps[-1] == (count, count)
    for kind in ("mono", "poly"):
        split = demo_split(kind)
        loaded = mvtec.load(target, split.category)
        assert loaded.warnings == ()
        assert {s.name: s.label for s in loaded.train} == {s.name: s.label for s in split.train}
        assert {(s.name, s.label, s.kind) for s in loaded.test} == {
            (s.name, s.label, s.kind) for s in split.test
        }
        assert loaded.train[0].path.read_bytes() == demo_file(split, loaded.train[0].name)
    licence = (target / "LICENCE.txt").read_text(encoding="utf-8")
    assert "CC BY-NC-SA 4.0" in licence
    assert "Buerhop-Lutz" in licence
    assert sorted(path.name for path in target.parent.iterdir()) == ["demo"]
    # The same again is nothing to do; another split is refused; a damaged one is noticed.
    before = (target / "cell-mono").stat().st_mtime_ns
    assert export_demo(target) == count
    assert (target / "cell-mono").stat().st_mtime_ns == before
    with pytest.raises(DatasetError, match="another demo split"):
        export_demo(target, seed=1)
    (target / "cell-mono" / "train" / "good" / loaded_name(target)).unlink()
    with pytest.raises(DatasetError, match="lacks cell-mono/train/good"):
        export_demo(target)


def demo_file(split: CategorySamples, name: str) -> bytes:
    return next(s.path for s in split.train if s.name == name).read_bytes()


def loaded_name(target: Path) -> str:
    return mvtec.load(target, "cell-mono").train[0].path.name


def test_an_empty_folder_is_filled_and_another_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert export_demo(empty, kinds=["mono"]) == 588 + 313
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("keep")
    with pytest.raises(DatasetError, match="is not empty"):
        export_demo(other)
    assert [path.name for path in other.iterdir()] == ["mine.txt"]
    with pytest.raises(DatasetError, match="is not a folder"):
        export_demo(other / "mine.txt")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
        (OSError(errno.EACCES, "Permission denied"), DatasetError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_an_export_that_ends_early_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    expected: type[BaseException],
) -> None:
    """The fault is made to happen at the 20th file, since no disk can be filled here."""
    copyfile = shutil.copyfile
    copied: list[str] = []

    def fail_later(source: Path, target: Path) -> None:
        if len(copied) == 20:
            raise fault
        copied.append(str(target))
        copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", fail_later)
    with pytest.raises(expected):
        export_demo(tmp_path / "demo", kinds=["mono"])
    assert len(copied) == 20
    assert list(tmp_path.iterdir()) == []


def test_samples_check_themselves() -> None:
    path = Path("a.png")
    with pytest.raises(ValueError, match="does not fit"):
        Sample(path, "a", label="good", kind="crack", split="test")
    with pytest.raises(ValueError, match="no mask"):
        Sample(path, "a", label="good", kind="good", split="test", mask=Mask((path,)))
    good = Sample(path, "a", label="good", kind="good", split="train")
    bad = Sample(path, "b", label="anomalous", kind="cut", split="test")
    with pytest.raises(ValueError, match="twice"):
        CategorySamples("c", (good, good), (bad,))
    with pytest.raises(ValueError, match="only good"):
        CategorySamples("c", (bad,), ())
