"""Pictures as answers: of a type that their content has, under a name that is safe."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import Response

from patchbank.printable import printable
from patchbank.vision.media_types import UNKNOWN, media_type

_LONGEST_NAME = 100

#: For `responses` of a route that answers with a picture.
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def picture(content: bytes, name: str) -> Response:
    """Return a picture as an answer; `name` is what its file is called if it is saved.

    What is no image by its signature is never shown, only saved.
    """
    kind = media_type(content)
    shown = "attachment" if kind == UNKNOWN else "inline"
    # Of a path, the file; the name is the user's, and a browser may save under it.
    file = printable(name.replace("\\", "/").rsplit("/", 1)[-1])[-_LONGEST_NAME:] or "image"
    return Response(
        content,
        media_type=kind,
        headers={"content-disposition": f"{shown}; filename*=UTF-8''{quote(file, safe='')}"},
    )
