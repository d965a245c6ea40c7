"""What the routes of the service share."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from patchbank.errors import NotFittedError, PatchbankError
from patchbank.inspection.keeping.access import Keyring
from patchbank.inspection.workspace import Workspace
from patchbank.server.feed import Feed
from patchbank.server.judging import Inspectors, JudgingPool
from patchbank.server.recent import RecentInspections
from patchbank.settings import usable_cores

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServiceOptions:
    """How the service is run.

    Attributes
    ----------
    hosts
        The names under which browsers may ask for it; empty for any.
    folders
        Folders of this machine from which a fit may be asked to take its images.
    """

    hosts: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()


class Service:
    """The workspace of a running service, its keys, and what judges."""

    def __init__(self, workspace: Workspace, options: ServiceOptions) -> None:
        settings = workspace.settings
        self.workspace = workspace
        self.options = options
        self.keyring = Keyring(workspace)
        self.pool = JudgingPool(usable_cores(), settings.serve_waiting)
        self.inspectors = Inspectors(workspace, settings.serve_banks)
        self.recent = RecentInspections(int(settings.serve_recent_megabytes * 1e6))
        self.feed = Feed(workspace)
        # Until the banks are in memory.
        self.warming = threading.Thread(target=self._warm, name="patchbank-warming", daemon=True)
        self._closing = False

    def begin(self) -> None:
        """Read the banks into memory, in the background."""
        self.warming.start()

    def close(self) -> None:
        """Wait for what was begun, and write what is counted."""
        self._closing = True
        self.pool.close()
        self.keyring.close()

    def _warm(self) -> None:
        try:
            names = self.workspace.database.categories.names()
        except PatchbankError as error:
            _log.warning("the banks are read when they are asked for: %s", error)
            return
        for name in names:
            if self._closing or len(self.inspectors.ready) >= self.workspace.settings.serve_banks:
                return
            try:
                self.inspectors.of(name)
            except NotFittedError:
                continue
            except PatchbankError as error:
                _log.warning("category %r cannot be judged by: %s", name, error)


def service_of(request: Request) -> Service:
    """Return the service that a request was made to."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
