"""Versions that are sets of rows: changed by a few, read as they were, pruned."""

from __future__ import annotations

import copy
from dataclasses import fields, replace

import numpy as np
import psycopg
import pytest

from patchbank.errors import BankGoneError, ParameterError, UnknownCategoryError
from patchbank.store.bank_content import BankContent, CalibrationScores
from patchbank.store.database import Database
from patchbank.store.hnsw_index import HnswIndex
from patchbank.store.stored_bank import BankChange, StoredBank
from patchbank.store.versions import Retention
from tests.fixtures.banks import make_bank, make_image


class Model:
    """A bank as plain Python holds it: what every version of it consists of."""

    def __init__(self, bank: BankContent, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.bank = bank
        self.features = list(bank.features)
        self.owners = [bank.images[owner].name for owner in bank.patch_image]
        self.ordinals = list(range(len(bank.features)))
        self.images = list(bank.images)
        self.embeddings = list(bank.embeddings)
        self.positions = list(range(len(bank.images)))
        self.last_ordinal, self.last_position = self.ordinals[-1], self.positions[-1]
        self.scores = {image.name: index / 10 for index, image in enumerate(bank.images)}

    def state(self) -> tuple[object, ...]:
        return (
            np.array(self.features).tobytes(),
            tuple(self.owners),
            tuple(image.name for image in self.images),
            np.array(self.embeddings).tobytes(),
            tuple(sorted(self.scores.items())),
        )

    def change(self, name: str, patches: int) -> BankChange:
        """Replace one image by another of that name, and change some scores."""
        gone = int(self.random.integers(len(self.images)))
        old = self.images[gone].name
        stay = [slot for slot, owner in enumerate(self.owners) if owner != old]
        removed = [self.ordinals[slot] for slot in range(len(self.owners)) if slot not in stay]
        removed_position = self.positions[gone]
        self.features = [self.features[slot] for slot in stay]
        self.owners = [self.owners[slot] for slot in stay]
        self.ordinals = [self.ordinals[slot] for slot in stay]
        del self.images[gone], self.embeddings[gone], self.positions[gone], self.scores[old]
        features = self.random.normal(size=(patches, self.bank.features.shape[1]))
        embedding = self.random.normal(size=(self.bank.embeddings.shape[1],)).astype(np.float32)
        image = make_image(name)
        self.features += list(features.astype(np.float32))
        self.owners += [name] * patches
        self.ordinals += range(self.last_ordinal + 1, self.last_ordinal + 1 + patches)
        self.last_ordinal += patches
        self.images.append(image)
        self.embeddings.append(embedding)
        self.last_position += 1
        self.positions.append(self.last_position)
        self.scores[name] = float(self.random.random())
        changed = self.images[int(self.random.integers(len(self.images)))].name
        self.scores[changed] = float(self.random.random())
        return BankChange(
            replace(
                self.bank,
                features=features.astype(np.float32),
                patch_image=np.full(patches, len(self.images) - 1),
                patch_row=np.zeros(patches, np.int16),
                patch_column=np.arange(patches, dtype=np.int16),
                images=[image],
                embeddings=embedding[np.newaxis],
                scores=CalibrationScores.of_images(
                    np.arange(len(self.images)),
                    [self.scores[image.name] for image in self.images],
                    np.ones(len(self.images)),
                ),
            ),
            np.array(removed, np.int64),
            np.array([removed_position], np.int64),
        )


def state_of(stored: StoredBank) -> tuple[object, ...]:
    content = stored.content
    names = [image.name for image in content.images]
    return (
        content.features.tobytes(),
        tuple(names[owner] for owner in content.patch_image),
        tuple(names),
        content.embeddings.tobytes(),
        tuple(sorted(zip(names, content.scores.of_image(len(names)).tolist(), strict=True))),
    )


def start(database: Database, **sizes: int) -> Model:
    bank = make_bank(**sizes)
    model = Model(bank)
    scores = CalibrationScores.of_images(
        np.arange(len(bank.images)), list(model.scores.values()), np.ones(len(bank.images))
    )
    database.banks.save("tile", replace(bank, scores=scores))
    return model


def change(database: Database, model: Model, name: str, patches: int = 4) -> int:
    key = database.banks.active_key("tile")
    return database.banks.change("tile", key, model.change(name, patches), cause="add")


def test_every_version_is_what_it_was(database: Database) -> None:
    model = start(database)
    states = {1: model.state()}
    for number in range(2, 14):
        assert change(database, model, f"new/{number}.png") == number
        states[number] = model.state()
    for version, state in states.items():
        stored = database.banks.version("tile", version)
        assert state_of(stored) == state, version
        assert stored.patch_count == len(stored.content.features)
    assert state_of(database.banks.active("tile")) == states[13]
    assert next(b.patch_count for b in database.banks.history("tile")) == len(model.features)
    # A fit begins anew, and what was there before can still be read.
    database.banks.save("tile", make_bank(seed=9))
    assert state_of(database.banks.version("tile", 7)) == states[7]


def test_an_image_may_go_and_come_again(database: Database) -> None:
    model = start(database)
    states = [model.state()]
    for number in range(4):
        change(database, model, f"new/{number % 2}-{number // 2}.png")
        states.append(model.state())
    assert [state_of(database.banks.version("tile", v + 1)) for v in range(5)] == states


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_changes_lead_from_one_version_to_the_next(database: Database, steps: int) -> None:
    model = start(database)
    before = database.banks.active("tile")
    for number in range(steps):
        change(database, model, f"new/{number}.png", patches=number)
    found = database.banks.changes_since("tile", before.key)
    assert found is not None
    now, difference = found
    assert now.version == steps + 1
    stay = ~np.isin(before.ordinals, difference.removed_patches)
    features = np.concatenate([before.content.features[stay], now.content.features])
    assert features.tobytes() == database.banks.active("tile").content.features.tobytes()
    kept = ~np.isin(before.positions, difference.removed_references)
    names = [i.name for i, k in zip(before.content.images, kept, strict=True) if k]
    names += [image.name for image in now.content.images]
    whole = database.banks.active("tile").content
    assert names == [image.name for image in whole.images]
    for field in fields(CalibrationScores):
        np.testing.assert_array_equal(
            getattr(now.content.scores, field.name), getattr(whole.scores, field.name)
        )
    database.banks.save("tile", make_bank())
    assert database.banks.changes_since("tile", before.key) is None


def test_the_views_show_the_active_version(database: Database, database_url: str) -> None:
    model = start(database)
    change(database, model, "new/1.png")
    with psycopg.connect(database_url) as connection:
        connection.execute("set search_path to patchbank, public")
        images = connection.execute("select name, score from images").fetchall()
        patches = connection.execute("select image from patches").fetchall()
        scores = connection.execute(
            "select image, score from calibration_scores where active and counts"
        ).fetchall()
        row = connection.execute("select calibration from banks").fetchone()
        older = connection.execute(
            "select count(*) from calibration_scores where version = 1"
        ).fetchone()
    assert dict(images) == dict(scores) == model.scores
    assert sorted(image for (image,) in patches) == sorted(model.owners)
    assert row is not None
    assert row[0]["scores"] == sorted(model.scores.values())
    assert older == (12,)


def test_a_small_change_writes_little_and_leaves_indexes(database: Database) -> None:
    model = start(database, patches=3_000, dimensions=256, image_count=100)
    key = database.banks.active_key("tile")
    for on, dimensions in (("patches", 256), ("images", 5)):
        index = HnswIndex(on, key.category_id, key.generation, "vector", dimensions, "l2")  # type: ignore[arg-type]
        database.indexes.build(index, 3_000)

    def written() -> int:
        with database.connection() as connection:
            row = connection.execute("select pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert row is not None
        return int(row[0])

    # What a first write after a checkpoint adds (whole pages) is no part of it.
    change(database, model, "warm.png", patches=20)
    before = written()
    change(database, model, "new.png", patches=20)
    # Twenty vectors of 1 KB in the table, in the index its links too; the bank has 3 MB.
    assert written() - before < 600_000
    active = database.banks.active_key("tile")
    for on in ("patches", "images"):
        assert database.indexes.find(active, on, "l2") is not None  # type: ignore[arg-type]
    by = database.indexes.find(active, "patches", "l2")
    found = database.patches.similar(active, model.features[-1], metric="l2", index=by)
    assert found[0].name.startswith("new.png#")
    exact = database.patches.similar(active, model.features[-1], metric="l2")
    # Random vectors have no structure that an index could use.
    assert len({match.name for match in exact} & {match.name for match in found}) >= 7
    stored = {image.name for image in model.images}
    assert {match.image for match in found} <= stored


def test_what_is_not_kept_says_so(database: Database) -> None:
    database.retention = Retention(versions=3, days=0)
    model = start(database)
    states = {1: model.state()}
    for number in range(2, 9):
        change(database, model, f"new/{number}.png")
        states[number] = model.state()
    assert [b.state for b in database.banks.history("tile")] == [
        "active", "retired", "retired", *["pruned"] * 5
    ]  # fmt: skip
    for version in (6, 7, 8):
        assert state_of(database.banks.version("tile", version)) == states[version]
    with pytest.raises(
        BankGoneError, match=r"version 5 of category 'tile' was pruned.*kept are 6, 7, 8 "
    ):
        database.banks.version("tile", 5)
    with pytest.raises(BankGoneError, match=r"has no bank version 9; its latest version is 8"):
        database.banks.version("tile", 9)
    with database.connection() as connection:
        row = connection.execute("select count(*) from patch").fetchone()
        kept = {v.patch_count for v in database.banks.history("tile")[:3]}
        assert row is not None
        # Those of the three versions, without what went before them.
        assert row[0] <= max(kept) + 2 * 20
        orphans = connection.execute(
            "select count(*) from patch_change where not exists (select from patch "
            "where (category_id, generation, ordinal) = "
            "(patch_change.category_id, patch_change.generation, patch_change.ordinal))"
        ).fetchone()
    assert orphans == (0,)
    for _ in range(3):
        database.banks.save("tile", make_bank())
    with database.connection() as connection:
        for table in ("patch", "reference", "calibration_score"):
            rows = connection.execute(
                f"select distinct generation from {table} order by 1".encode()
            ).fetchall()
            assert rows == [(9,), (10,), (11,)], table


def test_an_earlier_version_becomes_active_again(database: Database) -> None:
    """Within a generation and across a fit, with changes before, between and after."""
    model = start(database)
    models, generation = {1: copy.deepcopy(model)}, {1: 1}
    followed = database.banks.active("tile")
    random = np.random.default_rng(5)
    for step in range(2, 32):
        numbers = model.last_ordinal, model.last_position
        generation[step] = generation[step - 1]
        if step == 12:
            bank = make_bank(seed=3)
            model = Model(bank)
            model.scores = dict(
                zip(
                    (image.name for image in bank.images),
                    bank.scores.of_image(len(bank.images)).tolist(),
                    strict=True,
                )
            )
            database.banks.save("tile", bank)
            generation[step] = step
        elif step % 3 == 0:
            like = int(random.integers(1, step - 1))
            assert database.banks.activate("tile", like) == step
            model = copy.deepcopy(models[like])
            generation[step] = generation[like]
        else:
            change(database, model, f"new/{step}.png")
            numbers = model.last_ordinal, model.last_position
        if generation[step] != generation[step - 1]:
            # Numbers are never used twice in a generation.
            same = [models[v] for v, g in generation.items() if g == generation[step] and v < step]
            numbers = (
                max([m.last_ordinal for m in same], default=model.last_ordinal),
                max([m.last_position for m in same], default=model.last_position),
            )
        model.last_ordinal, model.last_position = numbers
        models[step] = copy.deepcopy(model)
        active = database.banks.active("tile")
        assert state_of(active) == model.state(), step
        if step % 2:
            # Who skips a version takes over the next one.
            _check_difference(database, followed, active)
            followed = active
    for version, earlier in models.items():
        assert state_of(database.banks.version("tile", version)) == earlier.state(), version
    history = {entry.version: entry for entry in database.banks.history("tile")}
    assert (history[30].cause, history[31].cause, history[31].same_as) == ("activate", "add", None)
    for step in range(2, 32):
        before = {image.name for image in models[step - 1].images}
        after = {image.name for image in models[step].images}
        exchanged = set(history[step].came), set(history[step].went)
        same_fit = generation[step] == generation[step - 1]
        assert exchanged == ((after - before, before - after) if same_fit else (set(), set())), step
    like = history[30].same_as or 0
    assert models[like].state() == models[30].state()
    assert len({*generation.values()}) == 2
    assert any(generation[step] < generation[step - 1] for step in range(2, 32))


def _check_difference(database: Database, before: StoredBank, now: StoredBank) -> None:
    """Check that what changed leads from a bank to the active one, or that all is to be read."""
    found = database.banks.changes_since("tile", before.key)
    if found is None:
        return
    difference = found[1]
    stay = ~np.isin(before.ordinals, difference.removed_patches)
    features = np.concatenate([before.content.features[stay], difference.bank.features])
    assert features.tobytes() == now.content.features.tobytes()
    kept = ~np.isin(before.positions, difference.removed_references)
    positions = np.concatenate([before.positions[kept], found[0].positions])
    np.testing.assert_array_equal(positions, now.positions)


def test_what_came_back_stays_when_old_versions_are_pruned(database: Database) -> None:
    database.retention = Retention(versions=2, days=0)
    model = start(database)
    first, at_first = model.state(), copy.deepcopy(model)
    change(database, model, "new/1.png")
    assert database.banks.activate("tile", 1) == 3
    for step in range(4):
        # It does not matter who takes the image out.
        back = database.banks.active_version("tile")
        change(database, copy.deepcopy(at_first), f"new/2-{step}.png")
        database.banks.activate("tile", back)
    assert state_of(database.banks.active("tile")) == first
    assert [entry.state for entry in database.banks.history("tile")][:3] == [
        "active", "retired", "pruned"
    ]  # fmt: skip
    with pytest.raises(BankGoneError, match=r"version 1 of category 'tile' was pruned"):
        database.banks.activate("tile", 1)
    with pytest.raises(BankGoneError, match=r"has no bank version 99"):
        database.banks.activate("tile", 99)
    with pytest.raises(ParameterError, match=r"version 11 of .* is already the active one"):
        database.banks.activate("tile", 11)
    with pytest.raises(UnknownCategoryError):
        database.banks.activate("none", 1)
    assert database.banks.active_version("tile") == 11


def test_an_index_stays_with_its_rows(database: Database) -> None:
    model = start(database)
    key = database.banks.active_key("tile")
    index = HnswIndex("patches", key.category_id, key.generation, "vector", 8, "l2")
    database.indexes.build(index, 60)
    change(database, model, "new/1.png")
    database.banks.activate("tile", 1)
    assert database.indexes.find(database.banks.active_key("tile"), "patches", "l2") is not None
    database.banks.save("tile", make_bank())
    assert database.indexes.of_category(key.category_id) == []
