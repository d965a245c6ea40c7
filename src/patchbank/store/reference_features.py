"""Patch features of references, kept so that single images can be added and withdrawn."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchbank.store import queries
from patchbank.store.bank_key import BankKey

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions

_log = logging.getLogger(__name__)

#: The features of an image that take more bytes than this are not kept.
MOST_BYTES = 4_000_000
# Half-precision numbers, in any machine's database alike.
_STORED = np.dtype("<f2")
_LARGEST = float(np.finfo(np.float16).max)
# Images read from the database at once.
_AT_ONCE = 64

Floats = npt.NDArray[np.float32]


class ReferenceFeatures:
    """The patch features of the references in a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("features")

    def read(
        self, key: BankKey, positions: npt.NDArray[np.int64], dimensions: int
    ) -> Iterator[tuple[int, Floats]]:
        """Yield the position and the features, float32 (n, d), of references that have some.

        Damaged ones count as none.
        """
        for start in range(0, len(positions), _AT_ONCE):
            some = positions[start : start + _AT_ONCE].tolist()
            with self._sessions.statement() as connection:
                rows = connection.execute(
                    self._queries["read"], key.parameters() | {"positions": some}, binary=True
                ).fetchall()
            for position, content in rows:
                rest = len(content) % (dimensions * _STORED.itemsize)
                found = np.frombuffer(content, _STORED, len(content) // _STORED.itemsize)
                if rest or not np.isfinite(found).all():
                    _log.warning("reference %d: its features are damaged", position)
                else:
                    yield position, found.astype(np.float32).reshape(-1, dimensions)

    def add(self, key: BankKey, features: Iterable[tuple[int, Floats]]) -> None:
        """Keep the features of references, by position, that were not kept so far."""
        kept = dict(features)
        with self._sessions.connection(long=True) as connection:
            rows = connection.execute(
                self._queries["missing"], key.parameters() | {"positions": list(kept)}
            ).fetchall()
            missing = [position for (position,) in rows]
            write_features(connection, key, missing, [kept[position] for position in missing])

    def neighbours(self, key: BankKey) -> bytes | None:
        """Return what was remembered of the patches' nearest rows, in any version, if anything."""
        with self._sessions.statement() as connection:
            row = connection.execute(
                self._queries["read_neighbours"], key.parameters(), binary=True
            ).fetchone()
        return None if row is None else bytes(row[0])

    def remember_neighbours(self, key: BankKey, content: bytes) -> None:
        """Remember the patches' nearest rows instead of what was remembered."""
        with self._sessions.connection() as connection:
            connection.execute(
                self._queries["write_neighbours"], key.parameters() | {"content": content}
            )


def half_precision(features: Floats) -> Floats:
    """Return features as they are read again after they were kept, float32 (n, d)."""
    return features.astype(_STORED).astype(np.float32) if can_be_kept(features) else features


def write_features(
    connection: Connection, key: BankKey, positions: Iterable[int], features: Sequence[Floats]
) -> None:
    """Insert the features of references, each float32 (n, d), but for those that cannot be kept."""
    with connection.cursor().copy(queries.load("features")["copy_in"]) as copy:
        copy.set_types(["int8", "int4", "int4", "bytea"])
        for position, rows in zip(positions, features, strict=True):
            if can_be_kept(rows):
                content = rows.astype(_STORED).tobytes()
                copy.write_row((key.category_id, key.generation, int(position), content))


def can_be_kept(features: Floats) -> bool:
    """Return whether features are neither too many nor too large for half precision."""
    return (
        features.size * _STORED.itemsize <= MOST_BYTES
        and max(features.max(initial=0.0), -features.min(initial=0.0)) <= _LARGEST
    )


def kept_bytes(patches: int, dimensions: int) -> int:
    """Return how many bytes the features of an image take in the database."""
    size = patches * dimensions * _STORED.itemsize
    return size if size <= MOST_BYTES else 0
