"""Images held back from a bank, because they look defective, until a person decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from patchbank.actors import current_actor
from patchbank.store import queries
from patchbank.store.categories import add_event, find_category

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions


@dataclass(frozen=True)
class ImageToHold:
    """An image to hold back.

    Attributes
    ----------
    pixels_sha256
        Of its decoded pixels, in hexadecimal.
    origin
        Absolute path of its file, if it has one.
    content
        The file's content where it has no path.
    score, reason
        What the bank said, and why it is held.
    """

    name: str
    pixels_sha256: str
    origin: str | None
    content: bytes | None
    score: float
    reason: str


@dataclass(frozen=True)
class QuarantinedImage:
    """An image that is held back, since when, and who wanted to add it."""

    name: str
    pixels_sha256: str
    origin: str | None
    score: float
    reason: str
    held_at: datetime
    held_by: str


class Quarantine:
    """The images held back in a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("quarantine")

    def hold(self, category_id: int, images: Sequence[ImageToHold]) -> None:
        """Hold images back; one that is held already keeps its time."""
        with self._sessions.connection() as connection:
            for image in images:
                connection.execute(
                    self._queries["hold"],
                    {
                        **vars(image),
                        "category_id": category_id,
                        "pixels_sha256": bytes.fromhex(image.pixels_sha256),
                        "held_by": current_actor(),
                    },
                )
            names = [image.name for image in images]
            add_event(connection, category_id, "hold", {"names": names})

    def of_category(self, category: str) -> list[QuarantinedImage]:
        """Return the images of a category that are held back, the oldest first.

        Raises
        ------
        UnknownCategoryError
            If there is no such category.
        """
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["list"], {"category_id": find_category(connection, category)}
            ).fetchall()
        return [QuarantinedImage(*row) for row in rows]

    def content(self, category: str, pixels_sha256: str) -> bytes | None:
        """Return the content of an image that is held back, if it is kept."""
        with self._sessions.connection() as connection:
            row = connection.execute(
                self._queries["content"],
                {
                    "category_id": find_category(connection, category),
                    "pixels_sha256": pixels_sha256,
                },
                binary=True,
            ).fetchone()
        return None if row is None or row[0] is None else bytes(row[0])

    def dismiss(self, category: str, pixels_sha256s: Sequence[str]) -> list[str]:
        """Take images out, without adding them to the bank; return their names."""
        with self._sessions.connection() as connection:
            category_id = find_category(connection, category)
            names = release(connection, category_id, pixels_sha256s)
            if names:
                add_event(connection, category_id, "dismiss", {"names": names})
        return names


def release(connection: Connection, category_id: int, pixels_sha256s: Sequence[str]) -> list[str]:
    """Take images out of the quarantine; return their names."""
    rows = connection.execute(
        queries.load("quarantine")["release"],
        {"category_id": category_id, "pixels_sha256s": list(pixels_sha256s)},
    ).fetchall()
    return sorted(name for (name,) in rows)
