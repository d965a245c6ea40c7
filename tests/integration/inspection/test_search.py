"""Searches for what is stored, and inspections that leave the bank in the database."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from patchbank.errors import ImageError, NotFittedError, ParameterError
from patchbank.inspection.judging.defects import add_defects, add_synthetic_defects, remove_defects
from patchbank.inspection.judging.index import build_index, drop_indexes
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.search import search
from patchbank.inspection.judging.search_results import SearchResult
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from patchbank.store.bank_content import CalibrationScores
from patchbank.store.bank_key import BankKey
from tests.fixtures.banks import make_bank
from tests.fixtures.surfaces import Surfaces


def learn(workspace: Workspace, surfaces: Surfaces, **settings: object) -> None:
    chosen = make_fit_settings(image_size=64, **settings)  # type: ignore[arg-type]
    names = [f"train/good/{path.name}" for path in sorted(surfaces.train.iterdir())]
    fit(workspace, "brushed", sorted(surfaces.train.iterdir()), chosen, names=names)


@pytest.mark.parametrize("by_index", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_a_stored_image_finds_itself_and_the_ten_of_numpy(
    workspace: Workspace, surfaces: Surfaces, metric: str, by_index: bool
) -> None:
    with workspace:
        learn(workspace, surfaces)
        bank = workspace.database.banks.active("brushed")
        if by_index:
            assert (build_index(workspace, "brushed", metric=metric).recall or 0) >= 0.95
        vectors = bank.content.embeddings.astype(np.float64)
        lengths = np.linalg.norm(vectors, axis=1)
        for place in (0, 7, 23):
            name = bank.content.images[place].name
            result = search(workspace, "brushed", name=name, metric=metric)
            similarity = vectors @ vectors[place] / lengths / lengths[place]
            distance = np.linalg.norm(vectors - vectors[place], axis=1)
            order = np.argsort(distance if metric == "l2" else -similarity)[:10]
            assert [one.name for one in result.matches] == [
                bank.content.images[i].name for i in order
            ]
            assert result.matches[0].name == name
            assert f"{result.matches[0].similarity:.4f}" == "1.0000"
            for match, index in zip(result.matches, order, strict=True):
                assert match.similarity == pytest.approx(similarity[index], abs=1e-6)
                assert match.distance == pytest.approx(distance[index], abs=1e-4)
            assert result.method.startswith("HNSW index of vector" if by_index else "exact scan")
            assert search(workspace, "brushed", name=name, exact=True).method == "exact scan"


@pytest.mark.parametrize("by_index", [False, True])
def test_a_stored_patch_finds_itself_and_the_ten_of_numpy(
    workspace: Workspace, surfaces: Surfaces, by_index: bool
) -> None:
    with workspace:
        learn(workspace, surfaces)
        bank = workspace.database.banks.active("brushed")
        if by_index:
            assert (build_index(workspace, "brushed", on="patches").recall or 0) >= 0.95
        features = bank.content.features.astype(np.float64)
        lengths = np.linalg.norm(features, axis=1)

        def name_of(place: int) -> str:
            image = bank.content.images[bank.content.patch_image[place]].name
            return (
                f"{image}#r{bank.content.patch_row[place]:02}c{bank.content.patch_column[place]:02}"
            )

        for place in (0, 50, 150):
            result = search(workspace, "brushed", name=name_of(place))
            order = np.argsort(-(features @ features[place]) / lengths)[:10]
            assert [one.name for one in result.matches] == [name_of(i) for i in order]
            assert f"{result.matches[0].similarity:.4f}" == "1.0000"
            assert result.method.startswith("HNSW" if by_index else "exact")


def test_an_index_is_dropped_and_the_scan_is_back(workspace: Workspace, surfaces: Surfaces) -> None:
    with workspace:
        learn(workspace, surfaces)
        report = build_index(workspace, "brushed", on="patches", type_="halfvec", metric="l2")
        assert (report.index.dimensions, report.rows) == (152, 154)
        assert report.size_bytes > 0
        assert report.queries == 100
        assert drop_indexes(workspace, "brushed") == [report.index]
        name = "train/good/000.png"
        assert search(workspace, "brushed", name=name).method == "exact scan"


def test_vectors_of_zeros_are_found_though_no_index_holds_them(workspace: Workspace) -> None:
    bank = make_bank(image_count=6)
    embeddings = bank.embeddings.copy()
    embeddings[1:] = 0
    name, zero = bank.images[0].name, bank.images[3].name
    with workspace:
        workspace.database.banks.save("tile", replace(bank, embeddings=embeddings))
        exact = search(workspace, "tile", name=name, top=4)
        report = build_index(workspace, "tile")
        assert report.recall is not None
        found = search(workspace, "tile", name=name, top=4)
        assert found.matches == exact.matches
        assert found.method == "exact scan, because the index found only 1"
        found = search(workspace, "tile", name=zero)
        assert len(found.matches) == 6
        assert found.method.startswith("exact scan, because the index cannot contain")
        # All of them zeros: an index of nothing, and no recall.
        workspace.database.banks.save(
            "tile", replace(bank, embeddings=np.zeros_like(embeddings), features=bank.features * 0)
        )
        for on in ("images", "patches"):
            report = build_index(workspace, "tile", on=on)
            assert (report.recall, report.queries) == (None, 0)
            assert report.to_json()["recall_at_10"] is None
        patch = next(iter(workspace.database.patches.sample(_key(workspace), [5])))[0]
        assert search(workspace, "tile", name=patch).method.startswith("exact scan, because")


def test_an_index_over_nothing_is_refused(workspace: Workspace) -> None:
    bank = make_bank(patches=5)
    none = np.full(5, -1)
    with workspace:
        workspace.database.banks.save(
            "tile",
            replace(
                bank, images=[], scores=CalibrationScores.none(),
                embeddings=bank.embeddings[:0], patch_image=none,
                patch_row=none.astype(np.int16), patch_column=none.astype(np.int16),
            ),
        )  # fmt: skip
        with pytest.raises(NotFittedError, match=r"has no images to index, .* --on patches"):
            build_index(workspace, "tile")
        assert workspace.database.indexes.of_category(_key(workspace)[0]) == []
        assert build_index(workspace, "tile", on="patches").recall == 1


def test_a_poor_index_says_so_and_more_candidates_help(workspace: Workspace) -> None:
    # Noise of many dimensions has no near neighbours to speak of.
    with workspace:
        workspace.database.banks.save("tile", make_bank(patches=5000, dimensions=128))
        report = build_index(workspace, "tile", on="patches", metric="l2", ef_search=1)
        better = build_index(workspace, "tile", on="patches", metric="l2", ef_search=1000)
        patch = workspace.database.patches.sample(_key(workspace), [5])[0][0]
        method = search(workspace, "tile", name=patch, metric="l2").method
        assert method == (
            f"HNSW index of vector (l2, ef_search 1000, recall {better.recall:.4f} when built)"
        )
        assert report.recall is not None
        assert better.recall is not None
        assert report.recall < 0.95 < better.recall
        assert better.warning is None
        assert f"finds only {report.recall:.0%} of the nearest neighbours: rebuild it" in str(
            report.warning
        )
        with pytest.raises(ParameterError, match="ef_search 1001: must be 1 to 1000"):
            build_index(workspace, "tile", ef_search=1001)


def _key(workspace: Workspace) -> BankKey:
    return workspace.database.banks.active_key("tile")


def test_the_similarity_rule_is_about_images(workspace: Workspace) -> None:
    with workspace:
        workspace.database.banks.save("tile", make_bank())
        patch = workspace.database.patches.sample(_key(workspace), [5])[0][0]
        with pytest.raises(ParameterError, match="--threshold applies to whole images"):
            search(workspace, "tile", name=patch, threshold=0.9)


def test_a_patch_that_was_not_chosen_is_explained(workspace: Workspace, surfaces: Surfaces) -> None:
    with workspace:
        learn(workspace, surfaces)
        image = "train/good/000.png"
        key = workspace.database.banks.active_key("brushed")
        stored = workspace.database.patches.positions(key, image)
        row, column = next((r, c) for r in range(8) for c in range(8) if (r, c) not in stored)
        nearest = min(stored, key=lambda at: ((at[0] - row) ** 2 + (at[1] - column) ** 2, at))
        with pytest.raises(ImageError) as raised:
            search(workspace, "brushed", name=f"{image}#r{row}c{column}")
        message = str(raised.value)
        assert f"{len(stored)} of the 64 patches of this image" in message
        assert f"nearest ones are #r{nearest[0]:02}c{nearest[1]:02}" in message
        with pytest.raises(ImageError, match=r"'none\.png'"):
            search(workspace, "brushed", name="none.png#r00c00")
        with pytest.raises(ImageError, match=r"similar names are 'train/good/000\.png'"):
            search(workspace, "brushed", name="/elsewhere/000.png")


def test_the_similarity_rule(workspace: Workspace, surfaces: Surfaces) -> None:
    with workspace:
        learn(workspace, surfaces)
        result = search(workspace, "brushed", surfaces.good / "003.png", threshold=-0.5, top=4)
        assert result.verdict == "Good image: the 4 most similar references"
        assert len(result.matches) == 4
        result = search(workspace, "brushed", surfaces.scratched / "000.png", threshold=0.9)
        assert result.normal is False
        assert result.matches[0].similarity < 0.9
        assert result.verdict == "Anomalous image: no stored reference reaches 0.9"
        exactly = result.matches[0].similarity
        at = search(workspace, "brushed", surfaces.scratched / "000.png", threshold=exactly)
        assert at.normal is True


def test_a_reference_that_sets_the_threshold_by_itself_is_named(workspace: Workspace) -> None:
    # Fifteen pairs that are alike, and one that is like none of them.
    random = np.random.default_rng(0)
    axes = np.eye(16, dtype=np.float32)
    looks = np.concatenate([axes[:15], axes[:15], axes[15:]])
    looks += random.normal(0, 0.05, looks.shape).astype(np.float32)

    def searched(count: int, **options: Any) -> SearchResult:
        mean = np.zeros(16, np.float32)
        bank = make_bank(image_count=count, embeddings=looks[:count], embedding_mean=mean)
        workspace.database.banks.save("tile", bank)
        return search(workspace, "tile", name="good/003.png", **options)

    with workspace:
        alone, without = searched(31), searched(30)
        (remark,) = alone.remarks
        assert remark.startswith("look at this reference: good/030.png; without it")
        assert f"would be {without.threshold:.4g}, not {alone.threshold:.4g}" in remark
        assert without.remarks == ()
        # The caller's own threshold is set by nobody else.
        assert searched(31, threshold=0.5).remarks == ()


@pytest.mark.parametrize("raw", [False, True])
def test_a_reference_reaches_the_threshold_that_is_its_own_similarity(
    workspace: Workspace, surfaces: Surfaces, raw: bool
) -> None:
    with workspace:
        learn(workspace, surfaces, false_alarm_rate=0.01)
        names = [one.name for one in workspace.database.banks.active("brushed").content.images]
        results = [search(workspace, "brushed", name=name, raw=raw) for name in names]
        # The threshold, of too few references for 1 %, is the lowest of their similarities.
        standing, threshold = results[0].standing, results[0].threshold
        assert standing is not None
        assert threshold == standing.similarities[0]
        assert [result.normal for result in results] == [True] * len(names)
        # The same in float64 as in pgvector's float32, whichever is the larger.
        for name, result in zip(names, results, strict=True):
            nearest = next(one.similarity for one in result.matches if not one.itself)
            own = min(standing.similarities, key=lambda similarity: abs(similarity - nearest))
            for limit in (own, nearest):
                assert search(workspace, "brushed", name=name, raw=raw, threshold=limit).normal
        assert standing.describe(threshold).startswith(
            f"24 of 24 references reach {threshold:.4g} with another reference; calibrated for "
            f"at most"
        )
        assert "23 of 24 references reach" in standing.describe(standing.similarities[1])
        assert "would pass all" in standing.describe(standing.similarities[1])


@pytest.mark.parametrize("threshold", ["0.9", True, [0.9], 1j])
def test_a_threshold_is_a_number(workspace: Workspace, threshold: object) -> None:
    with workspace, pytest.raises(ParameterError, match=r"threshold .*: give a similarity such as"):
        search(workspace, "any", name="any", threshold=threshold)  # type: ignore[arg-type]


def test_an_image_is_no_evidence_for_itself(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    source = surfaces.train / "003.png"
    name = "train/good/003.png"
    copied, saved_again = tmp_path / "copy.png", tmp_path / "again.tif"
    shutil.copy(source, copied)
    with Image.open(source) as picture:
        picture.save(saved_again)
    with workspace:
        learn(workspace, surfaces)
        bank = workspace.database.banks.active("brushed")
        position = [one.name for one in bank.content.images].index(name)
        similarity = _similarities(bank.content.embeddings)[position]
        queries: list[dict[str, Any]] = [
            {"image": source}, {"image": copied}, {"image": saved_again}, {"name": name},
        ]  # fmt: skip
        for query in queries:
            result = search(workspace, "brushed", **query, top=1)
            assert [(one.name, one.itself) for one in result.matches] == [(name, True)]
            below = search(workspace, "brushed", **query, threshold=similarity - 1e-4)
            assert below.normal is True
            ruled = search(workspace, "brushed", **query, threshold=similarity + 1e-4)
            assert ruled.normal is False
            assert (
                ruled.verdict
                == f"Anomalous image: no other reference reaches {ruled.threshold:.4g}"
            )
            assert [one.itself for one in ruled.matches] == [True] + [False] * 9
        # Without the digests of its pixels, as banks of before have it, the vector tells.
        with workspace.database.connection() as connection:
            connection.execute(b"update image set pixels_sha256 = null, sha256 = sha256(sha256)")
        result = search(workspace, "brushed", saved_again)
        assert [one.itself for one in result.matches] == [True] + [False] * 9


def _similarities(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return how similar each embedding is to its nearest other, the plain way."""
    wide = embeddings.astype(np.float64)
    unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -2)
    return np.asarray(similarity.max(axis=1))


