"""References left out of the bank together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.errors import ParameterError
from patchbank.memory.coreset import Coreset, greedy_k_center
from patchbank.memory.groups import Groups
from patchbank.memory.leave_one_out import leave_one_out_distances, left_out_of
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.streaming import PartCoresets, StreamedLeaveOneOut

Floats = npt.NDArray[np.float32]
IMAGES, PATCHES = 9, 100


@pytest.fixture(scope="module")
def rows(patches: Floats) -> Floats:
    return patches[: IMAGES * PATCHES]


@pytest.fixture(scope="module")
def coreset(rows: Floats) -> Coreset:
    return greedy_k_center(rows, 150)


OWNER = np.arange(IMAGES).repeat(PATCHES)


def table(a: Floats, b: Floats) -> npt.NDArray[np.float64]:
    wide = b.astype(np.float64)
    return np.stack([np.linalg.norm(wide - row, axis=1) for row in a.astype(np.float64)])


def slow(
    rows: Floats, coreset: Coreset, members: list[int], away: list[int]
) -> npt.NDArray[np.float64]:
    """Return the members' distances by the definition: refill what leaving `away` out uncovers."""
    bank = [row for row in coreset.indices if OWNER[row] not in away]
    others = np.flatnonzero(~np.isin(OWNER, away))
    nearest = table(rows[others], rows[bank]).min(axis=1)
    while nearest.max() > coreset.covering_radius * (1 + 1e-6):
        added = int(others[nearest.argmax()])
        bank.append(added)
        np.minimum(nearest, table(rows[others], rows[added : added + 1])[:, 0], out=nearest)
    found: npt.NDArray[np.float64] = table(rows[np.isin(OWNER, members)], rows[bank]).min(axis=1)
    return found


def test_a_group_is_left_out_whole(rows: Floats, coreset: Coreset) -> None:
    groups = Groups.of_labels(["a", "b", "a", None, None, "b", "a", None, "c"])
    assert len(groups) == 6
    assert not groups.are_single
    np.testing.assert_array_equal(groups.shared, [0, 1, 0, -1, -1, 1, 0, -1, -1])
    found = leave_one_out_distances(rows, OWNER, coreset, groups=groups)
    for group in range(len(groups)):
        members = groups.members(group).tolist()
        np.testing.assert_allclose(
            found.distances[np.isin(OWNER, members)],
            slow(rows, coreset, members, members),
            rtol=1e-5,
        )
    assert found.put_back[[0, 2, 6]].min() == found.put_back[[0, 2, 6]].max() > 0
    owners = OWNER[coreset.indices[found.nearest]]
    assert not (groups.number[owners] == groups.number[OWNER]).any()


def test_more_than_the_group_may_be_left_out_with_it(rows: Floats, coreset: Coreset) -> None:
    plain = Groups.of_labels([0, 0, 1, 1, 2, 2, 3, 3, 3])
    apart = (np.array([0, 1, 2]), *plain.apart[1:])
    found = leave_one_out_distances(rows, OWNER, coreset, groups=Groups(plain.number, apart))
    np.testing.assert_allclose(
        found.distances[OWNER < 2], slow(rows, coreset, [0, 1], [0, 1, 2]), rtol=1e-5
    )


def test_overlapping_groups_are_left_out_each_with_all_it_depends_on(
    rows: Floats, coreset: Coreset
) -> None:
    """Most patches then lose both of their two nearest rows, and are searched again."""
    wide = [(view, other) for view in range(IMAGES) for other in range(view + 1, view + 4)]
    groups = Groups.of_links(_links(IMAGES, *(pair for pair in wide if pair[1] < IMAGES)), 0.2)
    assert groups is not None
    assert sum(len(away) for away in groups.apart) > IMAGES
    found = leave_one_out_distances(rows, OWNER, coreset, groups=groups)
    for group in range(len(groups)):
        members, away = groups.members(group).tolist(), groups.apart[group].tolist()
        own = np.isin(OWNER, members)
        np.testing.assert_allclose(
            found.distances[own], slow(rows, coreset, members, away), rtol=1e-5
        )
        assert not np.isin(OWNER[coreset.indices[found.nearest[own]]], away).any()


def test_rows_of_unknown_images_remain_whatever_is_left_out(rows: Floats, coreset: Coreset) -> None:
    groups = Groups.of_labels([0, 0, 1, 1, 2, 2, 3, 3, 3])
    unknown = NeighbourIndex(rows[coreset.indices], np.full(len(coreset), -1))
    found = left_out_of(unknown, coreset.covering_radius, rows, OWNER, groups=groups)
    np.testing.assert_array_equal(found.distances, unknown.nearest(rows).distances[:, 0])
    assert not found.put_back.any()
    np.testing.assert_array_equal(
        groups.rows_left_out_with(8, np.array([-1, 0, 6, 8])), [False, False, True, True]
    )


