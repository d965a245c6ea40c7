"""The living bank: images are added, held in quarantine, and withdrawn."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from patchbank.errors import ParameterError
from patchbank.inspection.living.add import AddReport, add, add_held
from patchbank.inspection.living.quarantine import dismiss_pixels, held_image, quarantined
from patchbank.inspection.living.withdraw import WithdrawReport, withdraw_numbers
from patchbank.printable import counted
from patchbank.server.access import Engineer, Operator
from patchbank.server.addresses import address
from patchbank.server.bodies import IMAGE, image_of, images_form, images_of, request_body
from patchbank.server.models.living import (
    MOST_AT_ONCE,
    Addition,
    Decided,
    Digest,
    Dismissed,
    Quarantine,
    Withdrawal,
    WithdrawalWanted,
)
from patchbank.server.parameters import CategoryName, Effect, ExpectedVersion
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of
from patchbank.server.shown import display_picture

router = APIRouter(prefix="/v1", tags=["living bank"], responses=PROBLEMS)

_BODY = request_body(
    IMAGE | images_form(MOST_AT_ONCE),
    "The image: its file as the body; or several in the fields `image` of a form.",
)


@router.post("/categories/{category}/references", response_model=Addition, openapi_extra=_BODY)
async def add_images(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    name: Annotated[
        str | None, Query(description="What the image is called, if it is the body.")
    ] = None,
    force: Annotated[
        bool, Query(description="Confirms that the images are good, also those that fail.")
    ] = False,
    dry_run: Annotated[bool, Query(description="Only shows what would change.")] = False,
    effect: Effect = 0,
    expected_version: ExpectedVersion = None,
) -> dict[str, Any]:
    """Add images of good parts to a bank, without fitting it again.

    Only patches are added that the bank does not represent yet. Images that fail are held in
    quarantine until a person confirms or dismisses them, unless `force` says that they are good.
    """
    service = service_of(request)
    images = await _sent(request, name)

    def work() -> AddReport:
        return add(
            service.workspace,
            category,
            [content for content, _ in images],
            names=[called for _, called in images],
            force=force,
            dry_run=dry_run,
            effect=effect,
            expected_version=expected_version,
        )

    return (await service.teaching.change(work)).to_json()


@router.post("/categories/{category}/references/withdraw", response_model=Withdrawal)
async def withdraw_references(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    wanted: WithdrawalWanted,
    expected_version: ExpectedVersion = None,
) -> dict[str, Any]:
    """Withdraw references from a bank, and restore what others lose with them; see `undo`."""
    service = service_of(request)

    def work() -> WithdrawReport:
        return withdraw_numbers(
            service.workspace,
            category,
            numbers=wanted.references,
            pixels_sha256=wanted.pixels_sha256,
            force=wanted.force,
            expected_version=expected_version,
        )

    return (await service.teaching.change(work)).to_json()


@router.get("/categories/{category}/quarantine", response_model=Quarantine)
def quarantine(request: Request, caller: Operator, category: CategoryName) -> dict[str, Any]:
    """List the images that were to be added and fail, the oldest first."""
    held = quarantined(service_of(request).workspace, category)
    return {
        "items": [
            {
                **image,
                "picture": address(category, "quarantine", image["pixels_sha256"], "picture"),
            }
            for image in held
        ]
    }


@router.get(
    "/categories/{category}/quarantine/{pixels_sha256}/picture",
    response_class=Response,
    responses={200: {"description": "The picture.", "content": {"image/jpeg": {}}}},
)
def held_picture(
    request: Request,
    caller: Operator,
    category: CategoryName,
    pixels_sha256: Annotated[Digest, Path()],
) -> Response:
    """Give an image in quarantine as JPEG, to be shown."""
    workspace = service_of(request).workspace
    content = held_image(workspace, category, pixels_sha256)
    return Response(display_picture(content, workspace.limits).content, media_type="image/jpeg")


@router.post("/categories/{category}/quarantine/confirm", response_model=Addition)
async def confirm(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    decided: Decided,
    effect: Effect = 0,
    expected_version: ExpectedVersion = None,
) -> dict[str, Any]:
    """Add images in quarantine to the bank: a person confirms that they show good parts."""
    service = service_of(request)

    def work() -> AddReport:
        return add_held(
            service.workspace,
            category,
            decided.pixels_sha256,
            effect=effect,
            expected_version=expected_version,
        )

    return (await service.teaching.change(work)).to_json()


@router.post("/categories/{category}/quarantine/dismiss", response_model=Dismissed)
def dismiss(
    request: Request, caller: Engineer, category: CategoryName, decided: Decided
) -> dict[str, Any]:
    """Take images out of the quarantine without adding them."""
    workspace = service_of(request).workspace
    return {"names": dismiss_pixels(workspace, category, decided.pixels_sha256)}


async def _sent(request: Request, name: str | None) -> list[tuple[bytes, str]]:
    """Return the content and the name of each image that a request sends."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        images = await images_of(request)
        if len(images) > MOST_AT_ONCE:
            raise ParameterError(
                f"{counted(len(images), 'image')} in one request; send at most {MOST_AT_ONCE} at "
                "once"
            )
        if name is not None and len(images) > 1:
            raise ParameterError("name: several images were sent; their files have the names")
    else:
        images = [await image_of(request)]
    return [
        (content, name or given or f"image-{hashlib.sha256(content).hexdigest()[:12]}")
        for content, given in images
    ]
