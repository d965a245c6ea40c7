"""Paths of the service's machine that clients name."""

from __future__ import annotations

from pathlib import Path

from patchbank.errors import ForbiddenError, ParameterError
from patchbank.server.service import Service


def allowed_path(service: Service, path: str, name: str = "folder") -> Path:
    """Return a path below a folder that the service was started with, links followed.

    Parameters
    ----------
    name
        What messages call it.

    Raises
    ------
    ForbiddenError
        If it is elsewhere.
    ParameterError
        If it cannot be a path.
    """
    try:
        found = Path(path).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise ParameterError(f"{name} {path!r}: {error}") from error
    if not any(found.is_relative_to(folder) for folder in service.options.folders):
        raise ForbiddenError(
            f"{name} {path!r}: not below a folder that `patchbank serve --folder` allows"
        )
    return found
