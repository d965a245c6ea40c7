"""What `deploy/` has: nginx before the service, and units that systemd accepts."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from patchbank.inspection.keeping.access import create_key, key_uses
from patchbank.inspection.workspace import Workspace
from tests.fixtures.commands import Outcome
from tests.fixtures.service import RunningService, running
from tests.fixtures.surfaces import Surfaces

DEPLOY = Path(__file__).parents[3] / "deploy"
NAME = "inspection.example"


def found(program: str, package: str) -> str:
    """Return the path of a program, or fail with what to install."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return path or pytest.fail(
        f"no {program} found: run: apt-get install --yes --no-install-recommends {package}",
        pytrace=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Proxy:
    """The documented nginx; asked from another address than its own."""

    def __init__(self, port: int, plain: int, certificate: Path) -> None:
        self._url, self.plain = f"https://127.0.0.1:{port}", f"http://127.0.0.1:{plain}"
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(
                verify=ssl.create_default_context(cafile=str(certificate)),
                local_address="127.0.0.2",
            ),
            headers={"host": NAME},
            timeout=60,
        )

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        url = f"{self._url}{path}"
        return self._client.request(method, url, extensions={"sni_hostname": NAME}, **options)

    def stream(self, path: str, **options: Any) -> AbstractContextManager[httpx.Response]:
        url = f"{self._url}{path}"
        return self._client.stream("GET", url, extensions={"sni_hostname": NAME}, **options)

    def close(self) -> None:
        self._client.close()


@contextmanager
def nginx_before(service: RunningService, folder: Path) -> Iterator[Proxy]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [found("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    port, plain = free_port(), free_port()
    text = (DEPLOY / "nginx.conf").read_text()
    for written, here in (
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        (f"/etc/ssl/{NAME}.pem", str(certificate)),
        (f"/etc/ssl/private/{NAME}.key", str(key)),
        ("http://127.0.0.1:8420", service.url),
    ):
        assert written in text
        text = text.replace(written, here)
    (folder / "patchbank.conf").write_text(text)
    folders = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid;\nerror_log {folder}/errors;\ndaemon off;\nevents {{}}\n"
        + ("user root;\n" if os.geteuid() == 0 else "")
        + f"http {{\naccess_log off;\n{folders}include {folder}/patchbank.conf;\n}}\n"
    )
    process = subprocess.Popen(
        [found("nginx", "nginx"), "-e", folder / "errors", "-c", folder / "nginx.conf"],
        stdin=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, (folder / "errors").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with closing(Proxy(port, plain, certificate)) as proxy:
            yield proxy
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_without_keys_a_proxy_lets_nobody_in(
    shared_service: RunningService, tmp_path: Path
) -> None:
    with nginx_before(shared_service, tmp_path) as proxy:
        answer = proxy.ask("GET", "/v1/categories")
    assert answer.status_code == 403
    assert NAME in answer.json()["detail"]


def test_the_service_works_behind_the_documented_nginx(
    learned: Outcome, workspace: Workspace, database_url: str, graphs_home: Path,
    surfaces: Surfaces, tmp_path: Path,
) -> None:  # fmt: skip
    create_key(workspace, "boss", "admin")
    secret = create_key(workspace, "camera", "operator").secret
    image = sorted(surfaces.scratched.iterdir())[0].read_bytes()
    with (
        running(graphs_home, database_url) as service,
        nginx_before(service, tmp_path) as proxy,
    ):
        bearer = {"authorization": f"Bearer {secret}"}
        plain = httpx.get(f"{proxy.plain}/v1/categories?a=b", headers={"host": NAME})
        assert plain.status_code == 308
        assert plain.headers["location"] == f"https://{NAME}/v1/categories?a=b"
        assert proxy.ask("GET", "/v1/categories").status_code == 401
        judged = proxy.ask("POST", "/v1/categories/brushed/inspect", content=image, headers=bearer)
        assert judged.json()["verdict"] == "fail"
        assert judged.headers["strict-transport-security"]
        # More than nginx takes of itself, and more than the service takes.
        padded = image + bytes(2_000_000)
        taken = proxy.ask("POST", "/v1/categories/brushed/inspect", content=padded, headers=bearer)
        assert taken.status_code == 200
        refused = proxy.ask(
            "POST", "/v1/categories/brushed/inspect", content=bytes(65_000_000), headers=bearer
        )
        assert refused.status_code == 413
        assert "PATCHBANK_SERVE_MEGABYTES" in refused.json()["detail"]
        # A browser's session, and a page of another site.
        login = proxy.ask(
            "POST", "/login", data={"key": secret}, headers={"origin": f"https://{NAME}"}
        )
        assert login.status_code == 303
        assert "secure" in login.headers["set-cookie"].lower()
        other = proxy.ask(
            "POST", "/login", data={"key": secret}, headers={"origin": "https://other.example"}
        )
        assert other.status_code == 403
        # The stream comes as it is written, not when it ends.
        begun = time.monotonic()
        with proxy.stream("/v1/categories/brushed/events", headers=bearer) as events:
            assert events.status_code == 200
            first = next(line for line in events.iter_lines() if line.startswith("data:"))
        assert '"fail"' in first
        assert time.monotonic() - begun < 10
    # Uses are recorded under the client's address, whatever it claims.
    assert {use.address for use in key_uses(workspace, "camera")} == {"127.0.0.2"}


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    units = []
    for path in sorted([*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")]):
        unit = tmp_path / path.name.replace("@.", "@line.")
        program = Path(sys.executable).with_name("patchbank")
        text = path.read_text()
        unit.write_text(text.replace("/usr/local/bin/patchbank", str(program)))
        # Those that name it work where it was installed for all.
        assert path.suffix == ".timer" or "/usr/local/bin/patchbank" in text
        units.append(unit)
    assert len(units) == 4
    done = subprocess.run(
        [found("systemd-analyze", "systemd"), "verify", "--man=no", *units],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (0, "")
