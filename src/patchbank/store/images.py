"""Images: what the bank has seen, and which of them look alike."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchbank.errors import BankGoneError, ImageError, ParameterError
from patchbank.store import queries
from patchbank.store.categories import find_category

if TYPE_CHECKING:
    from patchbank.store.connection import Database


@dataclass(frozen=True)
class StoredImage:
    """An image a category knows; `sha256` in hexadecimal, width and height in pixels."""

    image_id: int
    name: str
    sha256: str
    width: int
    height: int
    label: str
    defect_label: str | None
    origin: str | None
    added_at: datetime


@dataclass(frozen=True)
class SimilarImage:
    """A reference image and its similarity to the query: 1 - cosine distance, from -1 to 1."""

    name: str
    similarity: float
    origin: str | None
    image_id: int


class Images:
    """The images of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = queries.load("images")

    def similar(
        self,
        category_id: int,
        version: int,
        embedding: npt.NDArray[np.floating],
        *,
        top: int = 10,
    ) -> list[SimilarImage]:
        """Return the reference images most similar to an embedding, best first, ties by name.

        The scan is exact. An embedding of zeros has no direction: its similarity is 0.

        Parameters
        ----------
        category_id, version
            The bank, as read: a name may by now be that of a category learned anew.
        embedding
            Shape (e,), centred as the bank's own embeddings are.
        top
            How many to return at most, at least 1.

        Raises
        ------
        ParameterError
            When `top` is below 1.
        BankGoneError
            When the bank was forgotten, or two fits have replaced it.
        """
        if top < 1:
            raise ParameterError(f"top is {top}; ask for at least 1 similar image")
        with self._database.connection() as connection:
            rows = connection.execute(
                self._queries["similar"],
                {
                    "category_id": category_id,
                    "version": version,
                    "embedding": np.asarray(embedding, np.float32).tolist(),
                    "top": top,
                },
            ).fetchall()
            key = {"category_id": category_id, "version": version}
            expected = (
                bool(rows)
                or connection.execute(self._queries["never_had_references"], key).fetchone()
            )
        if not expected:
            # Who has references keeps them for as long as the bank is kept.
            raise BankGoneError
        return [SimilarImage(*row) for row in rows]

    def get(self, category: str, name: str) -> StoredImage:
        """Return an image by its name.

        Raises
        ------
        UnknownCategoryError, ImageError
            When the category or the image is not there.
        """
        with self._database.connection() as connection:
            row = connection.execute(
                self._queries["get"],
                {"category_id": find_category(connection, category), "name": name},
            ).fetchone()
        if row is None:
            raise ImageError(f"category {category!r} knows no image {name!r}")
        return StoredImage(*row)

    def thumbnail(self, category: str, image_id: int) -> bytes:
        """Return an image's thumbnail as it was saved: an encoded picture.

        Raises
        ------
        UnknownCategoryError, ImageError
            When the category or the image is not there.
        """
        with self._database.connection() as connection:
            row = connection.execute(
                self._queries["thumbnail"],
                {"category_id": find_category(connection, category), "image_id": image_id},
                binary=True,
            ).fetchone()
        if row is None:
            raise ImageError(f"category {category!r} knows no image number {image_id}")
        return bytes(row[0])
