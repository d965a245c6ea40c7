from __future__ import annotations

import numpy as np

from patchbank.memory.similarity import same_image, similarities_to_others


def test_an_image_learned_twice_is_not_its_own_other() -> None:
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(60, 40)).astype(np.float32)
    plain, _ = similarities_to_others(embeddings)
    assert plain.shape == (60,)
    # Computed again, it differs by rounding.
    again = embeddings[:20] * np.float32(1 + 1e-6)
    twice, _ = similarities_to_others(np.concatenate([embeddings, again, again]))
    np.testing.assert_allclose(twice[:60], plain, atol=1e-5)
    assert same_image(np.concatenate([embeddings, again]), embeddings[3]).nonzero()[0].tolist() == [
        3, 63,
    ]  # fmt: skip


def test_of_many_embeddings_a_sample_is_compared_with_all() -> None:
    generator = np.random.default_rng(1)
    embeddings = generator.normal(size=(9_000, 4)).astype(np.float32)
    found, which = similarities_to_others(embeddings)
    assert found.shape == (2_000,)
    sampled = np.unique(np.linspace(0, 8_999, 2_000).astype(np.int64))
    np.testing.assert_array_equal(which, sampled)
    unit = embeddings.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    similarity = unit[sampled[::400]] @ unit.T
    similarity[np.arange(5), sampled[::400]] = -2
    np.testing.assert_allclose(found[::400], similarity.max(axis=1), atol=1e-9)


def test_embeddings_without_others_are_left_out() -> None:
    assert similarities_to_others(np.ones((1, 3), np.float32))[0].shape == (0,)
    assert similarities_to_others(np.ones((5, 3), np.float32))[0].shape == (0,)
    assert similarities_to_others(np.zeros((5, 3), np.float32))[0].shape == (0,)
    assert similarities_to_others(np.empty((0, 3), np.float32))[0].shape == (0,)


def test_images_of_a_group_are_not_each_others_others() -> None:
    generator = np.random.default_rng(2)
    parts = np.repeat(generator.normal(size=(12, 30)), 4, axis=0)
    embeddings = (parts + 0.05 * generator.normal(size=parts.shape)).astype(np.float32)
    groups = np.repeat(np.arange(12), 4)
    alone, _ = similarities_to_others(embeddings)
    apart, which = similarities_to_others(embeddings, groups=groups)
    assert alone.min() > 0.98
    assert apart.max() < 0.8
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    products = np.where(groups[:, None] == groups, -1, unit @ unit.T)
    np.testing.assert_allclose(apart, products.max(axis=1)[which], atol=1e-6)
    # Negative numbers are no group.
    none, _ = similarities_to_others(embeddings, groups=np.full(48, -1))
    np.testing.assert_array_equal(none, alone)
