"""Estimate the disk space of a stored bank from its dimensions."""

from __future__ import annotations

from patchbank.store.bank_content import BankContent

_PAGE_BYTES = 8192
# Usable bytes of a page, and the longest row that is not split (`toast_tuple_target`).
_ROOM_OF_PAGE = 8160
# Longer values are split into pieces, four to a page.
_PIECE_BYTES = 1996
# Bytes of a row without its vector: header, item pointer, other columns, and indexes.
_PATCH_BYTES, _REFERENCE_BYTES, _IMAGE_BYTES = 64, 64, 400
_INDEX_BYTES = 44
# Empty tables and indexes, and the rows of the bank and its events.
_LEAST_BYTES = 30 * _PAGE_BYTES
# Tables grow by more than a page at a time.
_MARGIN = 1.15


def stored_bytes(
    *,
    patches: int,
    dimensions: int,
    images: int,
    embedding_dimensions: int,
    thumbnail_bytes: int,
    graph_bytes: int = 0,
) -> int:
    """Return approximately how many bytes a stored bank takes, without the server's log.

    Parameters
    ----------
    patches, dimensions
        Of the coreset.
    images, embedding_dimensions
        Number of reference images, and the length of their embeddings.
    thumbnail_bytes
        Of all thumbnails together.
    graph_bytes
        Of the quantised graph.
    """
    counted = (
        _LEAST_BYTES
        + _rows(patches, 4 * dimensions + 8, _PATCH_BYTES)
        + _rows(images, 4 * embedding_dimensions + 8, _REFERENCE_BYTES)
        + images * _IMAGE_BYTES
        + _pieces(thumbnail_bytes)
        + _pieces(graph_bytes)
    )
    return round(_MARGIN * counted)


def bytes_of(bank: BankContent) -> int:
    """Return approximately how many bytes a bank takes when stored."""
    return stored_bytes(
        patches=bank.features.shape[0],
        dimensions=bank.features.shape[1],
        images=len(bank.images),
        embedding_dimensions=bank.embeddings.shape[1],
        thumbnail_bytes=sum(len(image.thumbnail) for image in bank.images),
        graph_bytes=len(bank.quantised_graph or b"") + len(bank.likeness or b""),
    )


def _rows(count: int, vector: int, other: int) -> float:
    """Return the bytes of rows with a vector each, and of their primary key."""
    row = vector + other
    if row <= _ROOM_OF_PAGE:
        # Rows do not span pages: two of 5,000 bytes take two pages.
        table = -(-count // (_ROOM_OF_PAGE // row)) * _PAGE_BYTES
        return table + count * _INDEX_BYTES
    return count * (other + _INDEX_BYTES) + count * _pieces(vector)


def _pieces(length: int) -> float:
    pieces = -(-length // _PIECE_BYTES)
    return pieces * (_PAGE_BYTES / 4 + _INDEX_BYTES)
