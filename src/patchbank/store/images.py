"""Images: stored images, and search for similar references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from patchbank.errors import BankGoneError, ImageError, NotFoundError, ParameterError
from patchbank.store import queries
from patchbank.store.bank_key import BankKey
from patchbank.store.categories import find_category
from patchbank.store.hnsw_index import HnswIndex, Metric, nearest_rows

if TYPE_CHECKING:
    from patchbank.store.sessions import Sessions


@dataclass(frozen=True)
class StoredImage:
    """An image of a category; `sha256` in hexadecimal, width and height in pixels."""

    image_id: int
    name: str
    sha256: str
    width: int
    height: int
    label: str
    defect_label: str | None
    origin: str | None
    added_at: datetime


class StoredReference(NamedTuple):
    """A reference of a bank.

    `score` is that of the calibration, by the bank without it, None if the reference was not
    scored; `held_out` whether the reference served the calibration alone; `p_value` the share of
    the calibration that scores as high, itself included.
    """

    reference_id: int
    name: str
    sha256: str
    width: int
    height: int
    added_at: datetime
    score: float | None
    held_out: bool | None
    p_value: float | None


@dataclass(frozen=True)
class SimilarImage:
    """A reference image and how it compares with the query.

    Attributes
    ----------
    similarity
        1 - cosine distance of the centred embeddings, from -1 to 1.
    distance
        Their Euclidean distance.
    """

    name: str
    similarity: float
    distance: float
    origin: str | None
    image_id: int


class Images:
    """The images of a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("images")

    def similar(
        self,
        key: BankKey,
        embedding: npt.NDArray[np.floating],
        *,
        top: int = 10,
        metric: Metric = "cosine",
        index: HnswIndex | None = None,
        offset: npt.NDArray[np.float32] | None = None,
    ) -> list[SimilarImage]:
        """Return the reference images most similar to an embedding, best first, ties by name.

        An embedding of zeros has no direction: its similarity is 0.

        Parameters
        ----------
        key
            The bank as read; the category name may since have been reused.
        embedding
            Shape (e,), centred on the bank's mean.
        top
            How many to return at most, at least 1.
        metric
            The measure of similarity.
        index
            Search by this index, approximately, which can find fewer than there are, or none;
            without it the scan is exact.
        offset
            Added to each stored embedding: the bank's mean, to compare uncentred embeddings. Not
            for use with an index, which holds centred ones only.

        Raises
        ------
        ParameterError
            When `top` is below 1.
        BankGoneError
            If the bank was removed or pruned.
        """
        if top < 1:
            raise ParameterError(f"top is {top}; ask for at least 1 similar image")
        query = np.asarray(embedding, np.float32)
        shift = None if offset is None else offset.tolist()
        parameters = {**key.parameters(), "embedding": query.tolist(), "offset": shift}
        with self._sessions.connection() as connection:
            rows = nearest_rows(connection, self._queries, metric, index, parameters, top)
            expected = (
                bool(rows)
                or index is not None
                or connection.execute(
                    self._queries["never_had_references"], key.parameters()
                ).fetchone()
            )
        if not expected:
            # A bank with references loses them only when it is removed or pruned.
            raise BankGoneError
        return [SimilarImage(*row) for row in rows]

    def embedding(self, key: BankKey, name: str) -> npt.NDArray[np.float32] | None:
        """Return a reference's centred embedding, float32 (e,); None if it does not exist."""
        with self._sessions.statement() as connection:
            row = connection.execute(
                self._queries["embedding"],
                {**key.parameters(), "name": name},
            ).fetchone()
        return None if row is None else np.array(row[0], np.float32)

    def names_of_content(self, key: BankKey, sha256: str, pixels_sha256: str) -> list[str]:
        """Return the names of references with the same file content or the same pixels."""
        with self._sessions.statement() as connection:
            rows = connection.execute(
                self._queries["names_of_content"],
                {**key.parameters(), "sha256": sha256,
                 "pixels_sha256": pixels_sha256},
            ).fetchall()  # fmt: skip
        return [name for (name,) in rows]

    def names_of_other_content(self, key: BankKey, pixels: Mapping[str, str]) -> list[str]:
        """Return which of these names the category has for other pictures, also former references.

        `pixels` has the SHA-256 of the decoded pixels by name.
        """
        with self._sessions.statement() as connection:
            rows = connection.execute(
                self._queries["names_of_other_content"],
                {
                    **key.parameters(),
                    "names": list(pixels),
                    "pixels_sha256s": list(pixels.values()),
                },
            ).fetchall()
        return [name for (name,) in rows]

    def names_like(self, key: BankKey, ending: str) -> list[str]:
        """Return the names of up to three references that end with `ending`."""
        with self._sessions.statement() as connection:
            rows = connection.execute(
                self._queries["names_like"],
                {**key.parameters(), "ending": ending},
            ).fetchall()
        return [name for (name,) in rows]

    def sample(
        self, key: BankKey, positions: Sequence[int]
    ) -> list[tuple[str, npt.NDArray[np.float32]]]:
        """Return names and embeddings of the references at these positions."""
        with self._sessions.statement() as connection:
            rows = connection.execute(
                self._queries["sample"],
                {**key.parameters(), "positions": list(positions)},
            ).fetchall()
        return [(name, np.array(embedding, np.float32)) for name, embedding in rows]

    def get(self, category: str, name: str) -> StoredImage:
        """Return an image by its name.

        Raises
        ------
        UnknownCategoryError, ImageError
            If there is no such category or image.
        """
        with self._sessions.connection() as connection:
            row = connection.execute(
                self._queries["get"],
                {"category_id": find_category(connection, category), "name": name},
            ).fetchone()
        if row is None:
            raise ImageError(f"category {category!r} has no image {name!r}")
        return StoredImage(*row)

    def references(
        self, key: BankKey, *, limit: int, before: int | None = None, unusual: bool = False
    ) -> list[StoredReference]:
        """Return a bank's references, those with the highest numbers first.

        Parameters
        ----------
        limit
            How many at most.
        before
            Only those after the one with this number.
        unusual
            Whether those with the highest scores come first instead.
        """
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["references"],
                {
                    **key.parameters(), "limit": limit, "before": before, "unusual": unusual,
                },
            ).fetchall()  # fmt: skip
        return [StoredReference(*row) for row in rows]

    def reference_names(
        self, key: BankKey, numbers: Sequence[int], pixels_sha256s: Sequence[str]
    ) -> list[str]:
        """Return the names of a bank's references that have these numbers or pixels.

        Raises
        ------
        NotFoundError
            If the bank has none with one of them.
        """
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["reference_names"],
                {
                    **key.parameters(),
                    "numbers": list(numbers),
                    "pixels_sha256s": list(pixels_sha256s),
                },
            ).fetchall()
        known = {number for number, _, _ in rows} | {digest for _, digest, _ in rows}
        for wanted in (*numbers, *pixels_sha256s):
            if wanted not in known:
                which = "number" if isinstance(wanted, int) else "pixels"
                raise NotFoundError(f"the active bank has no reference with the {which} {wanted}")
        return [name for _, _, name in rows]

    def thumbnail(self, category: str, image_id: int) -> bytes:
        """Return an image's thumbnail, an encoded picture.

        Raises
        ------
        UnknownCategoryError, NotFoundError
            If there is no such category or image.
        """
        return self._thumbnail(category, {"image_id": image_id, "name": None}, f"number {image_id}")

    def thumbnail_of_name(self, category: str, name: str) -> bytes:
        """Return the thumbnail of an image by its name; see `thumbnail`."""
        return self._thumbnail(category, {"image_id": None, "name": name}, repr(name))

    def _thumbnail(self, category: str, parameters: dict[str, object], words: str) -> bytes:
        with self._sessions.connection() as connection:
            row = connection.execute(
                self._queries["thumbnail"],
                {"category_id": find_category(connection, category), **parameters},
                binary=True,
            ).fetchone()
        if row is None:
            raise NotFoundError(f"category {category!r} has no image {words}")
        if not row[0]:
            raise NotFoundError(f"image {words} of category {category!r} came without a picture")
        return bytes(row[0])
