"""What a stored or a new image looks like: its most similar references, patches or defects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import ImageError, NotFittedError, ParameterError
from patchbank.inspection.judging.inspect import DEFAULT_TOP
from patchbank.inspection.judging.matching import matching_extractor
from patchbank.inspection.judging.search_results import Among, Match, SearchResult
from patchbank.inspection.judging.similarity_rule import (
    SimilarityThreshold,
    check_threshold,
    reaches,
    reference_standing,
)
from patchbank.inspection.sources import checked_name, source_name
from patchbank.inspection.workspace import Workspace
from patchbank.memory.similarity import same_image
from patchbank.printable import counted
from patchbank.spelling import spellings
from patchbank.store.hnsw_index import HnswIndex, Metric
from patchbank.store.images import SimilarImage
from patchbank.store.patches import SimilarPatch
from patchbank.store.stored_bank import StoredBank
from patchbank.vision.decoded_image import ImageSource

_EXACT = "exact scan"
_PATCH_NAME = re.compile(r"(.+)#r(\d{1,5})c(\d{1,5})", re.DOTALL)
# Of a patch whose image the bank does not know.
_ORDINAL = re.compile(r"#(\d{1,9})")


@dataclass(frozen=True)
class _Query:
    """A vector to search with; that of a patch, or of an image, centred on the bank's mean.

    `names` are those under which it is stored itself.
    """

    name: str
    vector: NDArray[np.float32]
    is_patch: bool = False
    names: frozenset[str] = field(default_factory=frozenset)


def search(
    workspace: Workspace,
    category: str,
    image: ImageSource | None = None,
    *,
    name: str | None = None,
    among: str = "references",
    metric: str = "cosine",
    threshold: SimilarityThreshold = "auto",
    top: int = DEFAULT_TOP,
    exact: bool = False,
    raw: bool = False,
) -> SearchResult:
    """Return what is most similar to an image, to a stored image, patch or defect, in pgvector.

    Parameters
    ----------
    image
        An image to compare.
    name
        Instead of it, the name of a reference image, of a defect, or of a patch in the bank, as
        ``leather/train/good/012.png#r14c03`` (``#17`` where the bank does not know its images); a
        patch is compared with the bank's patches.
    among
        ``"references"`` or ``"defects"``.
    metric
        ``"cosine"`` or ``"l2"``: what orders the matches.
    threshold
        Of the similarity rule: good where the most similar reference but the image itself has
        at least this similarity, anomalous otherwise. ``"auto"`` is the similarity that good images
        fall short of at the bank's false-alarm rate, as its references tell, wherever the rule can
        be about the search; None is no rule.
    top
        How many to return at most, at least 1.
    exact
        Scan even where there is an HNSW index.
    raw
        Compare the images' embeddings as the network gives them, not centred on the bank's mean:
        similarities are then near 1 for all images of one product.

    Raises
    ------
    ParameterError
        If a parameter is out of its range, or both or none of `image` and `name` are given.
    ImageError
        If the image cannot be used, or nothing is stored under the name.
    UnknownCategoryError, NotFittedError, ExtractorMismatchError
        If there is no bank to search in, or this installation cannot.
    """
    chosen, way = _checked(among, metric, threshold, top, image is None, name is None)
    bank = workspace.database.banks.active(category, patches=False)
    if name is not None:
        name = checked_name(name)
        query = _stored_query(workspace, bank, name)
    else:
        assert image is not None
        query = _new_query(workspace, bank, image)
    if query.is_patch:
        _check_patch(query, threshold, raw)
    if chosen == "defects":
        return _among_defects(workspace, bank, query, way, top, raw)
    if not (query.is_patch or bank.content.images):
        raise NotFittedError(
            f"category {category!r} has no reference images to compare with, because its bank "
            f"was imported without any; add them with patchbank calibrate {category} GOOD_IMAGES..."
        )
    index = None
    if not (exact or raw):
        index = workspace.database.indexes.find(
            bank.key, "patches" if query.is_patch else "images", way
        )
    matches, method = _among_references(workspace, bank, query, way, top, index, raw)
    result = SearchResult(
        query=query.name,
        category=category,
        among=chosen,
        metric=way,
        method=method,
        matches=matches[:top],
        raw=raw,
    )
    if threshold is None or query.is_patch or way != "cosine":
        return result
    return _ruled(result, bank, threshold, matches)


def _ruled(
    result: SearchResult,
    bank: StoredBank,
    threshold: SimilarityThreshold,
    matches: tuple[Match, ...],
) -> SearchResult:
    """Return the result with the similarity rule's answer, where there is another reference."""
    # By cosine, so that the first is the most similar.
    nearest = next((match.similarity for match in matches if not match.itself), None)
    standing = reference_standing(bank, raw=result.raw)
    remarks: tuple[str, ...] = ()
    if threshold == "auto":
        threshold = None if standing is None else standing.calibrated_threshold
        remarks = () if standing is None else standing.remarks
    if nearest is None or threshold is None:
        lacking = "the similarity rule was not applied: the bank has too few different references"
        return replace(result, remarks=(lacking,))
    # A number of NumPy's, say, is no value for JSON.
    limit = float(threshold)
    return replace(
        result, threshold=limit, normal=reaches(nearest, limit), standing=standing, remarks=remarks
    )


