from __future__ import annotations

import numpy as np

from patchbank.store.database import Database
from patchbank.store.reference_features import MOST_BYTES
from tests.fixtures.banks import make_bank


def test_features_are_kept_to_half_precision_unless_too_large_or_too_many(
    database: Database,
) -> None:
    random = np.random.default_rng(0)
    features = [random.normal(size=(7 + number, 8)).astype(np.float32) for number in range(12)]
    features[3] = np.zeros((MOST_BYTES // 16 + 1, 8), np.float32)
    features[4][0, 0] = 1e6
    version = database.banks.save("tile", make_bank(), features=features)
    key = database.banks.active_key("tile")
    assert key.version == version
    found = dict(database.features.read(key, np.arange(12), 8))
    assert sorted(found) == [number for number in range(12) if number not in (3, 4)]
    for number, rows in found.items():
        assert rows.dtype == np.float32
        assert (rows == features[number].astype(np.float16)).all()
    # What is kept already is not replaced.
    database.features.add(key, [(4, np.ones((2, 8), np.float32)), (5, features[6])])
    found = dict(database.features.read(key, np.array([4, 5]), 8))
    assert (found[4] == 1).all()
    assert len(found[5]) == len(features[5])


def test_features_go_with_their_category_and_their_generation(database: Database) -> None:
    features = [np.ones((3, 8), np.float32)] * 12
    database.banks.save("tile", make_bank(), features=features)
    database.categories.remove("tile")
    with database.connection() as connection:
        row = connection.execute("select count(*) from reference_features").fetchone()
    assert row == (0,)
