"""The service's fixtures: for its tests alone, as other environments lack what it needs."""

from __future__ import annotations

from tests.fixtures.service import client, running_service, shared_service

__all__ = ["client", "running_service", "shared_service"]
