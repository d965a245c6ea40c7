"""Reviews: what people answer to inspections that did not pass."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from patchbank.inspection.keeping.moments import moment
from patchbank.inspection.keeping.records import show_inspection
from patchbank.inspection.living.add import AddReport
from patchbank.inspection.living.review import queue_length, review_queue
from patchbank.inspection.living.review_report import ReviewReport, answer_to_json, queue_to_json
from patchbank.inspection.settings import DEFAULT_EFFECT
from patchbank.inspection.workspace import Workspace
from patchbank.memory.threads import on_cores
from patchbank.server.access import Engineer, Operator
from patchbank.server.addresses import with_urls
from patchbank.server.answers import answer_of
from patchbank.server.disconnecting import until_gone
from patchbank.server.models.reviewing import (
    AnswerDone,
    AnswerEffect,
    AnswerList,
    Labels,
    Look,
    NewAnswer,
    Queue,
    UndoneWanted,
)
from patchbank.server.parameters import (
    DEFAULT_LIMIT,
    CategoryName,
    Effect,
    InspectionNumber,
    Limit,
    Since,
)
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of

router = APIRouter(prefix="/v1", tags=["review"], responses=PROBLEMS)


@router.get("/categories/{category}/review", response_model=Queue)
def queue(
    request: Request,
    caller: Operator,
    category: CategoryName,
    since: Since = None,
    limit: Limit = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """List the inspections that did not pass and have no answer yet, oldest first."""
    workspace = service_of(request).workspace
    begin = None if since is None else moment(since, "since", now=datetime.now().astimezone())
    found = review_queue(workspace, category, since=begin, limit=limit)
    return {
        "items": [with_urls(category, queue_to_json(category, waiting)) for waiting in found],
        "waiting": queue_length(workspace, category, since=begin),
    }


@router.get("/categories/{category}/labels", response_model=Labels)
def labels(request: Request, caller: Operator, category: CategoryName) -> dict[str, Any]:
    """List the labels of a category's defects, the most frequent first."""
    return {"items": service_of(request).workspace.database.reviews.labels(category)}


@router.get("/categories/{category}/answers", response_model=AnswerList)
def answers(
    request: Request, caller: Operator, category: CategoryName, limit: Limit = DEFAULT_LIMIT
) -> dict[str, Any]:
    """List the answers that count, the last first."""
    found = service_of(request).workspace.database.reviews.last(category, limit=limit)
    return {"items": [answer_to_json(review) for review in found]}


@router.get("/categories/{category}/inspections/{inspection_id}/review", response_model=Look)
async def look(
    request: Request, caller: Operator, category: CategoryName, number: InspectionNumber
) -> dict[str, Any]:
    """Show an inspection with what the present bank says of its image.

    Nothing is recorded.
    """
    service = service_of(request)

    def work(alone: bool) -> dict[str, Any]:
        with on_cores(alone):
            waiting = service.workspace.database.reviews.inspection(category, number)
            reviewer = service.teaching.reviewer(category)
            judged = reviewer.look(waiting)
            return {
                "inspection": with_urls(
                    category, show_inspection(service.workspace, category, number)
                ),
                "now": None if judged is None else answer_of(judged),
                "doubt": None if judged is None else reviewer.doubt(judged),
            }

    return await service.pool.run(work)


@router.get(
    "/categories/{category}/inspections/{inspection_id}/review/effect",
    response_model=AnswerEffect,
)
async def effect(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    number: InspectionNumber,
    effect: Effect = DEFAULT_EFFECT,
) -> dict[str, Any]:
    """Show what the answer `good` would do to the bank, and to recent verdicts.

    Those whose images were kept are judged by the bank as it is and as it would be, which takes a
    second or more. It ends when whoever asked goes away.
    """
    teaching = service_of(request).teaching
    async with until_gone(request) as progress:

        def work() -> AddReport | None:
            waiting = service_of(request).workspace.database.reviews.inspection(category, number)
            return teaching.reviewer(category).foresee(waiting, effect, progress)

        found = await teaching.change(work)
    return {
        "in_words": [] if found is None else found.foreseen(),
        "addition": None if found is None else found.to_json(),
    }


@router.post("/categories/{category}/inspections/{inspection_id}/review", response_model=AnswerDone)
async def answer(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    number: InspectionNumber,
    given: NewAnswer,
) -> dict[str, Any]:
    """Answer to an inspection: good, defect or skip.

    An image that is `good` comes into the bank in the background; the answer is recorded at once.
    Where there is a doubt that it is good, or there is an answer already, the status is 409.
    """
    service = service_of(request)
    report = await service.teaching.answer(category, number, **given.model_dump())
    return await run_in_threadpool(_done, service.workspace, report)


@router.post("/categories/{category}/review/undo", response_model=AnswerDone)
async def undo_answer(
    request: Request, caller: Engineer, category: CategoryName, wanted: UndoneWanted
) -> dict[str, Any]:
    """Undo an answer, and what followed from it; the inspection waits for review again.

    Without a number, it is the last answer that was given with the caller's key.
    """
    service = service_of(request)
    number = wanted.inspection_id

    def work() -> dict[str, Any]:
        reviewer = service.teaching.reviewer(category)
        done = reviewer.undone(number, actor=caller.name if number is None else None)
        return _done(service.workspace, done)

    return await service.teaching.change(work)


def _done(workspace: Workspace, report: ReviewReport) -> dict[str, Any]:
    return {**report.to_json(), "waiting": queue_length(workspace, report.category)}
