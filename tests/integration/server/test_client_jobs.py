"""Fits by the client: of images that it sends, waited for, followed, cancelled."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchbank.client import AsyncClient, Client, ServiceError
from patchbank.client.jobs import ImageReader
from patchbank.errors import ImageError, ParameterError
from patchbank.server.models.jobs import Job
from tests.fixtures.service import RunningService
from tests.fixtures.surfaces import Surfaces


@pytest.fixture
def good(surfaces: Surfaces) -> list[Path]:
    return sorted(surfaces.train.iterdir())[:8]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """So many that their fit takes a while."""
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(0)
    paths = [folder / f"{number:04}.bmp" for number in range(600)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(path)
    return paths


def test_images_are_sent_learned_and_judged_by(
    shared_service: RunningService, good: list[Path]
) -> None:
    seen: list[Job] = []
    with Client(shared_service.url) as client:
        sent: list[Path | bytes] = [*good[:-1], good[-1].read_bytes()]
        job = client.fit("sent", sent, image_size=64, false_alarm_rate=0.05)
        assert (job.kind, job.category) == ("fit", "sent")
        done = client.wait(job, progress=seen.append, poll_seconds=0.05)
        assert done.result is not None
        assert done.result["images"] == len(good)
        assert done.result["settings"]["false_alarm_rate"] == 0.05
        assert [each.state for each in seen][-1] == "done"
        assert {each.job_id for each in seen} == {job.job_id}
        assert client.inspect("sent", good[0]).bank_version == 1
        assert [each.job_id for each in client.jobs("sent")] == [job.job_id]
        assert client.job(job.job_id) == done
        references = client.request("GET", "/v1/categories/sent/references")["items"]
        names = {each["name"] for each in references}
        assert names == {f"image-{len(good):06}", *(path.as_posix() for path in good[:-1])}
        with pytest.raises(ServiceError) as raised:
            client.cancel(job)
        assert raised.value.status == 409


def test_a_fit_of_many_files_is_cancelled(shared_service: RunningService, many: list[Path]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Client(shared_service.url) as client:
        job = client.fit("many", many, image_size=64)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2, (
            "files are open while they are read"
        )
        assert client.cancel(job).job_id == job.job_id
        with pytest.raises(ServiceError, match=f"job {job.job_id} was cancelled"):
            client.wait(job.job_id, poll_seconds=0.05)
        assert "many" not in [each.category for each in client.categories()]


def test_what_cannot_be_learned_from_is_said(
    shared_service: RunningService, good: list[Path], tmp_path: Path
) -> None:
    with Client(shared_service.url) as client:
        with pytest.raises(ImageError, match="no such file"):
            client.fit("new", [*good, tmp_path / "none.png"])
        for wrong in ({}, {"images": good, "folder": "/srv"}):
            with pytest.raises(ParameterError, match="either images or a folder"):
                client.fit("new", **wrong)  # type: ignore[arg-type]
        with pytest.raises(ServiceError, match="serve --folder") as raised:
            client.fit("new", folder=str(tmp_path))
        assert raised.value.status == 403
        job = client.fit("new", [b"no image"] * 5)
        with pytest.raises(ServiceError, match=f"job {job.job_id} .*image"):
            client.wait(job, poll_seconds=0.05)


def test_an_async_client_learns_too(shared_service: RunningService, good: list[Path]) -> None:
    async def learn() -> None:
        seen: list[Job] = []
        async with AsyncClient(shared_service.url) as client:
            job = await client.fit("async", good, image_size=64)
            done = await client.wait(job, progress=seen.append, poll_seconds=0.05)
            assert done.result is not None
            assert done.result["images"] == len(good)
            assert seen[-1] == done
            assert [each.job_id async for each in client.jobs("async")] == [job.job_id]
            assert (await client.inspect("async", good[0])).bank_version == 1
            with pytest.raises(ServiceError):
                await client.cancel(job)

    # Tests of pages may have a loop in this thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, learn()).result()


def test_a_file_may_be_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    reader = ImageReader(path)
    assert (reader.tell(), reader.seek(0, os.SEEK_END), reader.seek(0)) == (0, 10, 0)
    assert [reader.read(6), reader.read(6), reader.read(6)] == [b"012345", b"6789", b""]
    reader.seek(0)
    assert reader.read(4) == b"0123"
    reader.seek(0)
    assert reader.read() == b"0123456789"
