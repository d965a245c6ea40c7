"""Banks made elsewhere, and what else a save is asked for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from patchbank.errors import BankGoneError, CategoryExistsError
from patchbank.store.bank_content import BankContent, CalibrationScores
from patchbank.store.database import Database
from patchbank.store.stored_bank import BankChange
from tests.fixtures.banks import make_bank


def foreign_bank(image_count: int = 0) -> BankContent:
    """Return a bank that does not know where its patches come from."""
    nowhere = np.full(60, -1)
    return make_bank(
        image_count=max(1, image_count),
        images=make_bank(image_count=max(1, image_count)).images[:image_count],
        embeddings=np.ones((image_count, 5), np.float32),
        embedding_mean=np.zeros(5, np.float32),
        patch_image=nowhere,
        patch_row=nowhere.astype(np.int16),
        patch_column=nowhere.astype(np.int16),
        scores=CalibrationScores.none(),
        covering_radius=math.nan,
    )


@pytest.mark.parametrize("image_count", [0, 3])
def test_a_bank_of_unknown_provenance_comes_back_as_it_was(
    database: Database, image_count: int
) -> None:
    bank = foreign_bank(image_count)
    database.banks.save("tile", bank)
    stored = database.banks.active("tile")
    for name in ("features", "patch_image", "patch_row", "patch_column", "embeddings"):
        np.testing.assert_array_equal(getattr(stored.content, name), getattr(bank, name))
    assert stored.content.embeddings.shape == (image_count, 5)
    assert len(stored.content.scores) == 0
    assert math.isnan(stored.content.covering_radius)
    assert len(stored.content.images) == image_count
    similar = database.images.similar(stored.key, np.ones(5))
    assert len(similar) == image_count


def test_patches_of_known_and_of_unknown_images_may_be_in_one_bank(database: Database) -> None:
    bank = make_bank()
    bank.patch_image[::3], bank.patch_row[::3], bank.patch_column[::3] = -1, -1, -1
    database.banks.save("tile", bank)
    stored = database.banks.active("tile")
    for name in ("features", "patch_image", "patch_row", "patch_column"):
        np.testing.assert_array_equal(getattr(stored.content, name), getattr(bank, name))


def test_unknown_is_null_in_the_table(database: Database) -> None:
    database.banks.save("tile", foreign_bank())
    with database.connection() as connection:
        row = connection.execute(
            "select count(*), count(image_id), count(patch_row), count(patch_column) from patch"
        ).fetchone()
    assert row == (60, 0, 0, 0)


def test_similar_images_of_a_bank_that_is_gone_are_not_none(database: Database) -> None:
    database.banks.save("tile", foreign_bank())
    with pytest.raises(BankGoneError):
        database.images.similar(database.banks.active_key("tile")._replace(version=2), np.ones(5))


def test_images_come_back_whole(database: Database) -> None:
    bank = make_bank()
    database.banks.save("tile", bank)
    assert database.banks.active("tile", thumbnails=True).content.images == list(bank.images)


def test_a_bank_is_changed_while_it_is_the_active_one_and_no_other(database: Database) -> None:
    bank = make_bank()
    database.banks.save("tile", bank)
    key = database.banks.active_key("tile")
    change = BankChange(
        replace(bank, features=bank.features[:0], patch_image=bank.patch_image[:0], images=[],
                embeddings=bank.embeddings[:0])
    )  # fmt: skip
    assert database.banks.change("tile", key, change, cause="calibrate") == 2
    with pytest.raises(BankGoneError, match="replaced or removed in the meantime; nothing"):
        database.banks.change("tile", key, change, cause="calibrate")
    assert database.banks.active_version("tile") == 2
    database.categories.remove("tile")
    with pytest.raises(BankGoneError):
        database.banks.change("tile", key, change, cause="calibrate")
    assert database.categories.list() == []
    with database.connection() as connection:
        kinds = connection.execute("select kind from event order by event_id").fetchall()
    assert kinds == [("fit",), ("calibrate",), ("remove",)]


def test_only_a_new_category_is_made_where_that_is_asked(database: Database) -> None:
    assert database.banks.save("tile", make_bank(), only_new=True, cause="import") == 1
    with pytest.raises(CategoryExistsError, match="category 'tile' already has a bank; use anoth"):
        database.banks.save("tile", make_bank(), only_new=True)
    assert database.banks.active_version("tile") == 1
