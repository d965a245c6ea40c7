"""What takes minutes (fits, calibrations, evaluations, studies, imports), and how far it is."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from patchbank.datasets.catalogue import find_dataset
from patchbank.datasets.study import study_of_files
from patchbank.errors import DatabaseError, ParameterError
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.sources import checked_names
from patchbank.server.access import Admin, Engineer, Operator, while_allowed
from patchbank.server.bodies import FIELD, images_form, request_body
from patchbank.server.feed import LONGEST_SECONDS
from patchbank.server.folders import allowed_path
from patchbank.server.jobs import JobRequest
from patchbank.server.models import MOST_NUMBER
from patchbank.server.models.jobs import (
    AnomalibFile,
    DataSetFolder,
    FitFolder,
    Job,
    JobPage,
)
from patchbank.server.parameters import DEFAULT_LIMIT, Before, CategoryName, Limit
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import Service, service_of
from patchbank.server.uploads import received
from patchbank.store.categories import checked_category_name
from patchbank.store.jobs import ENDED, JobKind

router = APIRouter(prefix="/v1", tags=["jobs"], responses=PROBLEMS)

#: Of one fit.
MOST_IMAGES = 20_000
_BODY = request_body(
    images_form(MOST_IMAGES)
    | {
        "application/json": {
            "schema": FitFolder.model_json_schema(),
            "example": {"folder": "/srv/images/leather"},
        }
    },
    "Images of good parts, or a folder of the service's machine that has them.",
)
_STUDY = request_body(
    images_form(MOST_IMAGES)
    | {
        "application/json": {
            "schema": FitFolder.model_json_schema(),
            "example": {"folder": "/srv/images/study"},
        }
    },
    "Images named like `good/PART/1.png` and `defect/PART/1.png`, or a folder of the service's "
    "machine that has them.",
)
JobNumber = Annotated[
    int, PathParameter(alias="job_id", ge=1, le=MOST_NUMBER, description="Number of the job.")
]


FalseAlarmRate = Annotated[
    float | None, Query(gt=0, lt=1, description="Share of good images that may fail.")
]
ReviewRate = Annotated[
    float | None,
    Query(ge=0, lt=1, description="Share of good images that may go to review besides."),
]


def _settings(
    false_alarm_rate: FalseAlarmRate = None,
    review_rate: ReviewRate = None,
    image_size: Annotated[
        int | None, Query(ge=1, le=4096, description="Side of the network's input, in pixels.")
    ] = None,
    backbone: Annotated[
        str | None, Query(description="The network; `patchbank backbone list` has them.")
    ] = None,
) -> dict[str, Any]:
    given: dict[str, Any] = {
        "false_alarm_rate": false_alarm_rate,
        "review_rate": review_rate,
        "image_size": image_size,
        "backbone": backbone,
    }
    # What is wrong is said now, rather than by a job that fails.
    make_fit_settings(**given)
    return given


Settings = Annotated[dict[str, Any], Depends(_settings)]
GroupBy = Annotated[
    str | None, Query(description="The rule for images that depend on one another.")
]


@router.post("/categories/{category}/fit", response_model=Job, status_code=202, openapi_extra=_BODY)
async def fit(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    settings: Settings,
    group_by: GroupBy = None,
    screen: Annotated[
        bool, Query(description="Leave out the images that stand apart from the others.")
    ] = False,
) -> JSONResponse:
    """Learn what good parts look like; the answer is a job.

    Until it is done, the category's earlier bank answers, if there is one.
    """
    category = checked_category_name(category)
    return await _of_images(request, JobRequest("fit", category, settings, group_by, screen))


@router.post(
    "/categories/{category}/calibrate", response_model=Job, status_code=202, openapi_extra=_BODY
)
async def calibrate(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    false_alarm_rate: FalseAlarmRate = None,
    review_rate: ReviewRate = None,
    group_by: GroupBy = None,
) -> JSONResponse:
    """Set a bank's limits from good images that it was not made of; the answer is a job.

    A bank imported from Anomalib needs it before it can judge.
    """
    rates = {"false_alarm_rate": false_alarm_rate, "review_rate": review_rate}
    await run_in_threadpool(service_of(request).workspace.database.categories.check, category)
    return await _of_images(request, JobRequest("calibrate", category, rates, group_by))


@router.post(
    "/categories/{category}/check", response_model=Job, status_code=202, openapi_extra=_STUDY
)
async def check(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    part_from: Annotated[
        str | None,
        Query(
            max_length=200,
            description="Tells the part from the name of an image, by a regular expression; by "
            "default, each part has a folder.",
        ),
    ] = None,
) -> JSONResponse:
    """Judge parts of known answer, each imaged several times, by the active bank; a job.

    Its result says how the verdicts agree with the answers and with each other. Nothing is
    recorded, and nothing of the images is kept.
    """
    await run_in_threadpool(service_of(request).workspace.database.banks.active_state, category)
    return await _of_images(request, JobRequest("check", category, {}, part_from=part_from))


async def _of_images(request: Request, asked: JobRequest) -> JSONResponse:
    """Begin a job with the images that a request sends, or with the folder that it names."""
    service = service_of(request)
    service.jobs.check_room()
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        job_id = await _with_images(service, request, asked)
    else:
        folder = await _folder_of(service, request)
        job_id = await run_in_threadpool(service.jobs.add, asked._replace(folder=folder))
    return await run_in_threadpool(_accepted, service, job_id)


def _accepted(service: Service, job_id: int) -> JSONResponse:
    """Answer that a job was taken on, with the job as it is."""
    return JSONResponse(service.workspace.database.jobs.get(job_id).to_json(), 202)


@router.post("/categories/{category}/evaluate", response_model=Job, status_code=202)
def evaluate(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    wanted: DataSetFolder,
    settings: Settings,
    group_by: GroupBy = None,
) -> JSONResponse:
    """Learn from a data set's good images and judge its test images; the answer is a job.

    Nothing is stored: no bank is made or replaced. The category is one of the data set.
    """
    service = service_of(request)
    category = checked_category_name(category)
    find_dataset(wanted.dataset)
    folder = allowed_path(service, wanted.folder)
    asked = JobRequest(
        "evaluate", category, settings, group_by, folder=folder, dataset=wanted.dataset
    )
    return _accepted(service, service.jobs.add(asked))


@router.post("/categories/{category}/import-anomalib", response_model=Job, status_code=202)
def import_anomalib(
    request: Request, caller: Admin, category: CategoryName, wanted: AnomalibFile
) -> JSONResponse:
    """Import a PatchCore bank that Anomalib trained; the answer is a job.

    Nothing in the file is run. The bank judges once it is calibrated.
    """
    service = service_of(request)
    category = checked_category_name(category)
    path = allowed_path(service, wanted.file, "file")
    options = wanted.model_dump(exclude={"file"})
    asked = JobRequest("import-anomalib", category, options, folder=path)
    return _accepted(service, service.jobs.add(asked))


async def _with_images(service: Service, request: Request, asked: JobRequest) -> int:
    folder = await run_in_threadpool(service.jobs.new_folder)
    try:
        upload = await received(request, folder, FIELD, MOST_IMAGES)
        checked_names(upload.paths, upload.names)
        if asked.kind == "check":
            # Without a pattern, which may take as long as it likes: the job can be cancelled.
            study_of_files(upload.paths, upload.names)
        asked = asked._replace(uploaded=folder, paths=upload.paths, names=upload.names)
        return await run_in_threadpool(service.jobs.add, asked)
    except BaseException:  # a cancelled request too: `CancelledError` is no `Exception`
        shutil.rmtree(folder, ignore_errors=True)
        raise


async def _folder_of(service: Service, request: Request) -> Path:
    try:
        asked = FitFolder.model_validate_json(await request.body())
    except ValidationError as error:
        raise ParameterError(
            "send images as a form, or a folder as JSON, such as "
            '{"folder": "/srv/images/leather"}: ' + error.errors()[0]["msg"].lower()
        ) from error
    return await run_in_threadpool(allowed_path, service, asked.folder)


@router.get("/jobs", response_model=JobPage)
def jobs(
    request: Request,
    caller: Operator,
    category: Annotated[str | None, Query(description="Only of this category.")] = None,
    kind: Annotated[JobKind | None, Query(description="Only of this kind.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    before: Before = None,
) -> JSONResponse:
    """List jobs, newest first. They are kept for 30 days."""
    found = service_of(request).workspace.database.jobs.page(category, limit + 1, before, kind)
    items = found[:limit]
    after = items[-1].job_id if len(found) > limit else None
    return JSONResponse({"items": [item.to_json() for item in items], "next": after})


@router.get("/jobs/{job_id}", response_model=Job)
def job(request: Request, caller: Operator, job_id: JobNumber) -> JSONResponse:
    """Say how far a job is."""
    return JSONResponse(service_of(request).workspace.database.jobs.get(job_id).to_json())


@router.post("/jobs/{job_id}/cancel", response_model=Job, status_code=202)
def cancel(request: Request, caller: Engineer, job_id: JobNumber) -> JSONResponse:
    """Cancel a job; it ends within seconds, and nothing of it is kept."""
    service = service_of(request)
    service.workspace.database.jobs.cancel(job_id)
    return _accepted(service, job_id)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"description": "The stream.", "content": {"text/event-stream": {}}}},
)
async def job_events(request: Request, caller: Operator, job_id: JobNumber) -> StreamingResponse:
    """Follow a job: an event `job` with it as JSON whenever it changed, until it has ended.

    An event `beat` comes when nothing else does.
    """
    service = service_of(request)
    get = partial(service.workspace.database.jobs.get, job_id)
    # What is wrong is said before the stream begins.
    found = await run_in_threadpool(get)

    async def stream() -> AsyncGenerator[str]:
        nonlocal found
        yield "retry: 1000\n\n"
        sent = None
        end = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < end:
            document = found.to_json()
            if document != sent:
                sent = document
                yield f"event: job\ndata: {json.dumps(document)}\n\n"
            else:
                yield "event: beat\ndata: {}\n\n"
            if found.state in ENDED or await service.feed.closed_within(1.0):
                return
            try:
                found = await run_in_threadpool(get)
            except DatabaseError:
                return

    return StreamingResponse(while_allowed(request, stream()), media_type="text/event-stream")
