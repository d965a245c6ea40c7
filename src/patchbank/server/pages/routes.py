"""The addresses of the pages."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from patchbank.errors import AccessError, ForbiddenError, PatchbankError
from patchbank.inspection.keeping.access import SESSION_SECONDS, Caller
from patchbank.inspection.keeping.inspections import recent_stations
from patchbank.server.access import SESSION_COOKIE, Admin, Engineer, Operator, action_of, address_of
from patchbank.server.pages.rendering import problem_page, render
from patchbank.server.problems import status_of, title_of
from patchbank.server.remedies import detail_of
from patchbank.server.service import service_of


class PageRoute(APIRoute):
    """A page that says what went wrong as a page, or asks for a key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await answer(request)
            except PatchbankError as error:
                if isinstance(error, AccessError) and not isinstance(error, ForbiddenError):
                    asked = request.url.path + (
                        f"?{request.url.query}" if request.url.query else ""
                    )
                    return RedirectResponse(f"/login?{urlencode({'next': asked})}", 303)
                return HTMLResponse(
                    problem_page(title_of(error), detail_of(error)), status_of(error)
                )

        return handle


router = APIRouter(
    route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse
)

# Titles and keys of the pages of a category, in the order of the bar.
_PAGES = (
    ("Line", "line"),
    ("Inspect", "inspect"),
    ("Review", "review"),
    ("Records", "records"),
    ("Bank", "bank"),
)


def page_of(
    request: Request,
    caller: Caller,
    name: str,
    category: str | None = None,
    *,
    here: str | None = None,
    **values: Any,
) -> str:
    """Return a page with the bar above it, which is the first category's for a page of none."""
    categories = service_of(request).workspace.database.categories
    names = categories.names()
    if category is not None:
        categories.check(category)
    elif names:
        category = names[0]
    base = None if category is None else _base(category)
    links = [] if base is None else [(title, f"{base}/{key}", key) for title, key in _PAGES]
    if caller.may("engineer"):
        links.append(("New", "/new", "new"))
    if caller.may("admin"):
        links.append(("Admin", "/admin", "admin"))
    return render(
        name,
        category=category,
        categories=names,
        base=base,
        links=links,
        here=here or name,
        caller=caller,
        **values,
    )


@router.get("/")
def first(
    request: Request, caller: Operator, category: Annotated[str | None, Query()] = None
) -> Response:
    """Go to a category's Line page."""
    names = service_of(request).workspace.database.categories.names()
    if not names:
        return HTMLResponse(page_of(request, caller, "empty"))
    chosen = category if category in names else names[0]
    return RedirectResponse(f"{_base(chosen)}/line", 303)


@router.get("/categories/{category}/line")
def line(
    request: Request,
    caller: Operator,
    category: str,
    station: Annotated[str | None, Query()] = None,
) -> str:
    """Show the last verdict, and those before it."""
    stations = recent_stations(service_of(request).workspace, category)
    return page_of(
        request,
        caller,
        "line",
        category,
        station=station or None,
        stations=stations,
    )


@router.get("/categories/{category}/inspect")
def inspect(request: Request, caller: Operator, category: str) -> str:
    """Judge an image that a person has."""
    return page_of(request, caller, "inspect", category)


@router.get("/categories/{category}/review")
def review(request: Request, caller: Operator, category: str) -> str:
    """Ask about what did not pass."""
    return page_of(request, caller, "review", category)


@router.get("/categories/{category}/records")
def records(
    request: Request,
    caller: Operator,
    category: str,
    verdict: Annotated[list[str] | None, Query()] = None,
    reviewed: str = "",
    since: str = "",
    until: str = "",
    part: str = "",
    station: str = "",
) -> str:
    """Show recorded inspections as a table."""
    stations = recent_stations(service_of(request).workspace, category)
    chosen = {
        "verdict": verdict or [],
        "reviewed": reviewed,
        "since": since,
        "until": until,
        "part": part,
        "station": station,
    }
    return page_of(
        request,
        caller,
        "records",
        category,
        chosen=chosen,
        stations=stations,
    )


@router.get("/categories/{category}/records/{number}")
def record(request: Request, caller: Operator, category: str, number: int) -> str:
    """Show all that was known of an inspection when it was judged."""
    return page_of(
        request,
        caller,
        "record",
        category,
        here="records",
        number=number,
    )


@router.get("/categories/{category}/bank")
def bank(request: Request, caller: Operator, category: str) -> str:
    """Show a category's bank: its limits, references and history."""
    return page_of(request, caller, "bank", category, folders=_folders(request))


@router.get("/new")
def new(
    request: Request,
    caller: Engineer,
    category: str = "",
    job: Annotated[int | None, Query()] = None,
) -> str:
    """Learn a category from images of good parts; show how far a job that does so is."""
    database = service_of(request).workspace.database
    learned = None if job is None else database.jobs.get(job).category
    return page_of(
        request,
        caller,
        "new",
        learned if learned in database.categories.names() else None,
        here="new",
        wanted=category,
        folders=_folders(request),
    )


@router.get("/admin")
def admin(request: Request, caller: Admin) -> str:
    """Show keys, sinks, storage, health and the log of changes."""
    return page_of(request, caller, "admin", folders=_folders(request))


@router.get("/login")
def ask_for_key(asked: Annotated[str, Query(alias="next")] = "/") -> str:
    """Ask for a key."""
    return render("login", problem=None, next=_own(asked))


@router.post("/login")
async def log_in(
    request: Request,
    key: Annotated[str, Form()],
    asked: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    """Begin a session with a key."""
    service = service_of(request)
    try:
        caller = await run_in_threadpool(service.keyring.caller, key.strip())
    except AccessError as error:
        service.keyring.count(None, address_of(request), action_of(request), "no valid key")
        return HTMLResponse(render("login", problem=str(error), next=_own(asked)), 401)
    service.keyring.count(caller, address_of(request), action_of(request), "allowed")
    token = await run_in_threadpool(service.keyring.begin_session, caller)
    answer = RedirectResponse(_own(asked), 303)
    answer.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """End the session."""
    token = request.cookies.get(SESSION_COOKIE)
    if token is not None:
        await run_in_threadpool(service_of(request).keyring.end_session, token)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(SESSION_COOKIE)
    return answer


def _base(category: str) -> str:
    return f"/categories/{quote(category, safe='')}"


def _folders(request: Request) -> list[str]:
    """Return the folders of images for jobs, and of CSV files."""
    return [str(folder) for folder in service_of(request).options.folders]


def _own(address: str) -> str:
    """Return an address of this service: others could be anybody's."""
    is_own = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if is_own and address.isprintable() else "/"
