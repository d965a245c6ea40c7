"""The application: its routes, and what surrounds them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from patchbank.inspection.workspace import Workspace
from patchbank.server import health, problems
from patchbank.server.guard import Guard
from patchbank.server.pages import routes as pages
from patchbank.server.pages.rendering import STATIC, problem_page, static_version
from patchbank.server.parameters import refuse_unknown
from patchbank.server.problems import Problem
from patchbank.server.routes import (
    administration,
    categories,
    evidence,
    inspecting,
    jobs,
    living,
    lookout,
    metrics,
    pictures,
    records,
    reviewing,
    sinks,
    streaming,
    transfer,
    watching,
)
from patchbank.server.service import Service, ServiceOptions

_DESCRIPTION = """
Visual inspection that learns from images of good parts only.

Every answer that is not a success is a problem document (RFC 9457), whose `detail` names the input,
the problem and the remedy.
"""


def create_app(workspace: Workspace, options: ServiceOptions | None = None) -> FastAPI:
    """Return the application of a workspace, which stays open until the application ends."""
    options = options or ServiceOptions()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = await run_in_threadpool(Service, workspace, options)
        app.state.service = service
        service.begin()
        yield
        service.feed.close()
        await run_in_threadpool(service.close)

    app = _Application(
        title="patchbank",
        version=version("patchbank"),
        description=_DESCRIPTION.strip(),
        lifespan=lifespan,
        # Their scripts would come from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    problems.install(app, problem_page)
    app.include_router(health.router)
    app.include_router(pages.router)
    app.mount(f"/static/{static_version()}", _StaticFiles(directory=STATIC))
    for module in (
        administration,
        categories,
        evidence,
        inspecting,
        jobs,
        living,
        lookout,
        metrics,
        pictures,
        records,
        reviewing,
        sinks,
        streaming,
        transfer,
        watching,
    ):
        app.include_router(module.router, dependencies=[Depends(refuse_unknown)])
    settings = workspace.settings
    app.add_middleware(
        Guard,
        hosts=options.hosts,
        most_bytes=int(settings.serve_megabytes * 1e6),
        most_upload_bytes=int(settings.serve_upload_megabytes * 1e6),
        seconds=settings.serve_seconds,
        on_answer=lambda scope, status: app.state.service.metrics.answered(scope, status),
    )
    return app


class _StaticFiles(StaticFiles):
    """Files that browsers keep: their address changes when they do."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """Return a file."""
        answer = super().file_response(*args, **options)
        answer.headers["cache-control"] = "public, max-age=31536000, immutable"
        return answer


class _Application(FastAPI):
    """Describes problems instead of FastAPI's own errors."""

    def openapi(self) -> dict[str, Any]:
        """Return the description of all routes, with the schema of problems."""
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema()
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            self.openapi_schema = document
        return self.openapi_schema