@pytest.mark.parametrize("raw", [False, True])
def test_the_rule_is_calibrated_by_the_references(
    workspace: Workspace, surfaces: Surfaces, raw: bool
) -> None:
    with workspace:
        learn(workspace, surfaces, false_alarm_rate=0.1)
        bank = workspace.database.banks.active("brushed")
        expected = np.sort(
            _similarities(
                bank.content.embeddings + (bank.content.embedding_mean if raw else np.float32(0))
            )
        )
        result = search(workspace, "brushed", surfaces.good / "000.png", raw=raw)
        assert result.standing is not None
        assert result.threshold is not None
        np.testing.assert_allclose(result.standing.similarities, expected, atol=1e-6)
        # Of 24, floor(0.1 x 25) = 2 may fail: the second lowest is the threshold.
        assert result.threshold == pytest.approx(expected[1], abs=1e-6)
        assert result.standing.guaranteed_rate == pytest.approx(2 / 25)
        assert result.standing.reaching(result.threshold) == 23
        document = result.to_json()["references"]
        assert (document["count"], document["reaching"]) == (24, 23)
        assert document["lowest"] == pytest.approx(expected[0], abs=1e-6)
        good = [
            search(workspace, "brushed", path, raw=raw).normal
            for path in sorted(surfaces.good.iterdir())
        ]
        assert sum(good) >= len(good) - 2  # type: ignore[arg-type]


