"""Whether the service lives, and whether it can judge."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from patchbank.errors import NotCalibratedError, PatchbankError
from patchbank.server.problems import title_of
from patchbank.server.service import service_of

router = APIRouter(prefix="/health", tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Whether inspections can be made and recorded."""

    status: Literal["ready", "not ready"]
    database: str = Field(description="`reachable`, or why not.")
    banks: dict[str, int] = Field(
        description="The banks in memory, with the version that judged last."
    )
    cannot_judge: dict[str, str] = Field(
        description="Categories that cannot be judged at the moment, each with the kind of "
        "problem; the service's log has the whole reason."
    )
    warming: bool = Field(description="Whether banks are still being read into memory.")
    taken: int = Field(description="Images that are worked on or waiting.")
    room: int = Field(description="How many there may be at most.")


@router.get("/live")
async def live() -> Alive:
    """Say that the process answers; asks nothing of the database."""
    return Alive()


@router.get(
    "/ready", responses={503: {"model": Readiness, "description": "Not ready, and why not."}}
)
def ready(request: Request, response: Response) -> Readiness:
    """Say whether the database answers and the banks are in memory and can judge.

    Banks that cannot judge are named. The service is ready as long as another one can.
    """
    service = service_of(request)
    service.warming.begin()
    warming = not service.warming.done
    try:
        service.workspace.database.access.any_key()
        database = "reachable"
    except PatchbankError as error:
        database = str(error)
    unusable = service.inspectors.unusable
    banks = {
        name: inspector.bank_version
        for name, inspector in service.inspectors.ready.items()
        if name not in unusable
    }
    # One that waits for its calibration is a step of an import, as a category without a bank is.
    broken = [error for error in unusable.values() if not isinstance(error, NotCalibratedError)]
    is_ready = database == "reachable" and not warming and bool(banks or not broken)
    response.status_code = 200 if is_ready else 503
    return Readiness(
        status="ready" if is_ready else "not ready",
        database=database,
        banks=banks,
        cannot_judge={name: title_of(error) for name, error in unusable.items()},
        warming=warming,
        taken=service.pool.taken,
        room=service.pool.room,
    )
