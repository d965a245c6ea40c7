"""Images held back from a bank, until a person says whether they show good parts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from patchbank.errors import ImageError, NoImagesError
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


def held_sources(workspace: Workspace, category: str) -> tuple[list[str], list[ImageSource]]:
    """Return names and sources of the images that are held.

    Raises
    ------
    NoImagesError
        If there are none.
    ImageError
        If the file of one is gone, or has another content by now.
    """
    quarantine = workspace.database.quarantine
    held = quarantine.of_category(category)
    if not held:
        raise NoImagesError(f"category {category!r} has no images in quarantine")
    bank = workspace.database.banks.active(category, patches=False).content
    names: dict[str, ImageSource] = {}
    for image in held:
        content = quarantine.content(category, image.pixels_sha256)
        source = file_at(str(image.origin)) if content is None else content
        _check_unchanged(workspace, category, image, source, bank.extractor.get("bit_depth"))
        # Two pictures may have been held under one name.
        name = (
            image.name if image.name not in names else f"{image.name} ({image.pixels_sha256[:8]})"
        )
        names[name] = source
    return list(names), list(names.values())


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