def _check_patch(query: _Query, threshold: SimilarityThreshold, raw: bool) -> None:
    if threshold not in (None, "auto"):
        raise ParameterError(
            f"{query.name}: --threshold applies to whole images only; give the name of an "
            f"image, or leave out --threshold"
        )
    if raw:
        raise ParameterError(
            f"{query.name}: --raw does not apply to patches, whose features are never centred; "
            f"leave it out"
        )


def _checked(
    among: str,
    metric: str,
    threshold: SimilarityThreshold,
    top: int,
    no_image: bool,
    no_name: bool,
) -> tuple[Among, Metric]:
    if no_image == no_name:
        raise ParameterError("search: give an image, or --name with the name of a stored one")
    if among not in get_args(Among):
        raise ParameterError(f"among {among!r}: must be references or defects")
    if metric not in get_args(Metric):
        raise ParameterError(f"metric {metric!r}: must be cosine or l2")
    if top < 1:
        raise ParameterError(f"top is {top}; must be at least 1")
    check_threshold(threshold, metric=metric, among=among)
    return ("defects" if among == "defects" else "references"), (
        "l2" if metric == "l2" else "cosine"
    )


def _new_query(workspace: Workspace, bank: StoredBank, image: ImageSource) -> _Query:
    extractor = matching_extractor(workspace, bank)
    name = source_name(image)
    extraction = extractor.extract_one(image, name=name, limits=workspace.limits)
    seen = extraction.image
    known = workspace.database.images.names_of_content(bank.key, seen.sha256, seen.pixels_sha256)
    return _image_query(bank, name, extraction.embedding - bank.content.embedding_mean, known)


def _image_query(
    bank: StoredBank, name: str, vector: NDArray[np.float32], known: Iterable[str]
) -> _Query:
    """Return a query with all names of its image; `known` are some of them."""
    same = same_image(bank.content.embeddings, vector)
    images = bank.content.images
    found = (image.name for image, is_same in zip(images, same, strict=True) if is_same)
    return _Query(name, vector, names=frozenset(known).union(found))


def _stored_query(workspace: Workspace, bank: StoredBank, name: str) -> _Query:
    """Return the vector stored under a name; images come before defects, these before patches."""
    key = bank.key
    database = workspace.database
    for spelled in spellings(name):
        vector = database.images.embedding(key, spelled)
        if vector is None:
            vector = database.defects.embedding(key, spelled)
        if vector is not None:
            return _image_query(bank, spelled, vector, [spelled])
    if (match := _ORDINAL.fullmatch(name)) is not None:
        vector = database.patches.feature_at(key, int(match[1]))
        if vector is None:
            raise ImageError(
                f"{name}: the bank has {bank.patch_count} patches, so there is no patch with "
                f"this number"
            )
        return _Query(name, vector, is_patch=True, names=frozenset([name]))
    match = _PATCH_NAME.fullmatch(name)
    if match is None:
        raise _no_image(workspace, bank, name)
    image, row, column = match[1], int(match[2]), int(match[3])
    vector = database.patches.feature(key, image, row, column)
    if vector is not None:
        return _Query(name, vector, is_patch=True, names=frozenset([name]))
    if database.images.embedding(key, image) is None:
        raise _no_image(workspace, bank, image)
    positions = database.patches.positions(key, image)
    raise ImageError(
        f"{name}: this patch is not in the bank, which keeps "
        + _stored_patches(positions, bank, row, column)
    )


