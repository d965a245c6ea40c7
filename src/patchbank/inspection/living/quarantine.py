"""Images held back from a bank, until a person says whether they show good parts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchbank.errors import ImageError, NoImagesError, NotFoundError
from patchbank.inspection.sources import file_at, named
from patchbank.inspection.workspace import Workspace
from patchbank.store.quarantine import QuarantinedImage
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.images import decode


def quarantined(workspace: Workspace, category: str) -> list[dict[str, Any]]:
    """Return a document for each image of a category that is held, the oldest first.

    Raises
    ------
    UnknownCategoryError
        If there is no such category.
    """
    return [_document(image) for image in workspace.database.quarantine.of_category(category)]


def dismiss(workspace: Workspace, category: str, images: Sequence[str]) -> list[str]:
    """Take images out of the quarantine without adding them; return their names.

    Raises
    ------
    UnknownCategoryError
        If there is no such category.
    ParameterError
        If an image is not held.
    """
    held = workspace.database.quarantine.of_category(category)
    wanted = named(
        [image.origin for image in held],
        [image.name for image in held],
        images,
        f"dismiss from the quarantine of {category}:",
        remedy=f"patchbank quarantine {category} lists what is held",
    )
    digests = [image.pixels_sha256 for image in held if image.name in wanted]
    return workspace.database.quarantine.dismiss(category, digests)


def dismiss_pixels(workspace: Workspace, category: str, pixels_sha256: Sequence[str]) -> list[str]:
    """Take images out of the quarantine by the SHA-256 of their pixels; see `dismiss`.

    Raises
    ------
    NotFoundError
        If one is not held.
    """
    held = _held(workspace, category, pixels_sha256)
    digests = [image.pixels_sha256 for image in held]
    return workspace.database.quarantine.dismiss(category, digests)


def held_image(workspace: Workspace, category: str, pixels_sha256: str) -> bytes:
    """Return the file of an image that is held.

    Raises
    ------
    NotFoundError
        If it is not held.
    ImageError
        If its file is gone, or has another content by now.
    """
    (image,) = _held(workspace, category, [pixels_sha256])
    source = _source(workspace, category, image, _bit_depth(workspace, category))
    return source if isinstance(source, bytes) else source.read_bytes()


def _held(
    workspace: Workspace, category: str, pixels_sha256: Sequence[str]
) -> list[QuarantinedImage]:
    held = {
        image.pixels_sha256: image for image in workspace.database.quarantine.of_category(category)
    }
    for wanted in pixels_sha256:
        if wanted not in held:
            raise NotFoundError(
                f"category {category!r} holds no image with the pixels {wanted}; `patchbank "
                f"quarantine {category}` lists what is held"
            )
    return [image for digest, image in held.items() if digest in pixels_sha256]


def held_sources(
    workspace: Workspace, category: str, pixels_sha256: Sequence[str] | None = None
) -> tuple[list[str], list[ImageSource]]:
    """Return names and sources of the images that are held, of all or of some.

    Raises
    ------
    NoImagesError, NotFoundError
        If there are none, or one of some is not held.
    ImageError
        If the file of one is gone, or has another content by now.
    """
    if pixels_sha256 is None:
        held = workspace.database.quarantine.of_category(category)
    else:
        held = _held(workspace, category, pixels_sha256)
    if not held:
        raise NoImagesError(f"category {category!r} has no images in quarantine")
    bit_depth = _bit_depth(workspace, category)
    names: dict[str, ImageSource] = {}
    for image in held:
        source = _source(workspace, category, image, bit_depth)
        # Two pictures may have been held under one name.
        name = (
            image.name if image.name not in names else f"{image.name} ({image.pixels_sha256[:8]})"
        )
        names[name] = source
    return list(names), list(names.values())


def _bit_depth(workspace: Workspace, category: str) -> int | None:
    bank = workspace.database.banks.active(category, patches=False)
    depth: int | None = bank.content.extractor.get("bit_depth")
    return depth


def _source(
    workspace: Workspace, category: str, image: QuarantinedImage, bit_depth: int | None
) -> Path | bytes:
    content = workspace.database.quarantine.content(category, image.pixels_sha256)
    source = file_at(str(image.origin)) if content is None else content
    _check_unchanged(workspace, category, image, source, bit_depth)
    return source


def _check_unchanged(
    workspace: Workspace,
    category: str,
    image: QuarantinedImage,
    source: ImageSource,
    bit_depth: int | None,
) -> None:
    """Raise ImageError if what is to be confirmed is not what was held."""
    dismissal = shlex.join(["patchbank", "quarantine", category, "--dismiss", image.name])
    try:
        found = decode(source, limits=workspace.limits, bit_depth=bit_depth)
    except ImageError as error:
        raise ImageError(
            f"{image.name}: was held, and cannot be read any more ({error}); restore the file, or "
            f"take it out: {dismissal}"
        ) from error
    if found.pixels_sha256 != image.pixels_sha256:
        raise ImageError(
            f"{image.name}: the file has another content than when it was held; take it out, and "
            f"add it again: {dismissal}"
        )


def _document(image: QuarantinedImage) -> dict[str, Any]:
    return {**vars(image), "held_at": image.held_at.isoformat(timespec="seconds")}
