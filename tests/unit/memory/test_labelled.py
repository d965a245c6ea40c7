"""Labelled defects: what is added to scores, and what must not be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import roc_auc_score

from patchbank.errors import ParameterError
from patchbank.memory import labelled
from patchbank.memory.calibration import conformal_threshold
from patchbank.memory.groups import Groups
from patchbank.memory.labelled import Sharpened, sharpen, summary
from patchbank.memory.neighbours import NeighbourIndex

DIMENSIONS = 60

Floats = npt.NDArray[np.float64]


class Parts:
    """Good parts and two kinds of defects, each with a shift of its own and higher scores."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._directions = np.random.default_rng(99).normal(size=(2, DIMENSIONS))

    def good(self, count: int) -> tuple[Floats, Floats]:
        """Return summaries and scores of good parts."""
        return self._random.normal(3, 2, (count, DIMENSIONS)), self._random.normal(10, 1, count)

    def defects(self, count: int, kind: int = 0) -> tuple[Floats, Floats]:
        """Return summaries and scores of a kind of defect."""
        summaries, scores = self.good(count)
        return summaries + self._directions[kind], scores + 1


def learned(
    references: Floats,
    scores: Floats,
    defects: Floats,
    labels: list[str | None],
    groups: Groups | None = None,
) -> Sharpened:
    """Return what labelled defects teach, which must be something."""
    found = sharpen(references, scores, defects, labels, groups)
    assert found is not None
    return found


@pytest.fixture
def rng() -> np.random.Generator:
    """Return random numbers that are the same in every run."""
    return np.random.default_rng(0)


def test_a_summary_averages_the_most_anomalous_patches_and_their_differences_from_the_bank(
    rng: np.random.Generator,
) -> None:
    bank = NeighbourIndex(rng.normal(size=(50, 3)).astype(np.float32))
    features = rng.normal(size=(200, 3)).astype(np.float32)
    found = bank.nearest(features)
    distances, nearest = found.distances[:, 0], found.indices[:, 0]

    got = summary(features, distances, nearest, bank)

    worst = sorted(range(200), key=lambda patch: -distances[patch])
    for part, count in ((0, 2), (1, 10)):
        chosen = worst[:count]
        rows = got.reshape(4, 3)
        np.testing.assert_allclose(rows[part], features[chosen].mean(axis=0), rtol=1e-5)
        difference = (features[chosen] - bank.bank[nearest[chosen]]).mean(axis=0)
        np.testing.assert_allclose(rows[2 + part], difference, rtol=1e-4, atol=1e-6)


