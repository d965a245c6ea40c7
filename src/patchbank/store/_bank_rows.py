"""Write the rows of a bank to the database, and read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import psycopg

from patchbank.store import queries
from patchbank.store.bank_content import BankContent, CalibrationScores, ReferenceImage
from patchbank.store.bank_key import BankKey
from patchbank.store.copying import RowLayout
from patchbank.store.migrate import Connection


class Patches(NamedTuple):
    """Patches by ascending ordinal; `image_id` is 0 if unknown."""

    ordinal: npt.NDArray[np.int64]
    image_id: npt.NDArray[np.int64]
    row: npt.NDArray[np.int16]
    column: npt.NDArray[np.int16]
    feature: npt.NDArray[np.float32]


class References(NamedTuple):
    """References by ascending position."""

    position: npt.NDArray[np.int64]
    image_id: npt.NDArray[np.int64]
    images: list[ReferenceImage]
    embedding: npt.NDArray[np.float32]


def upsert_images(
    connection: Connection, category_id: int, images: list[ReferenceImage]
) -> npt.NDArray[np.int64]:
    """Store new images; return the ids of all of them, in order."""
    rows = connection.execute(
        queries.load("images")["upsert"],
        {
            "category_id": category_id,
            "names": [image.name for image in images],
            "sha256s": [bytes.fromhex(image.sha256) for image in images],
            "pixels_sha256s": [
                None if image.pixels_sha256 is None else bytes.fromhex(image.pixels_sha256)
                for image in images
            ],
            "widths": [image.width for image in images],
            "heights": [image.height for image in images],
            "labels": [image.label for image in images],
            "origins": [image.origin for image in images],
            "thumbnails": [image.thumbnail for image in images],
            "brightnesses": [image.brightness for image in images],
            "sharpnesses": [image.sharpness for image in images],
            "textures": [image.texture or None for image in images],
        },
    ).fetchall()
    ids: dict[str, int] = dict(rows)
    return np.array([ids[image.name] for image in images], np.int64)


def copy_references_in(
    connection: Connection,
    key: BankKey,
    positions: npt.NDArray[np.int64],
    image_ids: npt.NDArray[np.int64],
    embeddings: npt.NDArray[np.float32],
) -> None:
    """Insert a row for each reference image."""
    count, dimensions = embeddings.shape
    layout = RowLayout(
        {"category_id": "i8", "generation": "i4", "position": "i4", "image_id": "i8",
         "embedding": dimensions}
    )  # fmt: skip
    columns: dict[str, npt.NDArray[Any]] = {
        "category_id": np.full(count, key.category_id),
        "generation": np.full(count, key.generation),
        "position": positions,
        "image_id": image_ids,
        "embedding": embeddings,
    }
    _copy_in(connection, queries.load("banks")["copy_references_in"], layout, columns)


def copy_patches_in(
    connection: Connection,
    key: BankKey,
    ordinals: npt.NDArray[np.int64],
    image_ids: npt.NDArray[np.int64],
    bank: BankContent,
) -> None:
    """Insert a row for each patch; `image_ids` holds the ids that `bank.patch_image` indexes."""
    # All rows of a COPY share one layout, which cannot hold nulls: patches with known and unknown
    # provenance are copied separately.
    known = np.flatnonzero(bank.patch_image >= 0)
    unknown = np.flatnonzero(bank.patch_image < 0)
    dimensions = bank.features.shape[1]
    for rows, query in ((known, "copy_patches_in"), (unknown, "copy_unknown_patches_in")):
        if len(rows) == 0:
            continue
        # A bank is large: do not copy it when all of it is selected.
        features = bank.features if len(rows) == len(bank.features) else bank.features[rows]
        columns: dict[str, npt.NDArray[Any]] = {
            "category_id": np.full(len(rows), key.category_id),
            "generation": np.full(len(rows), key.generation),
            "ordinal": ordinals[rows],
        }
        kinds: dict[str, str | int] = {"category_id": "i8", "generation": "i4", "ordinal": "i4"}
        if rows is known:
            columns |= {
                "image_id": image_ids[bank.patch_image[rows]],
                "patch_row": bank.patch_row[rows],
                "patch_column": bank.patch_column[rows],
            }
            kinds |= {"image_id": "i8", "patch_row": "i2", "patch_column": "i2"}
        columns["feature"] = features
        layout = RowLayout({**kinds, "feature": dimensions})
        _copy_in(connection, queries.load("banks")[query], layout, columns)


def read_patches(
    connection: Connection, key: BankKey, dimensions: int, since: int | None
) -> Patches:
    """Read the patches of a version, or only those added since an earlier version."""
    layout = RowLayout(
        {"ordinal": "i4", "image_id": "i8", "patch_row": "i2", "patch_column": "i2",
         "feature": dimensions}
    )  # fmt: skip
    query = "copy_patches_out" if since is None else "copy_new_patches_out"
    rows = _copy_out(connection, queries.load("banks")[query], key, since, layout)
    order = _order(rows["ordinal"])
    return Patches(
        rows["ordinal"][order].astype(np.int64),
        rows["image_id"][order].astype(np.int64),
        rows["patch_row"][order].astype(np.int16),
        rows["patch_column"][order].astype(np.int16),
        # The only copy made: from big-endian to native byte order.
        rows["feature"][order].astype(np.float32),
    )


def read_references(
    connection: Connection, key: BankKey, dimensions: int, since: int | None, *, thumbnails: bool
) -> References:
    """Read the references of a version, or only those added since an earlier version."""
    statements = queries.load("banks")
    parameters = {**key.parameters(), "since": since, "thumbnails": thumbnails}
    found = connection.execute(
        statements["reference_images"], parameters, binary=thumbnails
    ).fetchall()
    layout = RowLayout({"position": "i4", "embedding": dimensions})
    rows = _copy_out(connection, statements["copy_references_out"], key, since, layout)
    order = _order(rows["position"])
    return References(
        np.array([row[0] for row in found], np.int64),
        np.array([row[1] for row in found], np.int64),
        [ReferenceImage(*row[2:]) for row in found],
        rows["embedding"][order].astype(np.float32),
    )


def read_scores(
    connection: Connection, key: BankKey, positions: npt.NDArray[np.int64]
) -> CalibrationScores:
    """Read the calibration scores; `positions` are those of the bank's images, ascending."""
    rows = connection.execute(
        queries.load("banks")["scores"], key.parameters(), binary=True
    ).fetchall()
    position, score, maximum, held_out, counts, group, added = (
        zip(*rows, strict=True) if rows else ((),) * 7
    )
    image = np.array(position, np.int64)
    known = image >= 0
    image[known] = np.searchsorted(positions, image[known])
    image[~known] = -1
    return CalibrationScores(
        image,
        np.array(score, np.float64),
        np.array([np.nan if value is None else value for value in maximum], np.float64),
        np.array(held_out, np.bool_),
        np.array(counts, np.bool_),
        np.array([-1 if number is None else number for number in group], np.int64),
        np.array([0.0 if value is None else value for value in added], np.float64),
    )


