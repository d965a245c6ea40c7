"""A client of the service: `patchbank serve`. It needs the extra `client`.

Examples
--------
>>> from patchbank.client import Client
>>> with Client("https://inspection.example", key="pbk_...") as client:  # doctest: +SKIP
...     client.inspect("leather", "part.png", part="4711").verdict
'pass'
"""

from __future__ import annotations

from patchbank.environment import install_command
from patchbank.errors import MissingExtraError, ServiceAwayError, ServiceError

try:
    from patchbank.client.async_clients import AsyncClient
    from patchbank.client.clients import Client
except ModuleNotFoundError as error:
    raise MissingExtraError(
        f"the client needs the extra `client`: {install_command('patchbank[client]')}"
    ) from error

__all__ = ["AsyncClient", "Client", "ServiceAwayError", "ServiceError"]
