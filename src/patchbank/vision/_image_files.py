"""Read image files, with a one-line error if that fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from patchbank.errors import ImageError
from patchbank.files import UnfitFileError, read_regular
from patchbank.printable import printable


def read_image_file(path: Path, most_bytes: int) -> bytes:
    """Return a regular file's bytes; other files, such as pipes, are not opened.

    Raises
    ------
    ImageError
        If the file cannot be read, is empty, or is larger than `most_bytes`.
    """
    shown = printable(str(path))
    try:
        content = read_regular(path, most_bytes)
    except IsADirectoryError as error:
        raise _folder_error(path, shown) from error
    except UnfitFileError as error:
        if error.errno == errno.EFBIG:
            raise ImageError(
                f"{shown}: {error.strerror}; use a smaller file or raise "
                "PATCHBANK_MAX_IMAGE_MEGABYTES"
            ) from error
        raise ImageError(f"{shown}: {error.strerror}") from error
    except FileNotFoundError as error:
        if os.path.lexists(path):
            raise ImageError(f"{shown}: is a broken link; repair or remove it") from error
        raise ImageError(f"{shown}: does not exist; check the path") from error
    except PermissionError as error:
        raise ImageError(f"{shown}: cannot be read; check its permissions") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        reason = (
            os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        )
        raise ImageError(f"{shown}: cannot be read ({reason}); check the path") from error
    if not content:
        raise ImageError(f"{shown}: is empty (0 bytes); write the image again")
    return content


def _folder_error(path: Path, shown: str) -> ImageError:
    """Return the error for a folder; one found among images is unreadable."""
    try:
        os.scandir(path).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return ImageError(f"{shown}: the folder cannot be read ({reason}); check its permissions")
    return ImageError(f"{shown}: is a folder; give an image file")
