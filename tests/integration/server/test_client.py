"""The client against the running service, also over connections that break."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from patchbank.client import AsyncClient, Client, ServiceAwayError, ServiceError
from patchbank.errors import ImageError, ParameterError
from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.workspace import Workspace
from patchbank.server.models.inspecting import InspectionAnswer, RefusedImage
from tests.fixtures.commands import Outcome, start
from tests.fixtures.service import RunningService
from tests.fixtures.surfaces import Surfaces


@pytest.fixture
def images(surfaces: Surfaces) -> list[Path]:
    return [*sorted(surfaces.good.iterdir()), *sorted(surfaces.scratched.iterdir())]


def test_a_client_judges_and_reads(shared_service: RunningService, images: list[Path]) -> None:
    with Client(shared_service.url) as client:
        assert [each.category for each in client.categories()] == ["brushed"]
        answer = client.inspect("brushed", images[-1], part="4711", station="client", top=3)
        assert (answer.verdict, answer.part, answer.station) == ("fail", "4711", "client")
        assert answer.image == images[-1].as_posix()
        assert len(answer.similar) == 3
        assert answer.inspection_id is not None
        recorded = client.inspection("brushed", answer.inspection_id)
        assert recorded.score == answer.score
        assert recorded.urls.picture is not None
        assert client.download(recorded.urls.picture)[:2] == b"\xff\xd8"
        first, torn, last = client.inspect_batch(
            "brushed", [images[0].read_bytes(), b"torn", images[1]], station="client"
        )
        assert isinstance(first, InspectionAnswer)
        assert isinstance(torn, RefusedImage)
        assert isinstance(last, InspectionAnswer)
        assert last.image == images[1].as_posix()
        found = [each.inspection_id for each in client.inspections("brushed", station="client")]
        # The images of a batch are judged as many at once as there are cores.
        assert {*found[:2]} == {last.inspection_id, first.inspection_id}
        assert found[2:] == [answer.inspection_id]
        fails = client.inspections("brushed", station="client", verdict=["fail", "review"], limit=1)
        assert [each.verdict for each in fails][-1:] == ["fail"]
        limits = client.request("GET", "/v1/categories/brushed/thresholds")
        assert limits["fail_above"] == answer.fail_above


def test_an_async_client_judges_and_reads(
    shared_service: RunningService, images: list[Path]
) -> None:
    async def judge() -> None:
        async with AsyncClient(shared_service.url) as client:
            assert [each.category for each in await client.categories()] == ["brushed"]
            answers = await asyncio.gather(
                *(client.inspect("brushed", image, station="async") for image in images[:4])
            )
            (batched,) = await client.inspect_batch("brushed", images[:1], station="async")
            assert isinstance(batched, InspectionAnswer)
            numbers = {each.inspection_id for each in answers} | {batched.inspection_id}
            listed = client.inspections("brushed", station="async", limit=2)
            assert {each.inspection_id async for each in listed} == numbers
            assert batched.inspection_id is not None
            recorded = await client.inspection("brushed", batched.inspection_id)
            assert recorded.urls.picture is not None
            assert await client.download(recorded.urls.picture)
            assert await client.request("GET", "/health/live") == {"status": "alive"}
            with pytest.raises(ServiceError):
                await client.inspect("brush", images[0])

    # Tests of pages may have a loop in this thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, judge()).result()


def test_refusals_say_what_the_service_says(
    shared_service: RunningService, images: list[Path]
) -> None:
    with Client(shared_service.url) as client:
        with pytest.raises(ServiceError, match="did you mean 'brushed'") as raised:
            client.inspect("brush", images[0])
        assert raised.value.status == 404
        assert raised.value.problem.endswith("unknown-category")
        # Names do not lead to other routes.
        with pytest.raises(ServiceError, match="there is no such address"):
            client.inspect("../../health/live?", images[0])
        with pytest.raises(ImageError, match="no such file"):
            client.inspect("brushed", "none.png")
    with Client(shared_service.url, "pbk_wrong") as client, pytest.raises(ServiceError) as raised:
        client.categories()
    assert raised.value.status == 401
    with pytest.raises(ParameterError, match="must be like"):
        Client("127.0.0.1:8420")
    with pytest.raises(ParameterError, match="give the key as"):
        Client("http://name:secret@host")
    with pytest.raises(ParameterError, match="other characters"):
        Client(shared_service.url, "k\r\ney")


@contextmanager
def breaking(url: str, times: int) -> Iterator[str]:
    """A proxy that cuts the first connections when the service has answered, before it says so."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    listening = socket.create_server(("127.0.0.1", 0))
    left = [times]

    def pass_on(client: socket.socket) -> None:
        with client, socket.create_connection((parts.hostname, parts.port)) as service:
            threading.Thread(target=copy, args=(client, service), daemon=True).start()
            content = service.recv(65536)
            if left[0]:
                left[0] -= 1
                client.shutdown(socket.SHUT_RDWR)
                return
            while content:
                client.sendall(content)
                content = service.recv(65536)

    def copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while content := source.recv(65536):
                target.sendall(content)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=pass_on, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def test_an_image_is_recorded_once_although_answers_are_lost(
    shared_service: RunningService, images: list[Path]
) -> None:
    with breaking(shared_service.url, 3) as url, Client(url) as client:
        answer = client.inspect("brushed", images[0], station="broken")
        found = list(client.inspections("brushed", station="broken"))
    assert [each.inspection_id for each in found] == [answer.inspection_id]


