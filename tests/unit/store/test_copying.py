from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbank.store.copying import RowLayout

COLUMNS: dict[str, str | int] = {
    "number": "i4",
    "large": "i8",
    "small": "i2",
    "score": "f8",
    "feature": 3,
}


@given(rows=st.integers(1, 50), seed=st.integers(0, 1000))
def test_what_is_encoded_is_decoded(rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    columns: dict[str, npt.NDArray[Any]] = {
        "number": random.integers(-(2**31), 2**31, rows),
        "large": random.integers(-(2**63), 2**63, rows),
        "small": random.integers(-(2**15), 2**15, rows),
        "score": random.normal(size=rows),
        "feature": random.normal(size=(rows, 3)).astype(np.float32),
    }
    layout = RowLayout(COLUMNS)
    decoded = layout.decode(b"".join(layout.encode(columns)))
    for name, values in columns.items():
        np.testing.assert_array_equal(decoded[name], values)


def test_many_rows_come_in_several_blocks() -> None:
    layout = RowLayout({"feature": 1000})
    features = np.arange(3_000_000, dtype=np.float32).reshape(3000, 1000)
    blocks = list(layout.encode({"feature": features}))
    assert max(map(len, blocks)) <= 4_000_000
    assert len(blocks) > 4
    np.testing.assert_array_equal(layout.decode(b"".join(blocks))["feature"], features)


def test_no_rows_are_no_rows() -> None:
    layout = RowLayout({"number": "i4"})
    assert len(layout.decode(b"".join(layout.encode({"number": np.zeros(0)})))) == 0


def _encoded(columns: dict[str, str | int], rows: int = 4) -> bytes:
    values = {
        name: np.ones((rows, kind) if isinstance(kind, int) else rows)
        for name, kind in columns.items()
    }
    return b"".join(RowLayout(columns).encode(values))


@pytest.mark.parametrize(
    ("columns", "data", "message"),
    [
        ({"feature": 3}, b"", "not a complete"),
        ({"feature": 3}, _encoded({"feature": 3})[:-2], "not a complete"),
        ({"feature": 3}, _encoded({"feature": 4}), "not of the expected"),
        ({"feature": 3}, _encoded({"feature": 2, "number": "i4"}), "not of the expected"),
        # As many bytes a row, but other columns.
        ({"a": "i4", "b": "i8"}, _encoded({"a": "i8", "b": "i4"}), "a size differs"),
        # One component less, two bytes of another column more.
        ({"feature": 3, "b": "i4"}, _encoded({"feature": 2, "b": "i8"}), "size differs"),
    ],
)
def test_rows_of_another_layout_are_refused(
    columns: dict[str, str | int], data: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RowLayout(columns).decode(data)
