"""Sinks: what is recorded reaches webhooks, brokers and files, also after failures and restarts."""

from __future__ import annotations

import asyncio
import csv
import gc
import json
import socket
import ssl
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiomqtt
import psycopg
import pytest
from fastapi.testclient import TestClient

from patchbank.errors import SinkError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.keeping.inspections import CSV_COLUMNS
from patchbank.inspection.workspace import Workspace
from patchbank.line import delivering
from patchbank.line.delivering import Deliverer
from patchbank.line.sinks.configured import SinkOptions, add_sink, list_sinks
from patchbank.line.sinks.csv_file import CsvSink
from patchbank.line.sinks.mqtt import MqttSink, level
from patchbank.line.sinks.signing import key_of, new_secret, signature
from patchbank.line.sinks.webhook import WebhookSink
from patchbank.store.outbox import SinkState
from tests.fixtures.commands import Run
from tests.fixtures.mosquitto import Broker
from tests.fixtures.receiver import Receiver
from tests.fixtures.surfaces import Surfaces, brushed

pytestmark = pytest.mark.usefixtures("learned")


@pytest.fixture
def inspector(workspace: Workspace) -> Inspector:
    return Inspector(workspace, "brushed", deliver=True)


@pytest.fixture
def deliverer(workspace: Workspace) -> Iterator[Deliverer]:
    with Deliverer(workspace) as begun:
        yield begun


