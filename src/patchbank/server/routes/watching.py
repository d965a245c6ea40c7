"""Drift, the event log, and keys."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from patchbank.inspection.keeping.access import (
    create_key,
    key_uses,
    list_keys,
    revoke_key_number,
)
from patchbank.inspection.keeping.audit import list_events, list_logs, verify_log
from patchbank.inspection.living.drift import find_drift
from patchbank.inspection.settings import DriftBase
from patchbank.memory.drift import DEFAULT_IMAGES_PER_FALSE_ALARM
from patchbank.server.access import Admin, Engineer, Operator
from patchbank.server.disconnecting import until_gone
from patchbank.server.models import MOST_NUMBER
from patchbank.server.models.watching import (
    Drift,
    EventLogList,
    EventPage,
    Key,
    KeyList,
    KeyMade,
    KeyUses,
    KeyWanted,
    Verification,
)
from patchbank.server.parameters import DEFAULT_LIMIT, Before, CategoryName, Limit
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of

router = APIRouter(prefix="/v1", responses=PROBLEMS)

Expected = Annotated[
    str | None,
    Query(max_length=100, description="A `head` of before, which must still be in a log."),
]


@router.get("/categories/{category}/drift", response_model=Drift, tags=["drift"])
async def drift(
    request: Request,
    caller: Operator,
    category: CategoryName,
    days: Annotated[
        float | None,
        Query(gt=0, le=36_500, description="Changes of so many last days only; else all."),
    ] = None,
    station: Annotated[str | None, Query(description="Only of this station.")] = None,
    base: Annotated[
        DriftBase,
        Query(
            description="`inspections` compares with the first inspections of the period alone: "
            "after a change that is meant to stay."
        ),
    ] = "references",
    images_per_false_alarm: Annotated[
        float, Query(ge=10, le=1e9, description="At most one false alarm in so many inspections.")
    ] = DEFAULT_IMAGES_PER_FALSE_ALARM,
    suggested: Annotated[
        bool,
        Query(
            description="Whether to look for images that would best be added, which takes up to a "
            "minute. Only images that the database kept are looked at: of inspections that did "
            "not pass, unless PATCHBANK_KEEP_IMAGES says otherwise. Those that fail are left out."
        ),
    ] = False,
) -> dict[str, Any]:
    """Say whether the inspected images have changed since the fit, and how."""
    service = service_of(request)
    async with until_gone(request) as progress:
        found = await service.studies.run(
            lambda _: find_drift(
                service.workspace,
                category,
                days=days,
                station=station,
                base=base,
                images_per_false_alarm=images_per_false_alarm,
                suggested=suggested,
                progress=progress,
            )
        )
    return found.to_json()


@router.get("/categories/{category}/audit", response_model=EventPage, tags=["audit"])
def events(
    request: Request,
    caller: Engineer,
    category: CategoryName,
    limit: Limit = DEFAULT_LIMIT,
    before: Before = None,
) -> dict[str, Any]:
    """List who changed what in a category, the newest first."""
    workspace = service_of(request).workspace
    return list_events(workspace, category, limit=limit, before=before).to_json()


@router.get("/categories/{category}/audit/verify", response_model=Verification, tags=["audit"])
async def verify(
    request: Request, caller: Engineer, category: CategoryName, expect: Expected = None
) -> dict[str, Any]:
    """Compute the hashes of a category's event log again, to see whether it was changed."""
    service = service_of(request)
    found = await service.studies.run(
        lambda _: verify_log(service.workspace, category, expect=expect)
    )
    return found.to_json()


@router.get("/audit/verify", response_model=Verification, tags=["audit"])
async def verify_all(request: Request, caller: Admin, expect: Expected = None) -> dict[str, Any]:
    """Compute the hashes of all event logs again, of removed categories too."""
    service = service_of(request)
    found = await service.studies.run(lambda _: verify_log(service.workspace, expect=expect))
    return found.to_json()


@router.get("/audit", response_model=EventLogList, tags=["audit"])
def logs(request: Request, caller: Admin) -> dict[str, Any]:
    """List the event logs, of removed categories too."""
    return {
        "items": [
            {"category": log.name, "category_id": log.category_id, "removed": log.removed}
            for log in list_logs(service_of(request).workspace)
        ]
    }


@router.get("/audit/{category_id}", response_model=EventPage, tags=["audit"])
def events_of_log(
    request: Request,
    caller: Admin,
    category_id: Annotated[int, Path(ge=1, le=MOST_NUMBER, description="Number of the category.")],
    limit: Limit = DEFAULT_LIMIT,
    before: Before = None,
) -> dict[str, Any]:
    """List who changed what in a category, the newest first, also in one that was removed."""
    workspace = service_of(request).workspace
    return list_events(workspace, category_id, limit=limit, before=before).to_json()


@router.get("/keys", response_model=KeyList, tags=["keys"])
def keys(request: Request, caller: Admin) -> dict[str, Any]:
    """List all keys, valid ones first, by name; never their secrets."""
    return {"items": [key.to_json() for key in list_keys(service_of(request).workspace)]}


@router.post("/keys", response_model=KeyMade, tags=["keys"])
def make_key(request: Request, caller: Admin, wanted: KeyWanted) -> dict[str, Any]:
    """Make a key. The answer has its secret, which is not stored and never shown again.

    From the first key on, the service asks everybody for one: it must have the role `admin`.
    """
    return create_key(service_of(request).workspace, wanted.name, wanted.role).to_json()


@router.post("/keys/{key_id}/revoke", response_model=Key, tags=["keys"])
def revoke(
    request: Request,
    caller: Admin,
    key_id: Annotated[int, Path(ge=1, le=MOST_NUMBER, description="Number of the key.")],
) -> dict[str, Any]:
    """Revoke a key: all services refuse it after a second at the latest."""
    return revoke_key_number(service_of(request).workspace, key_id).to_json()


@router.get("/keys/uses", response_model=KeyUses, tags=["keys"])
def uses(
    request: Request,
    caller: Admin,
    name: Annotated[
        str | None, Query(max_length=200, description="Of one key; by default of all.")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """Show how keys were used, hour by hour, newest first, and what was refused."""
    found = key_uses(service_of(request).workspace, name, limit=limit)
    return {"items": [use.to_json() for use in found]}