def test_uncentred_embeddings_are_those_of_the_view(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    scratch = surfaces.scratched / "000.png"
    with workspace:
        learn(workspace, surfaces)
        add_defects(workspace, "brushed", [scratch], label="scratch")
        build_index(workspace, "brushed")
        result = search(workspace, "brushed", name="train/good/007.png", raw=True, top=24)
        assert result.method == "exact scan of uncentred embeddings"
        with workspace.database.connection() as connection:
            rows = connection.execute(
                b"select one.name, 1 - (one.raw_embedding <=> other.raw_embedding) as similarity "
                b"from images as one, images as other where other.name = 'train/good/007.png' "
                b"order by similarity desc"
            ).fetchall()
        assert [one.name for one in result.matches] == [name for name, _ in rows]
        np.testing.assert_allclose(
            [one.similarity for one in result.matches], [one for _, one in rows], atol=1e-6
        )
        (defect,) = search(workspace, "brushed", scratch, among="defects", raw=True).matches
        assert defect.similarity == pytest.approx(1, abs=1e-5)
        patch = workspace.database.patches.sample(
            workspace.database.banks.active_key("brushed"), [5]
        )[0][0]
        with pytest.raises(ParameterError, match="never centred; leave it out"):
            search(workspace, "brushed", name=patch, raw=True)


def test_without_another_reference_there_is_no_rule(workspace: Workspace) -> None:
    bank = make_bank(image_count=1)
    with workspace:
        workspace.database.banks.save("tile", bank)
        result = search(workspace, "tile", name=bank.images[0].name)
    assert (result.normal, result.threshold, result.verdict) == (None, None, None)
    assert "too few different references" in result.remarks[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "give an image"),
        ({"image": "a.png", "name": "b"}, "give an image"),
        ({"name": "a", "metric": "dot"}, "must be cosine or l2"),
        ({"name": "a", "among": "all"}, "must be references or defects"),
        ({"name": "a", "threshold": 1.5}, "between -1 and 1"),
        ({"name": "a", "threshold": 0.9, "metric": "l2"}, "cosine similarity among references"),
        ({"name": "a", "top": 0}, "at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(
    workspace: Workspace, given: dict[str, object], words: str
) -> None:
    with workspace, pytest.raises(ParameterError, match=words):
        search(workspace, "brushed", **given)  # type: ignore[arg-type]


def test_defects_real_and_synthetic(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    scratches = sorted(surfaces.scratched.iterdir())[:3]
    with workspace:
        learn(workspace, surfaces)
        added = add_defects(workspace, "brushed", [*scratches, broken], label="scratch")
        assert [Path(name).name for name in added.names] == [path.name for path in scratches]
        assert [one.image for one in added.refused] == [str(broken)]
        assert add_synthetic_defects(workspace, "brushed", 2).names == (
            "synthetic/0001", "synthetic/0002",
        )  # fmt: skip
        assert add_synthetic_defects(workspace, "brushed", 1).names == ("synthetic/0003",)
        result = search(workspace, "brushed", scratches[1], among="defects")
        assert result.matches[0].name == str(scratches[1])
        assert f"{result.matches[0].similarity:.4f}" == "1.0000"
        assert (result.matches[0].label, result.matches[0].synthetic) == ("scratch", False)
        synthetic = {one.name for one in result.matches if one.synthetic}
        assert synthetic == {"synthetic/0001", "synthetic/0002", "synthetic/0003"}
        # By its own name, it is itself among the defects; and it is compared with references.
        itself = search(workspace, "brushed", name="synthetic/0002", among="defects").matches[0]
        assert (itself.name, f"{itself.similarity:.4f}") == ("synthetic/0002", "1.0000")
        beside = search(workspace, "brushed", name="synthetic/0002")
        assert {one.label for one in beside.matches} == {"good"}
        assert beside.matches[0].similarity < 1 - 1e-4
        # Another fit with this extractor leaves them comparable, one with another does not.
        learn(workspace, surfaces, seed=1)
        again = search(workspace, "brushed", scratches[1], among="defects")
        assert [one.name for one in again.matches] == [one.name for one in result.matches]
        fit(
            workspace, "brushed", sorted(surfaces.train.iterdir()), make_fit_settings(image_size=96)
        )
        other = search(workspace, "brushed", scratches[1], among="defects")
        assert other.matches == ()
        assert (
            "6 of 6 defects left out because they were recorded with another extractor"
            in other.remarks[0]
        )
        with pytest.raises(ParameterError, match="give names of defects"):
            remove_defects(workspace, "brushed")
        assert remove_defects(workspace, "brushed", synthetic=True) == sorted(synthetic)


def test_synthetic_defects_need_the_files_of_references(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    shutil.copytree(surfaces.train, tmp_path / "good")
    with workspace:
        fit(
            workspace, "brushed", sorted((tmp_path / "good").iterdir()),
            make_fit_settings(image_size=64),
        )  # fmt: skip
        shutil.rmtree(tmp_path / "good")
        with pytest.raises(ImageError, match="files of the reference images"):
            add_synthetic_defects(workspace, "brushed", 1)
        with pytest.raises(ParameterError, match="at least 1"):
            add_synthetic_defects(workspace, "brushed", 0)


@pytest.mark.parametrize("score", ["top1percent", "reweighted"])
def test_inspecting_in_the_database_gives_the_same_verdicts(
    workspace: Workspace, surfaces: Surfaces, score: str
) -> None:
    paths = [*sorted(surfaces.good.iterdir())[:4], *sorted(surfaces.scratched.iterdir())[:4]]
    with workspace:
        learn(workspace, surfaces, image_score=score)
        in_memory = list(Inspector(workspace, "brushed").inspect_many(paths))
        there = Inspector(workspace, "brushed", in_database=True)
        for one, other in zip(in_memory, there.inspect_many(paths), strict=True):
            assert isinstance(one, Inspection)
            assert isinstance(other, Inspection)
            assert other.verdict == one.verdict
            assert other.score == pytest.approx(one.score, rel=1e-5)
            np.testing.assert_allclose(other.anomaly_map, one.anomaly_map, rtol=1e-5, atol=1e-5)
            assert [r.box_xyxy for r in other.regions] == [r.box_xyxy for r in one.regions]
        # By an index nearly the same is found, and it is said.
        assert not any(
            "approximate" in text for one in in_memory for text in one.to_json()["remarks"]
        )
        build_index(workspace, "brushed", on="patches", metric="l2")
        by_index = Inspector(workspace, "brushed", in_database=True)
        for exact, approximate in zip(in_memory, by_index.inspect_many(paths), strict=True):
            assert isinstance(exact, Inspection)
            assert isinstance(approximate, Inspection)
            assert approximate.verdict == exact.verdict
            assert approximate.score == pytest.approx(exact.score, rel=0.05)
            assert "approximate, by hnsw_patches_" in approximate.remarks[0]
        # A fit meanwhile is seen, as ever.
        learn(workspace, surfaces, image_score=score, seed=1)
        assert there.inspect(paths[0]).bank_version == 2


def test_a_defect_that_takes_the_name_of_another_picture_is_said(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = sorted(surfaces.scratched.iterdir())
    with workspace:
        learn(workspace, surfaces)
        for day, picture, replaced in (
            ("monday", pictures[0], False),
            ("monday", pictures[1], False),  # the same file, changed
            ("tuesday", pictures[1], False),  # the same picture
            ("wednesday", pictures[2], True),
        ):
            (tmp_path / day).mkdir(exist_ok=True)
            shutil.copy(picture, tmp_path / day / "1.png")
            monkeypatch.chdir(tmp_path / day)
            added = add_defects(workspace, "brushed", ["1.png"])
            assert added.names == ("1.png",)
            assert any("replaced another image" in text for text in added.remarks) is replaced
