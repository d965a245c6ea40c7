"""Metrics for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from patchbank.server.access import Operator
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of

router = APIRouter(tags=["health"], responses=PROBLEMS)


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Metrics in Prometheus's text format.", "content": {"text/plain": {}}}
    },
)
def metrics(request: Request, caller: Operator) -> Response:
    """Say what this process counts: inspections, scores, times, queue, banks, drift, errors."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)
