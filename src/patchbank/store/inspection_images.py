"""Images of inspections: kept with them, and given back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from patchbank.store import queries

if TYPE_CHECKING:
    from patchbank.store.inspections import InspectionRecord, Receipt
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions


class ImageContent(NamedTuple):
    """An image to keep: the bytes of its file, or a PNG of the pixels of an image in memory."""

    encoding: Literal["file", "pixels"]
    content: bytes


def insert_images(
    connection: Connection,
    inspections: Sequence[InspectionRecord],
    receipts: Sequence[Receipt],
    images: Iterable[tuple[int, ImageContent]],
) -> None:
    """Insert images of inspections just recorded, each with its position among them."""
    statement = queries.load("inspections")["keep_image"]
    for position, image in images:
        connection.execute(
            statement,
            {
                "category_id": inspections[position].category_id,
                **receipts[position]._asdict(),
                **image._asdict(),
            },
        )


class InspectionImages:
    """Reads images of inspections; a base of `Inspections`."""

    _sessions: Sessions

    def image(self, category_id: int, inspection_id: int) -> ImageContent | None:
        """Return the image of an inspection; None if it was not kept."""
        with self._sessions.statement(long=True) as connection:
            row = connection.execute(
                queries.load("inspections")["image"],
                {"category_id": category_id, "inspection_id": inspection_id},
            ).fetchone()
        return None if row is None else ImageContent(*row)
