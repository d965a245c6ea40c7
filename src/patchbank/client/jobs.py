"""Jobs of the service: what is asked for, and how they end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import SEEK_END, SEEK_SET
from pathlib import Path
from typing import Literal, TypedDict

from patchbank.client.calls import PAGE, Call, ImageFile, Parameters, address, reading
from patchbank.errors import ParameterError, ServiceError
from patchbank.server.models.jobs import Job

POLL_SECONDS = 1.0
_RUNNING = ("waiting", "running")

#: Called with a job whenever somebody looked at it.
JobProgress = Callable[[Job], None]


class CalibrateOptions(TypedDict, total=False):
    """Options of a calibration; see `patchbank calibrate`."""

    false_alarm_rate: float | None
    review_rate: float | None
    group_by: str | None


class EvaluateOptions(CalibrateOptions, total=False):
    """Options of an evaluation; see `patchbank evaluate`."""

    image_size: int | None
    backbone: str | None


class FitOptions(EvaluateOptions, total=False):
    """Options of a fit; see `patchbank fit`."""

    screen: bool


class ImportOptions(TypedDict, total=False):
    """Options of an import; see `patchbank import-anomalib`."""

    backbone: str | None
    layers: str | None
    image_size: int | None
    center_crop: int | None
    image_score: Literal["max", "top1percent", "reweighted"] | None
    assume_defaults: bool
    replace: bool


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


def beginning(
    kind: Literal["fit", "calibrate", "check"],
    category: str,
    images: Sequence[ImageFile] | Mapping[str, ImageFile] | None,
    folder: str | None,
    options: Parameters,
) -> Call:
    """Return the call that begins a job with images, or with a folder of the service's machine."""
    if (images is None) == (folder is None):
        raise ParameterError("give either images or a folder of the service's machine")
    path = address(category, kind)
    if images is None:
        return Call("POST", path, options, json={"folder": folder})
    named = (
        images.items()
        if isinstance(images, Mapping)
        else [(_name_of(image, number), image) for number, image in enumerate(images, 1)]
    )
    files = [("image", (name, _content_of(image))) for name, image in named]
    return Call("POST", path, options, files=files)


def evaluating(category: str, folder: str, dataset: str, options: EvaluateOptions) -> Call:
    """Return the call that begins an evaluation; see `Client.evaluate`."""
    wanted = {"folder": folder, "dataset": dataset}
    return Call("POST", address(category, "evaluate"), {**options}, json=wanted)


def importing(category: str, file: str, options: ImportOptions) -> Call:
    """Return the call that begins an import; see `Client.import_anomalib`."""
    return Call("POST", address(category, "import-anomalib"), json={"file": file, **options})


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


def _name_of(image: ImageFile, number: int) -> str:
    return f"image-{number:06}" if isinstance(image, bytes) else Path(image).as_posix()


def _content_of(image: ImageFile) -> bytes | ImageReader:
    return image if isinstance(image, bytes) else ImageReader(Path(image))


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
