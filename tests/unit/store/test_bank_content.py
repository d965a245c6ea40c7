from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from patchbank.errors import ParameterError
from tests.fixtures.banks import make_bank, make_image


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": np.zeros((60, 8))}, r"features is float64 \(60, 8\), expected float32"),
        ({"features": np.zeros((0, 8), np.float32)}, r"expected \(m, d\)"),
        ({"patch_image": np.zeros(59, np.int64)}, r"patch_image is int64 \(59,\), expected.*60"),
        ({"patch_image": np.full(60, 12)}, r"outside 0\.\.11"),
        ({"patch_image": np.full(60, -2)}, r"outside 0\.\.11"),
        ({"patch_image": np.full(60, -1)}, "an image without a position, or a position"),
        ({"patch_row": np.full(60, -1, np.int16)}, "an image without a position"),
        ({"patch_row": np.zeros(60, np.int64)}, "patch_row is int64"),
        ({"patch_column": np.zeros((60, 1), np.int16)}, r"patch_column is int16 \(60, 1\)"),
        ({"embeddings": np.zeros((11, 5), np.float32)}, r"embeddings is float32 \(11, 5\)"),
        ({"embedding_mean": np.zeros(4, np.float32)}, r"expected float32 \(12, 4\)"),
        ({"embedding_mean": np.full(5, np.nan, np.float32)}, "embedding_mean has values"),
        ({"features": np.full((60, 8), np.inf, np.float32)}, "features has values"),
        ({"images": [make_image("same")] * 12}, "same name"),
    ],
)
def test_a_bank_checks_itself(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_bank(**changes).check()


def test_more_dimensions_than_pgvector_takes_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"16001 dimensions.*fewer layers"):
        make_bank(patches=2, dimensions=16_001).check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"sha256": "ab"}, "64 hexadecimal digits"),
        ({"sha256": "zz"}, "hexadecimal"),
        ({"width": 0}, "0 x 200"),
        ({"label": "fine"}, "label is 'fine'"),
    ],
)
def test_an_image_checks_itself(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_image(**({"name": "a.png"} | changes))
