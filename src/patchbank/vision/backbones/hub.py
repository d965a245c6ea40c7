"""Files of the Hugging Face hub, downloaded so that an interruption costs only what is missing.

``huggingface_hub`` knows the addresses, the user's token and ``HF_ENDPOINT``. The transfer is ours,
because that of recent versions begins again after an interruption.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from patchbank.errors import DownloadError, MissingExtraError
from patchbank.progress import Progress, silent

_log = logging.getLogger(__name__)

_TRIES: Final = 5
_TIMEOUT_SECONDS: Final = 20.0
_WAIT_SECONDS: Final = 1.0
_PARTIAL: Final = 206
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class HubFile:
    """A file of the hub at one commit.

    Parameters
    ----------
    repository : str
    file : str
    revision : str
        Commit.
    size : int
        In bytes.
    sha256 : str or None
        Hex digest, where the hub tells it: of large files.
    """

    repository: str
    file: str
    revision: str
    size: int
    sha256: str | None


def find_file(repository: str, file: str, revision: str | None = None) -> HubFile:
    """Return what the hub has of that name, at a commit or, without one, now.

    Raises
    ------
    MissingExtraError
        huggingface_hub is not installed.
    DownloadError
        The hub cannot be reached or does not have it.
    """
    library = _library()
    with _explained(repository, file):
        found = library.get_hf_file_metadata(
            _address(repository, file, revision), timeout=_TIMEOUT_SECONDS
        )
    if found.commit_hash is None or found.size is None:
        raise DownloadError(
            f"{repository}: the answer for {file} is not that of a Hugging Face hub; "
            "check HF_ENDPOINT"
        )
    etag = found.etag or ""
    digest = etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None
    return HubFile(repository, file, found.commit_hash, found.size, digest)


def download(wanted: HubFile, folder: Path, *, progress: Progress = silent) -> Path:
    """Download a file into a folder and go on where an earlier attempt was interrupted.

    Parameters
    ----------
    wanted : HubFile
    folder : Path
        It exists, and no other process downloads into it now.
    progress : Progress
        In megabytes.

    Returns
    -------
    Path
        Of the complete file; its digest is not checked.

    Raises
    ------
    DownloadError
        The connection broke again and again; what came is kept for the next attempt.
    """
    part = folder / f"{wanted.revision[:40]}.part"
    stage = f"{wanted.repository}, MB"
    failures = 0
    with part.open("ab") as file:
        furthest = file.tell()
        while file.tell() < wanted.size:
            try:
                with _explained(wanted.repository, wanted.file):
                    for done in _transfer(wanted, file):
                        progress(stage, done // _MEGABYTE, -(-wanted.size // _MEGABYTE))
                if file.tell() < wanted.size:
                    raise DownloadError(f"{wanted.repository}: the hub sent too little")
            except DownloadError as error:
                _log.warning("download of %s broke off: %s", wanted.file, error)
                # Attempts that brought something do not count: a bad line gets there in the end.
                failures = failures + 1 if file.tell() <= furthest else 1
                furthest = max(furthest, file.tell())
                if failures >= _TRIES:
                    raise
                time.sleep(_WAIT_SECONDS)
        if file.tell() > wanted.size:
            file.truncate(0)
            raise DownloadError(
                f"{wanted.repository}: {wanted.file} is larger than the hub said; try again"
            )
    return part


def _transfer(wanted: HubFile, file: IO[bytes]) -> Iterator[int]:
    """Append what is missing; yield the bytes there are so far."""
    library = _library()
    from huggingface_hub import utils

    url = _address(wanted.repository, wanted.file, wanted.revision)
    headers = {
        **utils.build_hf_headers(),  # type: ignore[attr-defined, unused-ignore]
        # A compressed answer would have other positions.
        "Accept-Encoding": "identity",
        "Range": f"bytes={file.tell()}-",
    }
    session = library.get_session()
    with session.stream("GET", url, headers=headers, timeout=_TIMEOUT_SECONDS) as response:
        library.hf_raise_for_status(response)
        if response.status_code != _PARTIAL:
            # The whole file comes, from its beginning.
            file.truncate(0)
        for chunk in response.iter_bytes():
            file.write(chunk)
            file.flush()
            if file.tell() > wanted.size:
                return
            yield file.tell()


def _address(repository: str, file: str, revision: str | None) -> str:
    # Named here too: the library reads the variable once, when it is imported.
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    return str(_library().hf_hub_url(repository, file, revision=revision, endpoint=endpoint))


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtraError(
            "downloads need the package huggingface_hub; "
            "install it with: pip install 'patchbank[hub]'"
        ) from error
    return huggingface_hub


@contextmanager
def _explained(repository: str, file: str) -> Iterator[None]:
    """Turn what goes wrong between the hub and us into one line."""
    # The library raises the errors of the HTTP client it is built on.
    from httpx2 import HTTPError
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as error:
        raise DownloadError(f"{repository}: the hub does not have {file} there") from error
    except OfflineModeIsEnabled as error:
        raise DownloadError(f"{repository}: HF_HUB_OFFLINE forbids downloads") from error
    except HfHubHTTPError as error:
        code = error.response.status_code
        raise DownloadError(f"{repository}: the hub answered {code} for {file}") from error
    except (HTTPError, ConnectionError, TimeoutError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadError(f"{repository}: the hub cannot be reached ({reason})") from error
