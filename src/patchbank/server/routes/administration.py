"""The installation: what is healthy, and what the database takes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from patchbank.inspection.keeping.doctor import diagnose
from patchbank.inspection.keeping.storage import storage_report
from patchbank.server.access import Admin
from patchbank.server.models.administration import Diagnosis, Storage
from patchbank.server.problems import PROBLEMS
from patchbank.server.service import service_of

router = APIRouter(prefix="/v1", tags=["administration"], responses=PROBLEMS)


@router.get("/doctor", response_model=Diagnosis)
def doctor(request: Request, caller: Admin) -> dict[str, Any]:
    """Check the installation, as `patchbank doctor` does; this takes some seconds."""
    findings = diagnose(service_of(request).workspace)
    return {
        "healthy": all(finding.healthy for finding in findings),
        "items": [finding.to_json() for finding in findings],
    }


@router.get("/storage", response_model=Storage)
def storage(request: Request, caller: Admin) -> dict[str, Any]:
    """Say what the database takes, and how long it keeps what."""
    return storage_report(service_of(request).workspace)