def _stored_patches(
    positions: list[tuple[int, int]], bank: StoredBank, row: int, column: int
) -> str:
    grid = bank.content.extractor.get("grid")
    count = len(positions)
    of_all = (
        f"{count} of the {grid[0] * grid[1]} patches"
        if grid
        else counted(count, "patch", "patches")
    )
    text = f"{of_all} of this image"
    if not positions:
        return text
    nearest = sorted(positions, key=lambda at: ((at[0] - row) ** 2 + (at[1] - column) ** 2, at))[:3]
    names = ", ".join(f"#r{r:02}c{c:02}" for r, c in nearest)
    return f"{text}; the nearest ones are {names}"


def _no_image(workspace: Workspace, bank: StoredBank, name: str) -> ImageError:
    ending = name.replace("\\", "/").rsplit("/", 1)[-1]
    like = workspace.database.images.names_like(bank.key, ending)
    hint = (
        f"; similar names are {', '.join(repr(item) for item in like)}"
        if like
        else "; to list the stored images, query the view images (`patchbank database psql`)"
    )
    return ImageError(f"category {bank.category!r} has no image or defect named {name!r}{hint}")


def _among_references(
    workspace: Workspace,
    bank: StoredBank,
    query: _Query,
    metric: Metric,
    top: int,
    index: HnswIndex | None,
    raw: bool,
) -> tuple[tuple[Match, ...], str]:
    """Return the matches and how they were found: exactly where the index cannot do as much.

    They are as many more than `top` as the query itself is stored: the similarity rule leaves it
    out.
    """
    database, key = workspace.database, bank.key
    top += len(query.names)
    if raw:
        mean = bank.content.embedding_mean
        rows = database.images.similar(
            key, query.vector + mean, top=top, metric=metric, offset=mean
        )
        return _matches(rows, query), f"{_EXACT} of uncentred embeddings"
    source = database.patches if query.is_patch else database.images
    stored = bank.patch_count if query.is_patch else len(bank.content.images)
    method = _described(index, top)
    if index is not None and not index.can_find(query.vector):
        index, method = None, f"{_EXACT}, because the index cannot contain this vector"
    found = source.similar(key, query.vector, top=top, metric=metric, index=index)
    if index is not None and len(found) < min(top, stored):
        # pgvector leaves vectors of zeros out of an index by cosine, and a search may end early.
        method = f"{_EXACT}, because the index found only {len(found)}"
        found = source.similar(key, query.vector, top=top, metric=metric)
    return _matches(found, query), method


def _matches(found: Sequence[SimilarImage | SimilarPatch], query: _Query) -> tuple[Match, ...]:
    return tuple(
        Match(
            match.name, match.similarity, match.distance, "good", itself=match.name in query.names
        )
        for match in found
    )


def _among_defects(
    workspace: Workspace, bank: StoredBank, query: _Query, metric: Metric, top: int, raw: bool
) -> SearchResult:
    if query.is_patch:
        raise ParameterError(
            f"{query.name}: defects are stored as whole images; give the name of an image to "
            f"search them"
        )
    defects = workspace.database.defects
    recorded, comparable = defects.counts(bank.key)
    remarks: tuple[str, ...] = ()
    if comparable < recorded:
        remarks = (
            f"{recorded - comparable} of {counted(recorded, 'defect')} left out because they "
            f"were recorded with another extractor; add them again",
        )
    offset = bank.content.embedding_mean if raw else None
    found = defects.similar(
        bank.key,
        query.vector if offset is None else query.vector + offset,
        top=top,
        metric=metric,
        offset=offset,
    )
    return SearchResult(
        query=query.name,
        category=bank.category,
        among="defects",
        metric=metric,
        method=_described(None, top),
        matches=tuple(
            Match(
                match.name,
                match.similarity,
                match.distance,
                match.label,
                match.synthetic,
                itself=match.name in query.names,
            )
            for match in found
        ),
        raw=raw,
        remarks=remarks,
    )


def _described(index: HnswIndex | None, top: int) -> str:
    if index is None:
        return _EXACT
    recall = "not measured" if index.recall is None else f"{index.recall:.4f} when built"
    return (
        f"HNSW index of {index.type} ({index.metric}, ef_search {index.ef_search(top)}, "
        f"recall {recall})"
    )
