"""Sinks: where inspections are sent to."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from patchbank.errors import SinkError
from patchbank.line.sinks.configured import (
    SinkOptions,
    add_sink,
    kind_of,
    list_sinks,
    remove_sink,
    sink_name,
    state_to_json,
    try_sink,
)
from patchbank.server.access import Admin
from patchbank.server.folders import allowed_path
from patchbank.server.models import MOST_NUMBER
from patchbank.server.models.sinks import SinkAdded, SinkList, SinkRemoved, SinkTried, SinkWanted
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of

router = APIRouter(prefix="/v1/sinks", tags=["sinks"], responses=PROBLEMS)

SinkNumber = Annotated[
    int, Path(alias="sink_id", ge=1, le=MOST_NUMBER, description="Number of the sink.")
]


@router.get("", response_model=SinkList)
def sinks(request: Request, caller: Admin) -> dict[str, Any]:
    """List all sinks by name, how many inspections wait for each, and what keeps them."""
    states = list_sinks(service_of(request).workspace)
    return {"items": [state_to_json(state) for state in states]}


@router.post("", response_model=SinkAdded)
def add(request: Request, caller: Admin, wanted: SinkWanted) -> dict[str, Any]:
    """Have inspections sent to a webhook, an MQTT broker or a CSV file from now on.

    The service itself connects to the target: it reaches what this machine reaches.
    """
    service = service_of(request)
    target = wanted.target
    if kind_of(target) == "csv":
        target = str(allowed_path(service, target, "target"))
    options = SinkOptions(
        wanted.categories, wanted.verdicts, wanted.secret, wanted.user, wanted.topic
    )
    return add_sink(service.workspace, wanted.name, target, options).to_json()


@router.post("/{sink_id}/test", response_model=SinkTried)
def test(request: Request, caller: Admin, number: SinkNumber) -> dict[str, Any]:
    """Send something that is not an inspection, and say whether it arrived; up to 10 seconds."""
    workspace = service_of(request).workspace
    name = sink_name(workspace, number)
    try:
        try_sink(workspace, name)
    except SinkError as error:
        return {"arrived": False, "error": str(error)}
    return {"arrived": True, "error": None}


@router.delete("/{sink_id}", response_model=SinkRemoved)
def remove(request: Request, caller: Admin, number: SinkNumber) -> dict[str, Any]:
    """Send to a sink no more; what waits for it is not sent."""
    workspace = service_of(request).workspace
    name = sink_name(workspace, number)
    return {"removed": name, "not_sent": remove_sink(workspace, name)}
