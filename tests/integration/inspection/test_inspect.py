"""Inspections by way of the use case itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.search import search
from patchbank.inspection.keeping.manage import remove_category
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.verdicts import Inspection, Refused
from patchbank.inspection.workspace import Workspace
from tests.fixtures.surfaces import Surfaces

SETTINGS = make_fit_settings(image_size=64)


def learn(workspace: Workspace, surfaces: Surfaces) -> Inspector:
    fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS)
    return Inspector(workspace, "brushed")


def test_similar_images_are_those_that_pgvector_finds(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    with workspace:
        inspector = learn(workspace, surfaces)
        for path in sorted(surfaces.scratched.iterdir())[:3]:
            found = inspector.inspect(path, top=5).similar
            stored = search(workspace, "brushed", path, top=5).matches
            assert [one.image for one in found] == [one.name for one in stored]
            for one, other in zip(found, stored, strict=True):
                assert one.similarity == pytest.approx(other.similarity, abs=1e-6)


def test_many_are_judged_as_one_by_one(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    paths = [*sorted(surfaces.scratched.iterdir())[:2], broken, *sorted(surfaces.train.iterdir())]
    paths = paths * 3
    calls: list[tuple[int, int]] = []
    with workspace:
        inspector = learn(workspace, surfaces)
        results = list(
            inspector.inspect_many(
                paths, progress=lambda _, done, total: calls.append((done, total))
            )
        )
        assert calls == [(done, len(paths)) for done in range(1, len(paths) + 1)]
        for path, result in zip(paths, results, strict=True):
            if path == broken:
                assert isinstance(result, Refused)
                continue
            assert isinstance(result, Inspection)
            single = inspector.inspect(path)
            assert result.image == single.image
            for inspection in (result, single):
                stages = dict(inspection.timings_ms)
                assert stages.pop("total") == pytest.approx(sum(stages.values()))
            assert result.timings_ms.keys() == single.timings_ms.keys() - {"bank"}
            assert result.score == single.score
            assert result.regions == single.regions
            assert result.similar == single.similar


def test_a_fit_that_comes_between_judges_the_rest(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    paths = sorted(surfaces.train.iterdir()) * 5
    with workspace:
        inspector = learn(workspace, surfaces)
        stream = inspector.inspect_many(paths)
        versions = [_version(next(stream))]
        # Another extractor: its features are others, so whatever is under way is made anew.
        fit(
            workspace, "brushed", sorted(surfaces.train.iterdir()), make_fit_settings(image_size=96)
        )
        versions += [_version(one) for one in stream]
    assert len(versions) == len(paths)
    assert versions == sorted(versions)
    assert versions[0] == 1
    # At most those that were recorded with the first, and as many again.
    assert versions.count(1) <= 32 < len(paths)


class DoingMeanwhile(list[Path]):
    """Paths that do something when the last of them is drawn."""

    def __init__(self, paths: Iterable[Path], work: Callable[[], object]) -> None:
        super().__init__(paths)
        self._work = work

    def __getitem__(self, part: Any) -> Any:
        return self._drawn() if isinstance(part, slice) else super().__getitem__(part)

    def _drawn(self) -> Iterator[Path]:
        *first, last = self
        yield from first
        self._work()
        yield last


def test_images_whose_bank_is_removed_before_they_are_recorded_are_judged_anew(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    @cache  # they are drawn again to be judged anew
    def replace() -> None:
        remove_category(workspace, "brushed")
        learn(workspace, surfaces)

    paths = sorted(surfaces.train.iterdir())[:12]
    with workspace:
        inspector = learn(workspace, surfaces)
        before = inspector.inspect(paths[0]).category_id
        stream = inspector.inspect_many(DoingMeanwhile(paths, replace))
        results = [one for one in stream if isinstance(one, Inspection)]
        assert [one.image for one in results] == [str(path) for path in paths]
        assert before not in {one.category_id for one in results}
        assert len(workspace.database.inspections.recent("brushed", limit=100)) == len(paths)


def test_an_interruption_leaves_what_was_given_back_recorded(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    paths = sorted(surfaces.train.iterdir()) * 4
    with workspace:
        inspector = learn(workspace, surfaces)

        def interrupt(stage: str, done: int, total: int) -> None:
            if done == 20:
                raise KeyboardInterrupt

        given_back: list[Inspection | Refused] = []
        with pytest.raises(KeyboardInterrupt):
            given_back.extend(inspector.inspect_many(paths, progress=interrupt))
        recorded = workspace.database.inspections.recent("brushed", limit=1000)
        assert len(recorded) == 32
        assert inspector.inspect(paths[0]).bank_version == 1


def test_a_picture_in_memory_beside_a_file(workspace: Workspace, surfaces: Surfaces) -> None:
    path = sorted(surfaces.train.iterdir())[0]
    with workspace, Image.open(path) as picture:
        inspector = learn(workspace, surfaces)
        first, second = inspector.inspect_many([path, picture], names=["a", "b"])
        assert isinstance(first, Inspection)
        assert isinstance(second, Inspection)
        assert (first.image, second.image) == ("a", "b")
        assert first.score == second.score


def _version(result: Inspection | Refused) -> int:
    assert isinstance(result, Inspection)
    return result.bank_version
