"""Running the service until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from patchbank.errors import ParameterError
from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from patchbank.server.service import Service, ServiceOptions

# Connections that may wait for the service to accept them; what it does at once is limited later.
_BACKLOG = 128
_MOST_CONNECTIONS = 512
# What was begun is finished when the service is asked to stop; streams end by themselves.
_STOP_SECONDS = 30
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class _Server(uvicorn.Server):
    """Leaves signals to `serve`, so that a stop is a success."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(
    workspace: Workspace,
    *,
    host: str,
    port: int,
    options: ServiceOptions,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM; then finish what was begun.

    Parameters
    ----------
    on_ready
        Called with the URL as soon as it answers.

    Raises
    ------
    ParameterError
        If the address cannot be used, or others could reach it although there are no keys.
    """
    listening = _listen(host, port)
    with contextlib.closing(listening):
        if is_loopback(host):
            # Without keys, pages of other sites must not reach it by a name of theirs.
            names = options.hosts or (
                () if workspace.database.access.any_key() else _LOOPBACK_NAMES
            )
            options = ServiceOptions(names, options.folders)
        elif not workspace.database.access.any_key():
            raise ParameterError(
                f"host {host}: others can reach this address, and there are no keys; make one "
                "first: patchbank keys create NAME --role admin"
            )
        app = create_app(workspace, options)
        config = _config(app)
        # The loop that uvicorn prefers: uvloop, where it is installed, takes half the time.
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(app, config, listening, on_ready))


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_STOP_SECONDS,
        # A reverse proxy on this machine says who is asking.
        proxy_headers=True,
        forwarded_allow_ips="127.0.0.1",
    )


async def _serve(
    app: FastAPI,
    config: uvicorn.Config,
    listening: socket.socket,
    on_ready: Callable[[str], None],
) -> None:
    server = _Server(config)

    def stop() -> None:
        server.should_exit = True
        # Streams have no end of their own.
        service: Service | None = getattr(app.state, "service", None)
        if service is not None:
            service.feed.close()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        on_ready(f"http://{shown}:{port}")
    await serving


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ParameterError(
            f"host {host}, port {port}: {reason}; give another with --host and --port"
        ) from error
    return listening
