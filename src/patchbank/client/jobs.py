"""Jobs of the service: what is asked for, and how they end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import SEEK_END, SEEK_SET
from pathlib import Path
from typing import TypedDict

from patchbank.client.calls import PAGE, Call, ImageFile, address, reading
from patchbank.errors import ParameterError, ServiceError
from patchbank.server.models.jobs import Job

POLL_SECONDS = 1.0
_RUNNING = ("waiting", "running")

#: Called with a job whenever somebody looked at it.
JobProgress = Callable[[Job], None]


class FitOptions(TypedDict, total=False):
    """Options of a fit; see `patchbank fit`."""

    false_alarm_rate: float | None
    review_rate: float | None
    image_size: int | None
    backbone: str | None
    group_by: str | None
    screen: bool


class ImageReader:
    """The file of an image, open only while a part is read: a form may have thousands."""

    def __init__(self, path: Path) -> None:
        self._path, self._position = path, 0
        # What cannot be read is said before anything is sent.
        with reading(path), path.open("rb") as file:
            self._size = file.seek(0, SEEK_END)

    def read(self, size: int = -1) -> bytes:
        """Return what comes next, and nothing at the end."""
        with reading(self._path), self._path.open("rb") as file:
            file.seek(self._position)
            content = file.read(size)
        self._position += len(content)
        return content

    def tell(self) -> int:
        """Return where the next part begins."""
        return self._position

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a place, from the beginning or, by `SEEK_END`, the end; return where that is."""
        self._position = offset + (self._size if whence == SEEK_END else 0)
        return self._position


def fitting(
    category: str, images: Sequence[ImageFile] | None, folder: str | None, options: FitOptions
) -> Call:
    """Return the call that begins a fit; see `Client.fit`."""
    if (images is None) == (folder is None):
        raise ParameterError("give either images or a folder of the service's machine")
    path = address(category, "fit")
    if images is None:
        return Call("POST", path, {**options}, json={"folder": folder})
    files: list[tuple[str, tuple[str, bytes | ImageReader]]] = []
    for number, image in enumerate(images, 1):
        if isinstance(image, bytes):
            files.append(("image", (f"image-{number:06}", image)))
        else:
            files.append(("image", (Path(image).as_posix(), ImageReader(Path(image)))))
    return Call("POST", path, {**options}, files=files)


def one_job(job: Job | int) -> Call:
    """Return the call for a job, by itself or its number."""
    return Call("GET", _address_of(job), repeatable=True)


def job_page(category: str | None, before: int | None) -> Call:
    """Return the call for some jobs."""
    parameters = {"limit": PAGE, "category": category, "before": before}
    return Call("GET", "/v1/jobs", parameters, repeatable=True)


def cancelling(job: Job | int) -> Call:
    """Return the call that cancels a job."""
    return Call("POST", f"{_address_of(job)}/cancel")


def _address_of(job: Job | int) -> str:
    return f"/v1/jobs/{job if isinstance(job, int) else job.job_id}"


def ended(job: Job) -> bool:
    """Return whether a job is done.

    Raises
    ------
    ServiceError
        If it ended otherwise.
    """
    if job.state in _RUNNING:
        return False
    if job.state != "done":
        raise ServiceError(f"job {job.job_id} {job.error or f'was {job.state}'}")
    return True
