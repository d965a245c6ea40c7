"""Fits by the client: of images that it sends, waited for, followed, cancelled."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchbank.client import AsyncClient, Client, ServiceError
from patchbank.client.jobs import ImageReader
from patchbank.errors import ImageError, ParameterError
from patchbank.server.models.jobs import Job
from tests.fixtures.anomalib import tensor_file
from tests.fixtures.service import RunningService, running
from tests.fixtures.surfaces import Surfaces
from tests.integration.server.test_anomalib_jobs import MADE_WITH


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


def begun_by(client: Any, surfaces: Surfaces, bank: Path) -> Iterator[Any]:
    """Yield a job of each kind but a fit, each after the one before it has ended."""
    good, scratched = sorted(surfaces.good.iterdir()), sorted(surfaces.scratched.iterdir())
    category = f"imported-by-{type(client).__name__}"
    yield client.import_anomalib(category, str(bank), **MADE_WITH)
    yield client.calibrate(category, folder=str(surfaces.train), group_by="image")
    study = {f"good/{number}.png": path for number, path in enumerate(good)}
    study |= {f"scratch/7-{number}.png": path for number, path in enumerate(scratched)}
    yield client.check(category, study, part_from="^[^-]+")
    yield client.evaluate("brushed", str(surfaces.root), image_size=64)


def check_jobs(jobs: list[Job]) -> None:
    assert [job.kind for job in jobs] == ["import-anomalib", "calibrate", "check", "evaluate"]
    imported, calibrated, checked, evaluated = (job.result or {} for job in jobs)
    assert imported["bank_size"] == 64
    assert calibrated["images"] == 24
    assert len(checked["parts"]) == 9
    assert evaluated["image_auroc"] > 0.9


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of Anomalib with a bank of features that nothing resembles."""
    path = tmp_path_factory.mktemp("anomalib") / "bank.pt"
    path.write_bytes(tensor_file(np.random.default_rng(0).random((64, 152), np.float32)))
    return path


@pytest.fixture(scope="module")
def allowing_service(
    shared_service: RunningService, surfaces: Surfaces, bank: Path, graphs_home: Path
) -> Iterator[RunningService]:
    """A service that takes folders and files of its machine."""
    folders = ("--folder", surfaces.root, "--folder", bank.parent)
    with running(graphs_home, shared_service.database_url, *folders) as service:
        yield service


def test_jobs_of_all_kinds_are_begun(
    allowing_service: RunningService, surfaces: Surfaces, bank: Path
) -> None:
    with Client(allowing_service.url) as client:
        jobs = [client.wait(job, poll_seconds=0.1) for job in begun_by(client, surfaces, bank)]
        check_jobs(jobs)
        with pytest.raises(ServiceError, match="did you mean mvtec"):
            client.evaluate("brushed", str(surfaces.root), dataset="mvtek")

    async def begin() -> list[Job]:
        async with AsyncClient(allowing_service.url) as client:
            return [
                await client.wait(await job, poll_seconds=0.1)
                for job in begun_by(client, surfaces, bank)
            ]

    with ThreadPoolExecutor(1) as thread:
        check_jobs(thread.submit(asyncio.run, begin()).result())


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
