"""A bank's references and patches on their way into the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from patchbank.store.copying import RowLayout
from patchbank.store.migrate import Connection
from patchbank.store.new_bank import NewBank


def copy_references_in(
    connection: Connection,
    query: bytes,
    key: Mapping[str, int],
    image_ids: npt.NDArray[np.int64],
    bank: NewBank,
) -> None:
    """Copy a row for each of the bank's images, whose ids are given in their order."""
    count, dimensions = bank.embeddings.shape
    layout = RowLayout(
        {"category_id": "i8", "version": "i4", "position": "i4", "image_id": "i8",
         "score": "f8", "embedding": dimensions}
    )  # fmt: skip
    columns: dict[str, npt.NDArray[Any]] = {
        "category_id": np.full(count, key["category_id"]),
        "version": np.full(count, key["version"]),
        "position": np.arange(count),
        "image_id": image_ids,
        "score": np.array([image.score for image in bank.images], np.float64),
        "embedding": bank.embeddings,
    }
    _copy(connection, query, layout, columns)


def copy_patches_in(
    connection: Connection,
    queries: Mapping[str, bytes],
    key: Mapping[str, int],
    image_ids: npt.NDArray[np.int64],
    bank: NewBank,
) -> None:
    """Copy a row for each of the bank's patches."""
    # Rows of one COPY have one layout, in which a null has no place: where a patch comes from is
    # either given for all of them or left out for all.
    known = np.flatnonzero(bank.patch_image >= 0)
    unknown = np.flatnonzero(bank.patch_image < 0)
    dimensions = bank.features.shape[1]
    for rows, query in ((known, "copy_patches_in"), (unknown, "copy_unknown_patches_in")):
        if len(rows) == 0:
            continue
        # A bank is large: it is not copied where all of it is meant.
        features = bank.features if len(rows) == len(bank.features) else bank.features[rows]
        columns: dict[str, npt.NDArray[Any]] = {
            "category_id": np.full(len(rows), key["category_id"]),
            "version": np.full(len(rows), key["version"]),
            "ordinal": rows,
        }
        kinds: dict[str, str | int] = {"category_id": "i8", "version": "i4", "ordinal": "i4"}
        if rows is known:
            columns |= {
                "image_id": image_ids[bank.patch_image[rows]],
                "patch_row": bank.patch_row[rows],
                "patch_column": bank.patch_column[rows],
            }
            kinds |= {"image_id": "i8", "patch_row": "i2", "patch_column": "i2"}
        columns["feature"] = features
        _copy(connection, queries[query], RowLayout({**kinds, "feature": dimensions}), columns)


def _copy(
    connection: Connection,
    query: bytes,
    layout: RowLayout,
    columns: Mapping[str, npt.NDArray[Any]],
) -> None:
    with connection.cursor().copy(query) as copy:
        for block in layout.encode(columns):
            copy.write(block)