def write_scores(
    connection: Connection,
    key: BankKey,
    positions: npt.NDArray[np.int64],
    scores: CalibrationScores,
) -> None:
    """Make these the scores from this version on; unchanged scores are not written.

    Parameters
    ----------
    positions
        int64 (n,), the positions of the images that the scores belong to.
    """
    position = np.where(scores.image >= 0, positions[scores.image] if len(positions) else 0, 0)
    # Scores of unknown images get negative positions.
    unknown = scores.image < 0
    position[unknown] = -1 - np.arange(np.count_nonzero(unknown))
    wanted = {
        int(key_position): (
            float(scores.score[slot]),
            None if np.isnan(scores.map_maximum[slot]) else float(scores.map_maximum[slot]),
            bool(scores.held_out[slot]),
            bool(scores.counts[slot]),
            None if scores.group[slot] < 0 else int(scores.group[slot]),
            float(scores.added[slot]) or None,
        )
        for slot, key_position in enumerate(position)
    }
    statements = queries.load("banks")
    rows = connection.execute(statements["scores"], key.parameters(), binary=True).fetchall()
    present = {row[0]: tuple(row[1:]) for row in rows}
    outdated = [number for number, values in present.items() if wanted.get(number) != values]
    new = [number for number, values in wanted.items() if present.get(number) != values]
    connection.execute(statements["close_scores"], {**key.parameters(), "positions": outdated})
    columns = list(zip(*(wanted[number] for number in new), strict=True)) if new else [()] * 6
    connection.execute(
        statements["insert_scores"],
        {
            **key.parameters(),
            "positions": new,
            "scores": list(columns[0]),
            "map_maxima": list(columns[1]),
            "held_out": list(columns[2]),
            "counts": list(columns[3]),
            "groups": list(columns[4]),
            "added": list(columns[5]),
        },
    )


def _order(numbers: npt.NDArray[Any]) -> npt.NDArray[np.int64] | slice:
    """Return an index that sorts the rows; a slice, which copies nothing, if they are sorted."""
    ascending = bool(np.all(numbers[1:] > numbers[:-1]))
    return slice(None) if ascending else np.argsort(numbers)


def _copy_in(
    connection: Connection,
    query: bytes,
    layout: RowLayout,
    columns: Mapping[str, npt.NDArray[Any]],
) -> None:
    with connection.cursor().copy(query) as copy:
        for block in layout.encode(columns):
            copy.write(block)


def _copy_out(
    connection: Connection, query: bytes, key: BankKey, since: int | None, layout: RowLayout
) -> npt.NDArray[np.void]:
    # COPY takes no server-side parameters, so the client inserts them.
    parameters = {**key.parameters(), "since": since}
    with psycopg.ClientCursor(connection).copy(query, parameters) as copy:
        return layout.decode(b"".join(copy))
