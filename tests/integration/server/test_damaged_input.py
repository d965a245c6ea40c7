"""A thousand damaged images and bodies: each is answered, none does harm, and memory stays."""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from tests.fixtures.commands import Outcome
from tests.fixtures.service import RunningService, running
from tests.fixtures.surfaces import Surfaces

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="where free memory stays with a process"),
]

REQUESTS, WARM_UP = 1_000, 200
MOST_GROWTH = 50e6
BASE = "/v1/categories/brushed"
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "PPM")


@pytest.fixture
def service(learned: Outcome, database_url: str, graphs_home: Path) -> Iterator[RunningService]:
    """A service that remembers few images: what it remembers is a limit of its own."""
    with running(graphs_home, database_url, PATCHBANK_SERVE_RECENT_MEGABYTES="1") as started:
        yield started


@pytest.fixture
def originals(surfaces: Surfaces) -> list[bytes]:
    """The files of two images in every format."""
    found = []
    for path in (sorted(surfaces.good.iterdir())[0], sorted(surfaces.scratched.iterdir())[0]):
        with Image.open(path) as opened:
            for kind in FORMATS:
                file = io.BytesIO()
                opened.convert("RGB").save(file, kind)
                found.append(file.getvalue())
    return found


def truncated(chance: random.Random, content: bytes) -> bytes:
    return content[: chance.randrange(len(content))]


def flipped(chance: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 3, 30, 300))):
        # Mostly in the header, where sizes and offsets are.
        end = chance.choice((64, len(changed)))
        changed[chance.randrange(min(end, len(changed)))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def spliced(chance: random.Random, content: bytes) -> bytes:
    begin, end = sorted(chance.randrange(len(content)) for _ in range(2))
    return content[:begin] + content[begin:end] * chance.choice((0, 2, 5)) + content[end:]


def random_bytes(chance: random.Random, content: bytes) -> bytes:
    head = chance.choice((b"", content[:8], content[:32]))
    return head + chance.randbytes(chance.choice((0, 1, 100, 10_000)))


def with_numbers(chance: random.Random, content: bytes) -> bytes:
    """Numbers in the header that are as large as they can be."""
    changed = bytearray(content)
    at = chance.randrange(min(100, len(changed) - 4))
    number = chance.choice((0, 1, 2**16 - 1, 2**31 - 1, 2**32 - 1))
    struct.pack_into(chance.choice("<>") + "I", changed, at, number)
    return bytes(changed)


def bomb(chance: random.Random, content: bytes) -> bytes:
    """A PNG that claims to have many pixels, or has many that take no space."""
    side = chance.choice((10_000, 60_000, 2**31 - 1))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compress(b"\0" * 5_000_000, 9)
    head = struct.pack(">IIBBBBB", side, side, 8, chance.choice((0, 2, 3, 6)), 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def markup(chance: random.Random, content: bytes) -> bytes:
    return chance.choice(
        (
            b"<html><script>alert(1)</script>",
            b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
            b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x>&a;</x>",
            b"%PDF-1.7\n" + content[:200],
            b"PK\x03\x04" + content[:200],
        )
    )


MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    truncated, flipped, flipped, spliced, random_bytes, with_numbers, bomb, markup,
)  # fmt: skip


def requests_of(originals: list[bytes]) -> Iterator[httpx.Request]:
    """Yield damaged requests: images as bodies and in forms, forms, and JSON."""
    chance = random.Random(0)
    while True:
        content = chance.choice(MUTATIONS)(chance, chance.choice(originals))
        kind = chance.random()
        if kind < 0.55:
            path = chance.choice(("inspect", "inspect", "inspect", "search", "references"))
            yield httpx.Request("POST", f"{BASE}/{path}", content=content)
        elif kind < 0.7:
            form = {"image": (chance.choice(("a.png", "../../a", 'a"\r\nb', "")), content)}
            path = chance.choice(("inspect", "inspect:batch", "references"))
            yield httpx.Request("POST", f"{BASE}/{path}", files=form)
        elif kind < 0.85:
            form_body = (
                b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
                + content
                + b"\r\n--x--\r\n"
            )
            yield httpx.Request(
                "POST",
                f"{BASE}/{chance.choice(('inspect', 'inspect:batch'))}",
                content=chance.choice((truncated, flipped, spliced))(chance, form_body),
                headers={
                    "content-type": chance.choice(
                        ("multipart/form-data; boundary=x", "multipart/form-data", "image/png", "")
                    )
                },
            )
        else:
            body = json.dumps(
                chance.choice(
                    (
                        {"fail_above": chance.choice((1e308, -1, "1", None, [1], True))},
                        {"false_alarm_rate": chance.uniform(-1, 2)},
                        {"answer": "defect", "label": chance.choice(("\0", "<b>", "a" * 5_000))},
                        {"references": [chance.choice((0, -1, 2**63, 1.5, "1"))] * 3},
                        {"version": chance.choice((0, 2**40, "x"))},
                    )
                )
            ).encode()
            method, path = chance.choice(
                (
                    ("PUT", "thresholds"),
                    ("POST", "undo"),
                    ("POST", "references/withdraw"),
                    ("POST", "inspections/1/review"),
                    ("POST", "quarantine/confirm"),
                )
            )
            if chance.random() < 0.5:
                body = flipped(chance, body)
            yield httpx.Request(
                method, f"{BASE}/{path}", content=body, headers={"content-type": "application/json"}
            )


def settled(process: psutil.Process) -> int:
    """Return the memory of a process in bytes, after what is free was given back."""
    time.sleep(10)
    return int(process.memory_info().rss)


def test_damaged_input_is_refused_and_takes_no_memory(
    service: RunningService, originals: list[bytes]
) -> None:
    statuses: Counter[int] = Counter()
    damaged = requests_of(originals)
    begin, process = 0, psutil.Process(service.process.pid)
    with service.client() as client:
        for number in range(WARM_UP + REQUESTS):
            if number == WARM_UP:
                begin = settled(process)
            request = next(damaged)
            request.url = client.base_url.join(request.url)
            request.headers["host"] = request.url.netloc.decode()
            answer = client.send(request)
            statuses[answer.status_code] += 1
            assert answer.status_code < 500, (request.url, answer.text)
            if answer.status_code >= 400:
                assert answer.json()["status"] == answer.status_code
        growth = settled(process) - begin
        # It judges as before.
        good = client.post(f"{BASE}/inspect", content=originals[0]).json()
    print(dict(statuses), f"grew by {growth / 1e6:.1f} MB")
    assert good["verdict"] in ("pass", "review", "fail")
    assert statuses[200] > 50
    assert statuses[422] > 200
    assert growth < MOST_GROWTH