def test_of_few_and_of_many_patches_at_least_one_and_at_most_forty_count(
    rng: np.random.Generator,
) -> None:
    bank = NeighbourIndex(rng.normal(size=(5, 2)).astype(np.float32))
    for patches, counts in ((1, (1, 1)), (30, (1, 2)), (5000, (8, 40))):
        features = rng.normal(size=(patches, 2)).astype(np.float32)
        distances = np.linspace(1, 0, patches, dtype=np.float32)
        got = summary(features, distances, np.zeros(patches, np.int64), bank).reshape(4, 2)
        for part, count in enumerate(counts):
            np.testing.assert_allclose(got[part], features[:count].mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_labelled_defects_separate_other_defects_of_their_kind_better(count: int) -> None:
    parts = Parts(1)
    references, scores = parts.good(150)
    found = learned(references, scores, parts.defects(count)[0], ["crack"] * count)
    good, good_scores = parts.good(400)
    bad, bad_scores = parts.defects(400)

    summaries, before = np.concatenate([good, bad]), np.concatenate([good_scores, bad_scores])
    anomalous = np.arange(800) >= 400
    after = before + found.likeness.addition(summaries)

    gain = roc_auc_score(anomalous, after) - roc_auc_score(anomalous, before)
    assert gain > (0.12 if count == 20 else 0.0)


# Twenty parts with two pictures each; beside them, pictures that overlap with the next part's too.
OF_PARTS = Groups.of_labels([number % 20 for number in range(40)])
OVERLAPPING = Groups(
    OF_PARTS.number,
    tuple(np.flatnonzero(np.isin(OF_PARTS.number, [part, (part + 1) % 20])) for part in range(20)),
)


@pytest.mark.parametrize("groups", [None, OF_PARTS, OVERLAPPING])
def test_references_get_what_a_fit_without_them_says(
    monkeypatch: pytest.MonkeyPatch, groups: Groups | None
) -> None:
    parts = Parts(2)
    references, scores = parts.good(40)
    defects = parts.defects(6)[0]
    monkeypatch.setattr(labelled, "_LOWERED_AT_MOST", np.inf)

    found = learned(references, scores, defects, [None] * 6, groups)

    # The same by its definition: minimise the weighted squares without the reference.
    centre, spread = references.mean(axis=0), references.std(axis=0)
    standard = (np.concatenate([references, defects]) - centre) / spread
    wanted = np.repeat([0.0, 1.0], [40, 6])
    excess = np.exp(np.minimum((scores - scores.mean()) / scores.std(), 3))
    weights = np.concatenate([excess / excess.sum(), np.full(6, 1 / 6)]) / 2
    mean = weights @ standard
    penalty = 0.05 * float((weights[:, None] * (standard - mean) ** 2).sum())
    values = []
    for left in range(40):
        gone = [left] if groups is None else np.flatnonzero(groups.left_out_with(left))
        others = ~np.isin(np.arange(46), gone)
        rows = np.column_stack([standard, np.ones(46)])
        squares = (rows[others] * weights[others, None]).T @ rows[others]
        squares += penalty * np.diag([1.0] * DIMENSIONS + [0.0])
        solved = np.linalg.solve(squares, (rows[others] * weights[others, None]).T @ wanted[others])
        values.append(rows[left] @ solved)
    likeness = (np.array(values) - np.mean(values)) / np.std(values)
    np.testing.assert_allclose(found.additions, found.likeness.step * likeness, rtol=1e-6)


def test_a_calibration_by_the_new_scores_of_references_keeps_its_promise() -> None:
    observed = []
    for seed in range(30):
        parts = Parts(100 + seed)
        references, scores = parts.good(99)
        found = learned(references, scores, parts.defects(10)[0], ["crack"] * 10)
        limit = conformal_threshold(scores + found.additions, 0.05).value
        good, good_scores = parts.good(300)
        observed.append(np.mean(good_scores + found.likeness.addition(good) > limit))
    assert 0.035 < np.mean(observed) < 0.065


def test_pictures_of_the_same_parts_do_not_vouch_for_one_another() -> None:
    observed: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(20):
        parts = Parts(300 + seed)
        of_part, of_score = parts.good(39)
        noise = np.random.default_rng(seed).normal(0, 0.05, (5 * 39, DIMENSIONS))
        references, scores = np.repeat(of_part, 5, axis=0) + noise, np.repeat(of_score, 5)
        of_parts = Groups.of_labels(np.arange(39).repeat(5).tolist())
        good, good_scores = parts.good(300)
        labels: list[str | None] = ["crack"] * 10
        for grouped, rates in observed.items():
            groups = of_parts if grouped else None
            found = learned(references, scores, parts.defects(10)[0], labels, groups)
            limit = conformal_threshold(scores + found.additions, 0.05, of_parts.number).value
            rates.append(float(np.mean(good_scores + found.likeness.addition(good) > limit)))
    assert 0.03 < np.mean(observed[True]) < 0.07
    assert np.mean(observed[False]) > 1.3 * np.mean(observed[True])


def test_a_kind_that_is_not_labelled_is_hardly_lowered() -> None:
    parts = Parts(3)
    references, scores = parts.good(150)
    found = learned(references, scores, parts.defects(20)[0], ["crack"] * 20)
    opposite = references - 50 * (parts.defects(150)[0] - references)

    assert found.likeness.addition(opposite).min() >= -found.likeness.step
    assert found.likeness.step < scores.std()


def test_defects_that_cannot_be_told_from_good_parts_change_next_to_nothing() -> None:
    steps = []
    for seed in range(20):
        parts = Parts(200 + seed)
        references, scores = parts.good(100)
        found = sharpen(references, scores, parts.good(10)[0], [None] * 10)
        steps.append(0.0 if found is None else found.likeness.step)
    assert np.mean(steps) < 0.2


def test_the_label_is_that_of_the_defects_an_image_is_like() -> None:
    parts = Parts(4)
    references, scores = parts.good(150)
    defects = np.concatenate([parts.defects(8, 0)[0], parts.defects(8, 1)[0]])
    found = learned(references, scores, defects, ["crack"] * 8 + [None] * 8).likeness

    assert found.labels == ("crack", None)
    for kind, label in ((0, "crack"), (1, None)):
        same = [found.label(image) == label for image in parts.defects(50, kind)[0]]
        assert np.mean(same) > 0.8


def test_nothing_is_learned_of_too_little() -> None:
    parts = Parts(5)
    references, scores = parts.good(60)
    defects = parts.defects(3)[0]
    few = labelled.FEWEST_REFERENCES - 1

    assert sharpen(references[:few], scores[:few], defects, [None] * 3) is None
    assert sharpen(references, scores, defects[:0], []) is None
    of_few_parts = Groups.of_labels((np.arange(60) % few).tolist())
    assert sharpen(references, scores, defects, [None] * 3, of_few_parts) is None
    assert sharpen(references, np.ones(60), defects, [None] * 3) is None
    assert sharpen(np.ones((60, 4)), scores, np.zeros((3, 4)), [None] * 3) is None


def test_dimensions_in_which_references_are_all_the_same_do_not_count() -> None:
    parts = Parts(6)
    references, scores = parts.good(60)
    defects = parts.defects(10)[0]
    references[:, 0], defects[:, 0] = 1.0, 1000.0

    found = learned(references, scores, defects, [None] * 10).likeness

    assert (found.weights[:, 0] == 0).all()


@pytest.mark.parametrize(
    ("references", "scores", "defects", "labels"),
    [
        (np.ones((30, 4)), np.ones(29), np.ones((2, 4)), [None, None]),
        (np.ones((30, 4)), np.ones(30), np.ones((2, 5)), [None, None]),
        (np.ones((30, 4)), np.ones(30), np.ones((2, 4)), [None]),
    ],
)
def test_arrays_that_do_not_match_are_refused(
    references: Floats, scores: Floats, defects: Floats, labels: list[str | None]
) -> None:
    with pytest.raises(ParameterError, match="labelled defects"):
        sharpen(references, scores, defects, labels)
