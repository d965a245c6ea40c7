"""The images that requests send: what the document says of them, and how they are read."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from patchbank.errors import ImageError, ParameterError
from patchbank.printable import printable

#: The field of a form.
FIELD = "image"
#: Of one request.
MOST_IMAGES = 1_000

BINARY = {"type": "string", "format": "binary"}
#: An image as the body.
IMAGE: dict[str, Any] = {
    "application/octet-stream": {"schema": BINARY},
    "image/*": {"schema": BINARY},
}


def request_body(content: dict[str, Any], description: str | None = None) -> dict[str, Any]:
    """Return what the document says of a body, by media type."""
    body = {"required": True, "content": content}
    return {"requestBody": body if description is None else {**body, "description": description}}


def images_form(most: int) -> dict[str, Any]:
    """Return what the document says of a form with so many images at most."""
    return _form(
        {
            "type": "array",
            "items": BINARY,
            "minItems": 1,
            "maxItems": most,
            "description": "The files of the images.",
        }
    )


def _form(field: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": [FIELD],
        "properties": {FIELD: field},
        "additionalProperties": False,
    }
    return {"multipart/form-data": {"schema": schema}}


ONE_IMAGE = request_body(
    IMAGE | _form(BINARY), "The image: its file as the body, or as the field `image` of a form."
)


async def images_of(request: Request) -> list[tuple[bytes, str | None]]:
    """Return content and file name of each image in the form that a request sends.

    Raises
    ------
    ImageError, ParameterError
        If the form has no image, or another field.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ImageError(f"send a form with the images as files in the field `{FIELD}`")
    async with request.form(max_files=MOST_IMAGES, max_fields=10) as form:
        files = [file for file in form.getlist(FIELD) if isinstance(file, UploadFile)]
        if not files:
            raise ImageError(f"the form has no file in the field `{FIELD}`; send the images there")
        _refuse_others(form)
        return [(await file.read(), file.filename) for file in files]


async def image_of(request: Request) -> tuple[bytes, str | None]:
    """Return the content of the image in a request's body, and what its file was called.

    Raises
    ------
    ImageError, ParameterError
        If the body has no image, or its form another field.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return _not_empty(await request.body()), None
    async with request.form(max_files=1, max_fields=10) as form:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise ImageError(f"the form has no file in the field `{FIELD}`; send the image there")
        _refuse_others(form)
        return _not_empty(await file.read()), file.filename


def _refuse_others(form: FormData) -> None:
    """Refuse what nobody would read, such as the part in a field of its own."""
    for name in form:
        if name != FIELD:
            raise ParameterError(
                f"the form has the field {printable(repr(name))}; give what is not an image as a "
                "query parameter, after `?` in the address"
            )


def _not_empty(content: bytes) -> bytes:
    if not content:
        raise ImageError("the image is empty; send the file of an image")
    return content
