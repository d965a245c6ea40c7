"""The known-good images that look most like an image."""

from __future__ import annotations

from patchbank.inspection.inspect import DEFAULT_TOP, Inspector
from patchbank.inspection.verdicts import Similar
from patchbank.inspection.workspace import Workspace
from patchbank.vision.images import ImageSource


def search(
    workspace: Workspace, category: str, image: ImageSource, *, top: int = DEFAULT_TOP
) -> tuple[Similar, ...]:
    """Return the most similar known-good images of a category, most similar first.

    Raises
    ------
    ImageError
        If the image cannot be used.
    UnknownCategoryError, NotFittedError, ExtractorMismatchError
        If there is no bank to search in, or this installation cannot.
    """
    return Inspector(workspace, category).similar(image, top=top)
