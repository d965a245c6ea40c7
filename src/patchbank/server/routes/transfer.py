"""Banks that go from one service to another, in a file."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from patchbank.errors import PatchbankError
from patchbank.inspection.keeping.transfer import TransferReport, export_bank, import_bank_file
from patchbank.server.access import Admin, Engineer
from patchbank.server.bodies import BINARY
from patchbank.server.models.transfer import Imported
from patchbank.server.parameters import CategoryName
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import Service, service_of

router = APIRouter(prefix="/v1", tags=["categories"], responses=PROBLEMS)

_MEDIA_TYPE = "application/zip"
_PART_BYTES = 2**18
_FILE: dict[str, Any] = {"schema": BINARY}


@router.get(
    "/categories/{category}/export",
    response_class=StreamingResponse,
    responses={200: {"description": "The file.", "content": {_MEDIA_TYPE: _FILE}}},
)
async def export(request: Request, caller: Engineer, category: CategoryName) -> StreamingResponse:
    """Give the active bank as a file, which `import` makes the same bank of, bit for bit.

    The pictures of its references are in it as thumbnails.
    """
    service = service_of(request)
    file, size = await service.studies.run(lambda _: _written(service, category))
    name = quote(f"{category}.patchbank", safe="")
    return StreamingResponse(
        _parts(file),
        media_type=_MEDIA_TYPE,
        headers={
            "content-length": str(size),
            "content-disposition": f"attachment; filename*=utf-8''{name}",
        },
    )


def _written(service: Service, category: str) -> tuple[BinaryIO, int]:
    """Return a bank's file, open and without a name, and its size."""
    with _folder(service) as folder:
        path = folder / "bank"
        report = export_bank(service.workspace, category, path)
        return path.open("rb"), report.file_bytes


def _parts(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while part := file.read(_PART_BYTES):
            yield part


@router.post(
    "/categories/{category}/import",
    response_model=Imported,
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/octet-stream": _FILE}}
    },
)
async def import_bank(
    request: Request,
    caller: Admin,
    category: CategoryName,
    replace: Annotated[
        bool,
        Query(description="Whether a category that has a bank gets this one as its next version."),
    ] = False,
) -> JSONResponse:
    """Make the bank of a file that was exported the bank of a category; the body is the file."""
    service = service_of(request)
    with contextlib.ExitStack() as stack:
        folder = await run_in_threadpool(stack.enter_context, _folder(service))
        path = folder / "bank"
        with path.open("xb") as file:
            async for part in request.stream():
                file.write(part)

        def work() -> TransferReport:
            return import_bank_file(
                service.workspace, path, category=category, replace_bank=replace
            )

        try:
            report = await service.teaching.change(work)
        except PatchbankError as error:
            raise type(error)(str(error).replace(str(path), "the file")) from error
    document = report.to_json()
    del document["file"], document["image_files"]
    return JSONResponse(document)


@contextlib.contextmanager
def _folder(service: Service) -> Iterator[Path]:
    folder = service.jobs.new_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