def eventually(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def added(workspace: Workspace, receiver: Receiver, name: str = "mes", **options: Any) -> None:
    secret = add_sink(workspace, name, receiver.url, SinkOptions(**options)).made_secret
    assert secret is not None
    receiver.trust(secret)


def judge(inspector: Inspector, count: int, first: int = 0) -> list[int]:
    numbers = []
    for seed in range(first, first + count):
        image = brushed(2000 + seed, scratched=seed % 2 == 1)
        inspection = inspector.inspect(image, name=f"{seed}.png", station="line-1")
        assert inspection.inspection_id is not None
        numbers.append(inspection.inspection_id)
    return numbers


def state(workspace: Workspace) -> SinkState:
    (only,) = list_sinks(workspace)
    return only


def test_the_service_sends_what_it_records_to_a_webhook(
    patchbank: Run, client: TestClient, receiver: Receiver, surfaces: Surfaces
) -> None:
    outcome = patchbank("sinks", "add", "mes", f"{receiver.url}?token=abc")
    assert outcome.code == 0, outcome.err
    secret = outcome.out.strip()
    assert secret.startswith("whsec_")
    receiver.trust(secret)
    assert patchbank("sinks", "test", "mes").code == 0
    assert receiver.documents.pop()["type"] == "test"
    content = sorted(surfaces.scratched.iterdir())[0].read_bytes()
    answer = client.post("/v1/categories/brushed/inspect?station=line-1", content=content).json()
    eventually(lambda: bool(receiver.documents))
    (document,) = receiver.documents
    assert document["type"] == "inspection.recorded"
    recorded = client.get(answer["urls"]["inspection"]).json()
    moments = [
        datetime.fromisoformat(each.pop("inspected_at")) for each in (document["data"], recorded)
    ]
    assert moments[0] == moments[1]
    assert document["data"] == {name: recorded[name] for name in document["data"]}
    eventually(lambda: patchbank("sinks", "list", "--json").document["delivered"] == 1)
    listed = patchbank("sinks", "list", "--json")
    assert listed.document["waiting"] == 0
    assert listed.document["last_error"] is None
    for shown in (listed.out, patchbank("sinks", "list").out):
        assert secret not in shown
        assert "abc" not in shown
    # What came again under its key was sent once; of a batch, each image.
    for _ in range(2):
        client.post(
            "/v1/categories/brushed/inspect", content=content, headers={"idempotency-key": "a"}
        )
    files = [("image", (f"{number}.png", content)) for number in range(2)]
    client.post("/v1/categories/brushed/inspect:batch", files=files)
    eventually(lambda: len(receiver.numbers) == 4)
    # What is tried on the command line is no business of other systems.
    patchbank("inspect", "brushed", sorted(surfaces.good.iterdir())[0])
    assert patchbank("sinks", "list", "--json").document["waiting"] == 0
    assert patchbank("sinks", "remove", "mes").out == "removed sink 'mes'\n"
    assert "no sink has this name" in patchbank("sinks", "remove", "mes").complaint


def test_a_watcher_sends_what_it_records(
    patchbank: Run, receiver: Receiver, workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    added(workspace, receiver)
    folder = tmp_path / "in"
    folder.mkdir()
    for number, image in enumerate(sorted(surfaces.good.iterdir())[:3]):
        (folder / f"{number}.png").write_bytes(image.read_bytes())
    outcome = patchbank("watch", "brushed", folder, "--once", "--settle", "0", "--json")
    # It ends when all is sent.
    assert set(receiver.numbers) == {each["inspection_id"] for each in outcome.documents}


def test_what_a_receiver_missed_is_sent_when_it_is_back(
    workspace: Workspace, inspector: Inspector, receiver: Receiver
) -> None:
    added(workspace, receiver)
    busy = {"retry-after": "1"}
    receiver.answer = lambda document: (503, busy)
    with Deliverer(workspace) as deliverer:
        numbers = judge(inspector, 4)
        deliverer.wake()
        eventually(lambda: state(workspace).failures > 0)
    assert receiver.documents == []
    assert state(workspace).waiting == 4
    assert "503" in (state(workspace).last_error or "")
    # The next process.
    receiver.answer = lambda document: (200, {})
    numbers += judge(inspector, 2, first=4)
    with Deliverer(workspace):
        eventually(lambda: state(workspace).waiting == 0)
    assert set(receiver.numbers) == set(numbers)
    assert state(workspace).last_error is None


def test_a_receiver_may_say_when_it_is_back_as_a_time(receiver: Receiver) -> None:
    back = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)

    async def waits() -> list[float]:
        secret = new_secret()
        receiver.trust(secret)
        sink = WebhookSink(1, receiver.url, secret)
        found = []
        for value in ("30", back, "Fri, 31 Dec 1999 23:59:59 GMT", "soon", "9999999"):
            receiver.answer = lambda document, value=value: (429, {"retry-after": value})  # type: ignore[misc]
            outcome = await sink._post("test_1", {})
            found.append(outcome.seconds)
        await sink.close()
        return found

    with ThreadPoolExecutor(1) as thread:
        number, moment, past, words, most = thread.submit(asyncio.run, waits()).result()
    assert (number, past, words, most) == (30, 0, 0, 3600)
    assert moment == pytest.approx(600, abs=60)


def test_a_receiver_that_is_not_there_is_said_and_tried_again(
    workspace: Workspace, inspector: Inspector, patchbank: Run, deliverer: Deliverer
) -> None:
    add_sink(workspace, "mes", "http://127.0.0.1:9/", SinkOptions())
    judge(inspector, 1)
    eventually(lambda: state(workspace).failures >= 2)
    assert state(workspace).waiting == 1
    outcome = patchbank("sinks", "test", "mes")
    assert outcome.code == 2
    assert "sink 'mes': nothing arrives at http://127.0.0.1:9/: " in outcome.complaint
    # Its owner is told what is lost.
    assert "1 inspection that waited" in patchbank("sinks", "remove", "mes").out
    judge(inspector, 1)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SSL_CERT_FILE", "missing.pem"), ("HTTPS_PROXY", "http://a:b:c")],
)
def test_an_environment_that_cannot_be_used_is_said(
    workspace: Workspace, inspector: Inspector, patchbank: Run, deliverer: Deliverer,
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(variable, value)
    add_sink(workspace, "mes", "https://127.0.0.1:9/", SinkOptions())
    judge(inspector, 1)
    eventually(lambda: state(workspace).failures > 0)
    assert "of the environment cannot be used" in (state(workspace).last_error or "")
    assert variable in patchbank("sinks", "test", "mes").complaint


def test_a_name_that_no_host_can_have_is_said(
    workspace: Workspace, inspector: Inspector, deliverer: Deliverer
) -> None:
    add_sink(workspace, "mes", "https://xn--a/", SinkOptions())
    judge(inspector, 1)
    eventually(lambda: state(workspace).failures > 0)
    assert state(workspace).last_error == "no host can have this name"
    # One that was added before such names were refused.
    sink = MqttSink("mqtt://a..b", None, None, "patchbank")
    # Playwright keeps an event loop of its own in this thread.
    with (
        ThreadPoolExecutor(1) as thread,
        pytest.raises(SinkError, match="no host can have this name"),
    ):
        thread.submit(lambda: asyncio.run(sink.test())).result()


def test_a_receiver_that_has_moved_is_said(
    workspace: Workspace, inspector: Inspector, deliverer: Deliverer, receiver: Receiver
) -> None:
    added(workspace, receiver)
    receiver.answer = lambda _: (308, {"location": f"{receiver.url}/new"})
    judge(inspector, 1)
    eventually(lambda: state(workspace).failures > 0)
    assert "308: it has moved; add the sink with its new URL" in (state(workspace).last_error or "")
    assert not receiver.documents


def test_a_fault_of_a_sink_is_said_and_does_not_end_the_others(
    workspace: Workspace, inspector: Inspector, deliverer: Deliverer, receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    async def fail(sink: CsvSink, inspections: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(CsvSink, "send", fail)
    added(workspace, receiver, "mes")
    add_sink(workspace, "archive", str(tmp_path / "a.csv"), SinkOptions())
    judge(inspector, 2)

    def states() -> dict[str, SinkState]:
        return {each.sink.name: each for each in list_sinks(workspace)}

    eventually(lambda: states()["mes"].delivered == 2 and states()["archive"].failures > 0)
    assert "internal error, see the log: RuntimeError" in (states()["archive"].last_error or "")
    monkeypatch.undo()
    eventually(lambda: states()["archive"].delivered == 2)


def test_a_csv_file_does_not_begin_in_the_mount_point_of_a_drive_that_is_away(
    workspace: Workspace, inspector: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = {tmp_path}
    is_mount = Path.is_mount
    monkeypatch.setattr(Path, "is_mount", lambda path: path in mounted or is_mount(path))
    monkeypatch.setattr(delivering, "_IDLE_SECONDS", 0.0)
    path = tmp_path / "a.csv"
    add_sink(workspace, "archive", str(path), SinkOptions())
    with Deliverer(workspace):
        judge(inspector, 1)
        eventually(lambda: state(workspace).delivered == 1)
        # Nothing is sent for a while, and then the drive is away.
        time.sleep(2.5)
        away = path.rename(tmp_path / "away.csv")
        mounted.clear()
        judge(inspector, 1, first=1)
        eventually(lambda: state(workspace).failures > 0)
        assert "is not mounted" in (state(workspace).last_error or "")
        assert not path.exists()
        mounted.add(tmp_path)
        away.rename(path)
        eventually(lambda: state(workspace).delivered == 2)
    with path.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2


def test_a_broker_that_accepts_and_never_answers_is_said(
    workspace: Workspace, inspector: Inspector, deliverer: Deliverer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        add_sink(workspace, "plc", f"mqtt://127.0.0.1:{silent.getsockname()[1]}", SinkOptions())
        judge(inspector, 1)
        eventually(lambda: state(workspace).failures > 0)
        assert state(workspace).last_error == "the broker does not answer"
        assert state(workspace).waiting == 1


def test_an_inspection_that_is_not_taken_holds_no_other_up(
    workspace: Workspace, inspector: Inspector, receiver: Receiver, deliverer: Deliverer
) -> None:
    added(workspace, receiver)
    receiver.answer = lambda document: (
        422 if document["data"]["image"] == "0.png" else 200,
        {},
    )
    bad, *others = judge(inspector, 5)
    eventually(lambda: set(receiver.numbers) == set(others))
    eventually(lambda: state(workspace).waiting == 1)
    assert "422" in (state(workspace).refused or "")
    receiver.answer = lambda document: (200, {})
    # It is tried again after seconds.
    eventually(lambda: bad in receiver.numbers)


def test_only_what_is_asked_for_is_sent(
    workspace: Workspace, inspector: Inspector, receiver: Receiver
) -> None:
    added(workspace, receiver, verdicts=("fail",), categories=("brushed",))
    judge(inspector, 4)
    with Deliverer(workspace):
        pass
    verdicts = [each["data"]["verdict"] for each in receiver.documents]
    assert verdicts == ["fail"] * 2


def test_several_processes_send_each_once(
    workspace: Workspace, graphs_home: Path, database_url: str, inspector: Inspector,
    receiver: Receiver,
) -> None:  # fmt: skip
    added(workspace, receiver)
    with (
        Workspace(home=graphs_home, database_url=database_url) as other,
        Deliverer(workspace) as first,
        Deliverer(other) as second,
    ):
        numbers = []
        for turn in range(10):
            numbers += judge(inspector, 3, first=3 * turn)
            first.wake()
            second.wake()
        eventually(lambda: state(workspace).waiting == 0)
    assert receiver.numbers == dict.fromkeys(numbers, 1)


def test_another_process_takes_over_from_one_that_died(
    workspace: Workspace, inspector: Inspector, receiver: Receiver, deliverer: Deliverer,
    database_url: str,
) -> None:  # fmt: skip
    added(workspace, receiver)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "update patchbank.sink set held_by = gen_random_uuid(), "
            "held_until = now() + interval '2 s'"
        )
    begun = time.monotonic()
    judge(inspector, 1)
    deliverer.wake()
    eventually(lambda: bool(receiver.documents))
    assert time.monotonic() - begun > 1.5


def test_what_was_sent_but_not_noted_is_sent_again_under_the_same_number(
    workspace: Workspace, inspector: Inspector, receiver: Receiver, database_url: str
) -> None:
    added(workspace, receiver)
    (number,) = judge(inspector, 1)
    with psycopg.connect(database_url) as connection:
        kept = connection.execute("select * from patchbank.outbox").fetchone()
    assert kept is not None
    for _ in range(2):
        with Deliverer(workspace):
            pass
        # As if the process had died before it could be noted.
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "insert into patchbank.outbox values (%s, %s, %s, %s, %s, %s, %s)", kept
            )
    assert receiver.numbers == {number: 2}
    assert list(receiver.ids.values()) == [2]


def test_removed_inspections_do_not_wait_forever(
    workspace: Workspace, inspector: Inspector, receiver: Receiver, database_url: str
) -> None:
    added(workspace, receiver)
    gone, there = judge(inspector, 2)
    with psycopg.connect(database_url) as connection:
        connection.execute("delete from patchbank.inspection where inspection_id = %s", [gone])
    with Deliverer(workspace):
        pass
    assert set(receiver.numbers) == {there}
    assert state(workspace).waiting == 0


@contextmanager
def left_sockets() -> Iterator[None]:
    """The MQTT library leaves the socket of a refused certificate to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


class Listener:
    """What a broker has published, in a thread with its own loop."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self.messages: list[tuple[str, Any, bool]] = []
        self._broker, self._topic = broker, topic
        self._subscribed = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)
        self._thread.start()
        assert self._subscribed.wait(10)

    async def _listen(self) -> None:
        certificate = self._broker.certificate
        async with aiomqtt.Client(
            "127.0.0.1",
            self._broker.port,
            username="line",
            password=self._broker.password,
            tls_context=ssl.create_default_context(cafile=certificate) if certificate else None,
        ) as client:
            await client.subscribe(self._topic, qos=1)
            self._subscribed.set()
            try:
                async for message in client.messages:
                    assert isinstance(message.payload, bytes)
                    self.messages.append(
                        (str(message.topic), json.loads(message.payload), message.retain)
                    )
            except aiomqtt.MqttError:
                # The broker stopped.
                pass


def test_a_broker_behind_tls_is_believed_by_its_certificate_alone(
    workspace: Workspace,
    inspector: Inspector,
    patchbank: Run,
    tls_broker: Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = tmp_path / "password"
    secret.write_text(tls_broker.password)
    login = ("--user", "line", "--secret-file", secret)
    assert patchbank("sinks", "add", "plc", tls_broker.url, *login).code == 0
    with left_sockets():
        unknown = patchbank("sinks", "test", "plc")
    assert unknown.code == 2
    assert "certificate verify failed" in unknown.complaint
    # A sink that is not believed gets nothing, not even the password.
    assert "line" not in (tls_broker.folder / "log").read_text()

    monkeypatch.setenv("SSL_CERT_FILE", str(tls_broker.certificate))
    assert patchbank("sinks", "test", "plc").code == 0
    (number,) = judge(inspector, 1)
    with Deliverer(workspace) as deliverer:
        deliverer.wake()
        eventually(lambda: state(workspace).delivered == 1)
    retained = Listener(tls_broker, "patchbank/brushed/line-1/verdict")
    eventually(lambda: len(retained.messages) >= 1)
    assert retained.messages[0][1]["inspection_id"] == number

    # The certificate is that of another name.
    other = tls_broker.url.replace("127.0.0.1", "localhost")
    assert patchbank("sinks", "add", "other", other, *login).code == 0
    with left_sockets():
        complaint = patchbank("sinks", "test", "other").complaint
    assert "certificate" in complaint
    assert "localhost" in complaint


def test_a_broker_gets_inspections_and_keeps_the_last_verdict_of_each_station(
    workspace: Workspace, inspector: Inspector, patchbank: Run, broker: Broker, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{broker.password}\n")
    arguments = ("sinks", "add", "plc", broker.url, "--user", "line", "--topic", "plant/hall")
    assert patchbank(*arguments, "--secret-file", secret).code == 0
    tried = patchbank("sinks", "test", "plc")
    assert tried.code == 0, tried.err
    assert broker.password not in patchbank("sinks", "list", "--json").out
    listener = Listener(broker, "plant/hall/brushed/+/inspection")
    with Deliverer(workspace) as deliverer:
        numbers = judge(inspector, 4)
        other = inspector.inspect(brushed(1), name="other.png", station="line/2 #3")
        deliverer.wake()
        eventually(lambda: len(listener.messages) >= 5)
        # A broker that restarts, for example after an update.
        broker.stop()
        last = judge(inspector, 2, first=4)
        deliverer.wake()
        eventually(lambda: state(workspace).failures > 0)
        broker.start()
        eventually(lambda: state(workspace).waiting == 0, 60)
    published = [document["inspection_id"] for _, document, _ in listener.messages]
    assert published == [*numbers, other.inspection_id]
    retained = Listener(broker, "plant/hall/#")
    eventually(lambda: len(retained.messages) >= 2)
    verdicts = {topic: document for topic, document, kept in retained.messages if kept}
    assert verdicts.keys() == {
        "plant/hall/brushed/line-1/verdict",
        "plant/hall/brushed/line%2F2 %233/verdict",
    }
    verdict = verdicts["plant/hall/brushed/line-1/verdict"]
    assert verdict["inspection_id"] == last[-1]
    assert verdict["verdict"] == "fail"


def test_a_broker_that_refuses_the_password_is_said(
    workspace: Workspace, inspector: Inspector, broker: Broker, deliverer: Deliverer
) -> None:
    options = SinkOptions(user="line", secret="another")
    add_sink(workspace, "plc", broker.url, options)
    judge(inspector, 1)
    eventually(lambda: state(workspace).failures > 0)
    assert "not authorized" in (state(workspace).last_error or "").lower()


def test_names_become_one_level_of_a_topic() -> None:
    assert level("a/b+c#d%e é") == "a%2Fb%2Bc%23d%25e é"


def test_a_csv_file_gets_a_line_for_each(
    workspace: Workspace, inspector: Inspector, patchbank: Run, tmp_path: Path, database_url: str
) -> None:
    path = tmp_path / "inspections.csv"
    assert patchbank("sinks", "add", "file", path).code == 0
    assert patchbank("sinks", "test", "file").code == 0
    numbers = judge(inspector, 3)
    with psycopg.connect(database_url) as connection:
        kept = connection.execute("select * from patchbank.outbox limit 1").fetchone()
    assert kept is not None
    with Deliverer(workspace):
        pass
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into patchbank.outbox values (%s, %s, %s, %s, %s, %s, %s)", kept)
    # Half a line of a power failure.
    with path.open("a") as file:
        file.write("17,2026-")
    numbers += judge(inspector, 1, first=3)
    with Deliverer(workspace):
        pass
    written = path.read_text()
    rows = list(csv.DictReader(written.splitlines()))
    assert [int(row["inspection_id"]) for row in rows] == numbers
    assert tuple(rows[0]) == CSV_COLUMNS
    listed = patchbank("inspections", "brushed", "--csv", "-")
    assert listed.out == written
    # It was moved away.
    path.rename(tmp_path / "old.csv")
    judge(inspector, 1, first=4)
    with Deliverer(workspace):
        pass
    assert len(path.read_text().splitlines()) == 2


def test_a_file_that_cannot_be_written_is_said(
    workspace: Workspace, inspector: Inspector, deliverer: Deliverer, tmp_path: Path
) -> None:
    folder = tmp_path / "away"
    folder.mkdir()
    add_sink(workspace, "file", str(folder / "a.csv"), SinkOptions())
    folder.rmdir()
    (number,) = judge(inspector, 1)
    eventually(lambda: state(workspace).failures > 0)
    assert "no such file" in (state(workspace).last_error or "")
    folder.mkdir()
    eventually(lambda: state(workspace).waiting == 0)
    assert f"\n{number}," in (folder / "a.csv").read_text()


def test_the_documented_check_of_signatures() -> None:
    text = Path("docs/line.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    secret, now = new_secret(), int(time.time())
    headers = {
        "webhook-id": "inspection_1_1",
        "webhook-timestamp": str(now),
        "webhook-signature": signature(key_of(secret), "inspection_1_1", now, b"{}"),
    }
    assert names["is_genuine"](secret, headers, b"{}")
    assert not names["is_genuine"](secret, headers, b"{ }")
    assert not names["is_genuine"](new_secret(), headers, b"{}")
    assert not names["is_genuine"](secret, headers | {"webhook-timestamp": str(now - 301)}, b"{}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "https://"], "is not a URL"),
        (["a", "mqtt://plant..example"], "is not a URL"),
        (["a", "https://user:secret@host/"], "has a user or a password"),
        (["a", "https://host/#part"], "leave out the part after #"),
        (["a", "ftp://host/"], "must begin with http://"),
        (["a", "results.txt"], "ends in .csv"),
        (["a", "https://host/", "--verdict", "good"], "must be one of pass, review, fail"),
        (["a", "https://host/", "--category", "brush"], "did you mean 'brushed'?"),
        (["a", "https://host/", "--topic", "a"], "are for MQTT"),
        (["a", "mqtt://host", "--topic", "a/#"], "without + and #"),
        (["a", "mqtt://host", "--secret-file", "SECRET"], "give the user too"),
        (["a", "https://host/", "--secret-file", "SECRET"], "24 to 64 bytes in base64"),
        (["a", "a.csv", "--secret-file", "SECRET"], "has no secret"),
        (["a", "https://host/", "--secret-file", "missing"], "no such file"),
        (["", "https://host/"], "name is empty"),
        (["taken", "https://host/"], "a sink has it"),
    ],
)
def test_what_cannot_be_a_sink_is_refused(
    patchbank: Run, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "secret").write_text("short")
    if "taken" in arguments:
        assert patchbank("sinks", "add", "taken", tmp_path / "a.csv").code == 0
    path = str(tmp_path / "secret")
    outcome = patchbank("sinks", "add", *(path if each == "SECRET" else each for each in arguments))
    assert outcome.code == 2
    assert said in outcome.complaint
    assert "secret@" not in outcome.err


@pytest.mark.parametrize(
    ("module", "target", "extra"),
    [("aiomqtt", "mqtt://host", "mqtt"), ("httpx", "https://host/", "client")],
)
def test_a_missing_extra_is_named(
    patchbank: Run, monkeypatch: pytest.MonkeyPatch, module: str, target: str, extra: str
) -> None:
    kind = "mqtt" if extra == "mqtt" else "webhook"
    monkeypatch.delitem(sys.modules, f"patchbank.line.sinks.{kind}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    outcome = patchbank("sinks", "add", "a", target)
    assert outcome.code == 2
    assert f"need the extra `{extra}`" in outcome.complaint
    assert patchbank("sinks", "list").out.startswith("no sinks")
