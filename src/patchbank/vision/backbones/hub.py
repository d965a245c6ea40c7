"""Download files from the Hugging Face hub and resume after an interruption.

``huggingface_hub`` handles the addresses, the user's token and ``HF_ENDPOINT``. The transfer is
ours, because recent versions of the library start over after an interruption.
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

from patchbank.environment import install_command
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
    """A file on the hub at a commit.

    Parameters
    ----------
    repository : str
    file : str
    revision : str
        The commit.
    size : int
        Size in bytes.
    sha256 : str or None
        Hex digest, which the hub only reports for large files.
    """

    repository: str
    file: str
    revision: str
    size: int
    sha256: str | None


def find_file(repository: str, file: str, revision: str | None = None) -> HubFile:
    """Return a file on the hub, at a commit or by default the latest one.

    Raises
    ------
    DownloadError
        If the server is not a Hugging Face hub.
    """
    library = _library()
    with _explained(repository, file):
        found = library.get_hf_file_metadata(
            _address(repository, file, revision), timeout=_TIMEOUT_SECONDS
        )
    if found.commit_hash is None or found.size is None:
        raise DownloadError(
            f"{repository}: the response for {file} is not from a Hugging Face hub; "
            "check HF_ENDPOINT"
        )
    etag = found.etag or ""
    digest = etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None
    return HubFile(repository, file, found.commit_hash, found.size, digest)


def download(wanted: HubFile, folder: Path, *, progress: Progress = silent) -> Path:
    """Download a file into a folder, resuming an interrupted attempt.

    Parameters
    ----------
    wanted : HubFile
    folder : Path
        An existing folder that no other process is downloading into.
    progress : Progress
        Called with megabytes.

    Returns
    -------
    Path
        The complete file; its digest is not checked.

    Raises
    ------
    DownloadError
        If the connection fails repeatedly; the partial file is kept for the next attempt.
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
                    raise DownloadError(
                        f"{wanted.repository}: the hub sent only part of {wanted.file}; try again"
                    )
            except DownloadError as error:
                _log.warning("download of %s was interrupted: %s", wanted.file, error)
                # Attempts with progress do not count, so that a bad connection succeeds eventually.
                failures = failures + 1 if file.tell() <= furthest else 1
                furthest = max(furthest, file.tell())
                if failures >= _TRIES:
                    raise
                time.sleep(_WAIT_SECONDS)
        if file.tell() > wanted.size:
            file.truncate(0)
            raise DownloadError(
                f"{wanted.repository}: {wanted.file} is larger than the hub reported; try again"
            )
    return part


def _transfer(wanted: HubFile, file: IO[bytes]) -> Iterator[int]:
    """Append the missing bytes; yield the size so far."""
    library = _library()
    from huggingface_hub import utils

    url = _address(wanted.repository, wanted.file, wanted.revision)
    headers = {
        # Some versions of the library do not export it to type checkers.
        **utils.build_hf_headers(),  # type: ignore[attr-defined, unused-ignore]
        # In a compressed response, byte positions would differ.
        "Accept-Encoding": "identity",
        "Range": f"bytes={file.tell()}-",
    }
    session = library.get_session()
    with session.stream("GET", url, headers=headers, timeout=_TIMEOUT_SECONDS) as response:
        library.hf_raise_for_status(response)
        if response.status_code != _PARTIAL:
            # The server sends the whole file from the start.
            file.truncate(0)
        for chunk in response.iter_bytes():
            file.write(chunk)
            file.flush()
            if file.tell() > wanted.size:
                return
            yield file.tell()


def _address(repository: str, file: str, revision: str | None) -> str:
    # Read here, because the library reads the variable only once, at import.
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    return str(_library().hf_hub_url(repository, file, revision=revision, endpoint=endpoint))


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtraError(
            "downloads need the package huggingface_hub; "
            f"install it with: {install_command('patchbank[hub]')}"
        ) from error
    return huggingface_hub


@contextmanager
def _explained(repository: str, file: str) -> Iterator[None]:
    """Turn errors from the hub into one-line messages."""
    # The library raises the errors of its HTTP client.
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
        raise DownloadError(f"{repository}: does not have {file} on the hub") from error
    except OfflineModeIsEnabled as error:
        raise DownloadError(f"{repository}: HF_HUB_OFFLINE disables downloads") from error
    except HfHubHTTPError as error:
        code = error.response.status_code
        raise DownloadError(f"{repository}: the hub answered {code} for {file}") from error
    except (HTTPError, ConnectionError, TimeoutError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadError(f"{repository}: the hub cannot be reached ({reason})") from error