def test_single_images_are_left_out_as_ever(rows: Floats, coreset: Coreset) -> None:
    alone = Groups.of_labels([None] * IMAGES)
    assert alone.are_single
    expected = leave_one_out_distances(rows, OWNER, coreset)
    found = leave_one_out_distances(rows, OWNER, coreset, groups=alone)
    for name in ("distances", "nearest", "put_back"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("overlap", [False, True])
def test_a_streamed_fit_leaves_the_same_out(rows: Floats, overlap: bool) -> None:
    groups = Groups.of_labels([0, 0, 0, 1, 1, 1, 2, 2, 2])
    if overlap:
        groups = Groups(groups.number, (np.arange(5), *groups.apart[1:]))
    coresets = PartCoresets(len(rows), rows.shape[1])
    coresets.add(rows, OWNER, len(rows))
    merged = coresets.merge(150)
    in_turn = StreamedLeaveOneOut(merged, groups)
    chosen = merged.coreset.indices
    whole = replace(
        merged.coreset, indices=merged.images[chosen] * PATCHES + merged.positions[chosen]
    )
    expected = leave_one_out_distances(rows, OWNER, whole, groups=groups)
    for image in range(IMAGES):
        own = image == OWNER
        found = in_turn(image, rows[own][np.newaxis])
        np.testing.assert_allclose(found.distances[0], expected.distances[own], rtol=1e-6)
        assert in_turn.put_back(image) == expected.put_back[image]


def test_groups_as_they_are_stored() -> None:
    again = Groups.of_numbers(np.array([-1, 4, 4, -1]))
    assert again is not None
    np.testing.assert_array_equal(again.number, [0, 1, 1, 2])
    assert Groups.of_numbers(np.array([-1, -1, -1])) is None
    assert Groups.of_numbers(np.array([2, 2, 2])) is None


def test_groups_of_some_of_the_images() -> None:
    apart = tuple(np.array(images) for images in ([0, 1, 3], [2, 4], [1, 3]))
    groups = Groups(np.array([0, 0, 1, 2, 1]), apart)
    some = groups.of_images(np.array([1, 3, 4]))
    assert groups.count_of(np.array([1, 3, 4])) == len(some) == 3
    np.testing.assert_array_equal(some.number, [0, 2, 1])
    for found, expected in zip(some.apart, ([0, 1], [2], [0, 1]), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert groups.count_of(np.array([2, 4])) == 1


def test_one_group_alone_leaves_nothing(rows: Floats, coreset: Coreset) -> None:
    with pytest.raises(ParameterError, match="all 3 images are of one group"):
        Groups.of_labels(["a", "a", "a"])
    with pytest.raises(ParameterError, match="groups of 3 images, and there are 9"):
        leave_one_out_distances(rows, OWNER, coreset, groups=Groups.of_labels([1, 1, 2]))


def _links(count: int, *pairs: tuple[int, int]) -> Floats:
    likeness = np.zeros((count, count), np.float32)
    for first, second in pairs:
        likeness[first, second] = likeness[second, first] = 0.5
    return likeness


def test_images_alike_are_a_group() -> None:
    groups = Groups.of_links(_links(5, (0, 2), (1, 4)), 0.2)
    assert groups is not None
    assert len(groups) == 3
    assert groups.number[0] == groups.number[2] != groups.number[1] == groups.number[4]
    np.testing.assert_array_equal(groups.shared >= 0, [True, True, True, False, True])
    # Nothing is as alike as that.
    alone = Groups.of_links(_links(5, (0, 2)), 0.6)
    assert alone is not None
    assert alone.are_single


def test_overlapping_views_in_a_row_are_left_out_with_their_neighbours() -> None:
    """Of nine views, each of which overlaps with the next, about half are independent."""
    groups = Groups.of_links(_links(9, *((view, view + 1) for view in range(8))), 0.2)
    assert groups is not None
    assert len(groups) == 5
    for view in range(9):
        away = groups.left_out_with(view)
        assert away[max(0, view - 1) : view + 2].all()
        assert not away.all()


def test_images_that_are_all_alike_leave_nothing() -> None:
    everything = Groups.of_links(np.ones((4, 4), np.float32), 0.2)
    assert everything is None


def test_each_joins_the_image_it_is_most_like() -> None:
    likeness = _links(4, (0, 1), (1, 2))
    likeness[1, 2] = likeness[2, 1] = 0.9
    groups = Groups.of_links(likeness, 0.2)
    assert groups is not None
    assert groups.number[1] == groups.number[2] != groups.number[0]
