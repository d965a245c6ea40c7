"""Who is asking, and whether they may."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from patchbank.actors import act_as, current_actor
from patchbank.errors import AccessError, DatabaseError, ForbiddenError
from patchbank.inspection.keeping.access import Caller, check_role
from patchbank.server.service import Service, service_of
from patchbank.store.access import NO_KEY, Role

_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/")
SESSION_COOKIE = "patchbank_session"
# A stream goes on for so long after its key was revoked, and until it has something to say.
_CHECK_SECONDS = 2.0

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="A key that `patchbank keys create` printed. Without any keys, the service answers "
    "this machine only, and asks for none.",
)
_cookie = APIKeyCookie(
    name=SESSION_COOKIE, auto_error=False, scheme_name="session", description="Of the pages."
)


def needs(role: Role) -> Any:
    """Return the dependency of a route that needs a role; it gives the `Caller`."""

    async def caller(
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
        session: Annotated[str | None, Security(_cookie)],
    ) -> Caller:
        service = service_of(request)
        found = await _found(service, request, bearer, session)
        try:
            check_role(found, role)
        except ForbiddenError:
            service.keyring.count(found, address_of(request), action_of(request), "role")
            raise
        service.keyring.count(found, address_of(request), action_of(request), "allowed")
        if found.key_id != NO_KEY:
            # Changes are recorded under the key's name.
            act_as(found.name)
        return found

    check: Callable[..., Awaitable[Caller]] = caller
    return Depends(check)


Operator = Annotated[Caller, needs("operator")]
Engineer = Annotated[Caller, needs("engineer")]
Admin = Annotated[Caller, needs("admin")]


async def while_allowed(request: Request, stream: AsyncGenerator[str]) -> AsyncIterator[str]:
    """Yield what a stream says until the key or the session of a request is no longer valid.

    A database that is away ends it too.
    """
    bearer, session = await _bearer(request), await _cookie(request)
    checked = time.monotonic()
    async with aclosing(stream):
        async for text in stream:
            if time.monotonic() - checked >= _CHECK_SECONDS:
                try:
                    await _found(service_of(request), request, bearer, session)
                except (AccessError, DatabaseError):
                    return
                checked = time.monotonic()
            yield text


def address_of(request: Request) -> str:
    """Return where a request came from."""
    return request.client.host if request.client else "unknown"


def action_of(request: Request) -> str:
    """Return the method and the route of a request, without the names in it."""
    route = request.scope.get("route")
    return f"{request.method} {getattr(route, 'path', 'unknown')}"


def _signer_of(request: Request) -> str | None:
    """Return the access key id with which an AWS client signed a request; it is given our key."""
    signed = _SIGNED.match(request.headers.get("authorization", ""))
    return signed and signed[1]


async def _found(
    service: Service,
    request: Request,
    bearer: HTTPAuthorizationCredentials | None,
    session: str | None,
) -> Caller:
    keyring = service.keyring
    signer = _signer_of(request) if bearer is None else None
    secret = signer if bearer is None else bearer.credentials
    by_session = secret is None and session is not None
    if by_session:
        secret = session

    def find() -> Caller:
        # AWS's clients sign every request, also where no key is needed.
        if secret is not None and (signer is None or keyring.wanted):
            return keyring.caller(secret, session=by_session)
        if keyring.wanted:
            raise AccessError(
                "a key is needed: send the header `Authorization: Bearer KEY`, or log in"
            )
        return Caller(NO_KEY, current_actor(), "admin")

    try:
        # A thread only where the database must be asked.
        if keyring.remembers(secret, session=by_session) and (
            signer is None or keyring.remembers(None)
        ):
            return find()
        return await run_in_threadpool(find)
    except AccessError:
        service.keyring.count(None, address_of(request), action_of(request), "no valid key")
        raise