def test_a_change_is_not_sent_twice(shared_service: RunningService) -> None:
    with breaking(shared_service.url, 1) as url, Client(url) as client:
        before = client.request("GET", "/health/live")
        assert before == {"status": "alive"}
    with (
        breaking(shared_service.url, 1) as url,
        Client(url) as client,
        pytest.raises(ServiceAwayError, match="cannot be reached"),
    ):
        client.request("POST", "/v1/categories/brushed/undo", json={})


def test_a_restart_of_the_service_is_waited_for(
    learned: Outcome, database_url: str, graphs_home: Path, images: list[Path]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with Client(url, retry_seconds=0.5) as client, pytest.raises(ServiceAwayError):
        client.categories()
    with Client(url, retry_seconds=60) as client, ThreadPoolExecutor(1) as thread:
        asked = thread.submit(client.inspect, "brushed", images[0])
        time.sleep(0.3)
        process = start("serve", "--port", str(port), home=graphs_home, url=database_url)
        try:
            assert asked.result().recorded
        finally:
            process.terminate()
            process.communicate(timeout=60)


@contextmanager
def answering(answers: list[tuple[int, dict[str, str], bytes]]) -> Iterator[str]:
    """A server that gives these answers, one after the other."""
    left = iter(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = next(left)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_busy_service_is_asked_again_when_it_says_so() -> None:
    listed = json.dumps({"items": [], "of_a_newer_version": 1}).encode()
    busy = (503, {"retry-after": "1"}, b"")
    begun = time.monotonic()
    with answering([busy, (502, {}, b"bad gateway"), (200, {}, listed)]) as url:
        assert Client(url).categories() == []
    assert time.monotonic() - begun >= 1
    # As a time, of whole seconds, which proxies like.
    back = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    begun = time.monotonic()
    with answering([(503, {"retry-after": back}, b""), (200, {}, listed)]) as url:
        assert Client(url).categories() == []
    assert time.monotonic() - begun >= 0.9
    with answering([busy]) as url, pytest.raises(ServiceError, match="answered 503") as raised:
        Client(url, retry_seconds=0.5).categories()
    assert raised.value.status == 503
    # Somebody has to act first.
    damaged = (503, {"content-type": "application/problem+json"}, b'{"type": "x", "detail": "y"}')
    begun = time.monotonic()
    with answering([damaged]) as url, pytest.raises(ServiceError, match="y"):
        Client(url).categories()
    assert time.monotonic() - begun < 5


def test_another_program_is_not_taken_for_the_service() -> None:
    with (
        answering([(200, {}, b"<html>")]) as url,
        pytest.raises(ServiceError, match="not one of patchbank"),
    ):
        Client(url).categories()


def test_the_documented_curl_lines_work(
    shared_service: RunningService, surfaces: Surfaces, tmp_path: Path, database_url: str
) -> None:
    text = Path("docs/service.md").read_text()
    lines = [line.strip() for line in text.splitlines() if line.startswith("    curl ")]
    assert len(lines) >= 7
    for name, image in zip(("part", "a", "b"), sorted(surfaces.scratched.iterdir()), strict=False):
        (tmp_path / f"{name}.png").write_bytes(image.read_bytes())
    # A refusal fails.
    (tmp_path / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    environment = {**os.environ, "CURL_HOME": str(tmp_path)}

    def run(line: str) -> None:
        line = line.replace("http://127.0.0.1:8420", shared_service.url)
        line = line.replace("https://inspection.example", shared_service.url)
        line = line.replace("/leather/", "/brushed/")
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, (shlex.quote(line), done.stdout, done.stderr)

    for line in lines:
        if "$KEY" not in line:
            run(line)
    with Workspace(database_url=shared_service.database_url) as workspace:
        environment["KEY"] = create_key(workspace, "curl", "admin").secret
    try:
        for line in lines:
            if "$KEY" in line:
                run(line)
    finally:
        # Other tests of this service have none.
        with psycopg.connect(shared_service.database_url) as connection:
            connection.execute("delete from patchbank.access_use")
            connection.execute("delete from patchbank.access_key")
