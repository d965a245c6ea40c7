"""What every request passes: a number, a line in the log, limits, and headers for browsers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from patchbank.errors import ForbiddenError, PatchbankError, TooLargeError, TooSlowError
from patchbank.printable import printable
from patchbank.server.problems import problem_of
from patchbank.server.request_ids import begin_request, request_id

_log = logging.getLogger(__name__)

# What these addresses take is large: images to learn, or a bank.
_UPLOADS = ("/fit", "/calibrate", "/check", "/import")
_READING = ("GET", "HEAD", "OPTIONS")

# Scripts, styles and pictures come from this service alone, and nothing may frame it.
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; font-src 'self'; connect-src 'self'; media-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    # What is judged is nobody else's, a shared cache's least of all.
    "cache-control": "no-store",
}


class Guard:
    """Wraps the application.

    Parameters
    ----------
    hosts
        The names under which it may be asked for, without ports; empty for any.
    most_bytes, most_upload_bytes
        How long the body of a request may be, and that of one that learns or imports.
    seconds
        How long it may take to arrive; of one that learns or imports, each part.
    on_answer
        Called with the scope of each request and the status of its answer; 0 without an answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Sequence[str],
        most_bytes: int,
        most_upload_bytes: int,
        seconds: float,
        on_answer: Callable[[Scope, int], None],
    ) -> None:
        self._app, self._on_answer = app, on_answer
        self._hosts = frozenset(host.lower() for host in hosts)
        self._limits = {
            False: Limit(most_bytes, "PATCHBANK_SERVE_MEGABYTES"),
            True: Limit(most_upload_bytes, "PATCHBANK_SERVE_UPLOAD_MEGABYTES"),
        }
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin_request()
        begin = time.perf_counter()
        status = 0
        # HEAD is answered as GET is, without the body.
        only_head = scope["method"] == "HEAD"
        if only_head:
            scope = {**scope, "method": "GET"}
        headers = Headers(scope=scope)
        uploads = scope["path"].endswith(_UPLOADS)
        limit = self._limits[uploads]
        limited = LimitedBody(receive, limit, self._seconds, each=uploads)

        async def send_on(message: Message) -> None:
            nonlocal status
            is_start = message["type"] == "http.response.start"
            if only_head and not is_start:
                return
            if is_start:
                status = message["status"]
                own = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    own.setdefault(name, value)
                own["x-request-id"] = request_id()
            await send(message)
            if only_head:
                await send({"type": "http.response.body"})

        try:
            self._check_origin(scope, headers)
            limit.check_length(headers)
        except (ForbiddenError, TooLargeError) as error:
            await problem_of(error)(scope, receive, send_on)
        else:
            await self._app(scope, limited, self._unless_failed(limited, scope, send_on))
        finally:
            self._on_answer(scope, status)
            _log.info(
                "%s %s %d in %.1f ms, %s",
                "HEAD" if only_head else scope["method"], printable(scope["path"]), status,
                1e3 * (time.perf_counter() - begin),
                scope["client"][0] if scope.get("client") else "unknown",
            )  # fmt: skip

    def _unless_failed(self, limited: LimitedBody, scope: Scope, send: Send) -> Send:
        """Return what sends an answer, or else that the body was refused."""
        refused = False

        async def send_on(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and limited.failure is not None:
                refused = True
                await problem_of(limited.failure)(scope, limited, send)
            elif not refused:
                await send(message)

        return send_on

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Refuse what a page of another site sends through somebody's browser."""
        host = headers.get("host", "")
        # Without a key, the browser of this machine is trusted: not with a name that leads here.
        if self._hosts and _name_in(host) not in self._hosts:
            raise ForbiddenError(
                f"the service is not called {host!r}; use one of {', '.join(sorted(self._hosts))}"
            )
        if scope["method"] in _READING:
            return
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site in ("cross-site", "same-site") or (
            origin is not None and origin.partition("://")[2].lower() != host.lower()
        ):
            raise ForbiddenError("requests from pages of other sites are refused")


def _name_in(host: str) -> str:
    """Return the name in a header `Host`, without the port; empty if it names no host."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class Limit(NamedTuple):
    """How long a body may be, and the setting that says so."""

    most: int
    setting: str

    def check_length(self, headers: Headers) -> None:
        """Raise `TooLargeError` if a request says that its body is longer."""
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.most:
            raise self.too_large(int(length))

    def too_large(self, length: int) -> TooLargeError:
        """Return the error for a body of so many bytes, or more."""
        return TooLargeError(
            f"the request's body has {length / 1e6:.1f} MB or more; at most {self.most / 1e6:g} MB "
            f"are taken ({self.setting})"
        )


class LimitedBody:
    """Receives a body as long as it is neither too long nor too slow.

    Attributes
    ----------
    failure
        Which of both it was; whoever reads a body may say something else of the error.
    """

    def __init__(self, receive: Receive, limit: Limit, seconds: float, *, each: bool) -> None:
        self._receive, self._limit, self._seconds = receive, limit, seconds
        self._each = each
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._taken, self._whole = 0, False
        self.failure: PatchbankError | None = None

    async def __call__(self) -> Message:
        """Return the next part, or raise the failure."""
        if self._whole:
            # Only the end of the connection is waited for.
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self.failure = TooSlowError(
                f"the request's body did not arrive within {self._seconds:g} s "
                "(PATCHBANK_SERVE_SECONDS)"
            )
            raise self.failure from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if self._each:
            self._deadline = asyncio.get_running_loop().time() + self._seconds
        self._taken += len(message.get("body", b""))
        if self._taken > self._limit.most:
            self.failure = self._limit.too_large(self._taken)
            raise self.failure
        self._whole = not message.get("more_body", False)
        return message
