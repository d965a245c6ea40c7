"""What the routes of the service share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fastapi import Request

from patchbank.inspection.judging.live_bank import ReadyBank
from patchbank.inspection.judging.recording import record_together
from patchbank.inspection.keeping.access import Keyring
from patchbank.inspection.keeping.bank_map import RememberedMaps
from patchbank.inspection.keeping.records import BankOf
from patchbank.inspection.measuring.judged_defects import RememberedDefects
from patchbank.inspection.workspace import Workspace
from patchbank.line.delivering import Deliverer
from patchbank.memory.threads import on_cores
from patchbank.server.feed import Feed
from patchbank.server.inspecting import Inspecting
from patchbank.server.jobs import JobRunner
from patchbank.server.judging import Inspectors, JudgingPool
from patchbank.server.metrics import Metrics
from patchbank.server.recent import RecentInspections
from patchbank.server.recording import RecordingLine
from patchbank.server.returning import MemoryReturn
from patchbank.server.teaching import Teaching
from patchbank.server.warming import Warming
from patchbank.settings import usable_cores
from patchbank.store.inspections import InspectionRecord

# So many wait, besides the one that is made.
_MOST_STUDIES = 4


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
        # Whoever sends an image chooses its name.
        workspace.reads_inspected_files = False
        self.options = options
        self.keyring = Keyring(workspace)
        self.recording = RecordingLine(partial(record_together, workspace))
        # One more than there are cores: it works on while another waits for the database or for
        # Python's lock.
        self.pool = JudgingPool(
            usable_cores() + 1, settings.serve_waiting, lambda: self.recording.pending
        )
        self.inspectors = Inspectors(workspace, settings.serve_banks)
        self.teaching = Teaching(workspace, self.inspectors, self.pool)
        # What takes seconds and changes nothing.
        self.studies = JudgingPool(1, _MOST_STUDIES)
        self.defects = RememberedDefects()
        self.maps = RememberedMaps()
        self.recent = RecentInspections(int(settings.serve_recent_megabytes * 1e6))
        self.feed = Feed(workspace)
        self.deliverer = Deliverer(workspace)
        self.warming = Warming(workspace, self.inspectors, self.teaching)
        self.jobs = JobRunner(workspace, self.warming.warm_up)
        self.metrics = Metrics(workspace, self.pool, self.inspectors, self.jobs)
        self.inspecting = Inspecting(
            workspace,
            self.inspectors,
            self.pool,
            self.recording,
            self.recent,
            self.feed,
            self.deliverer,
            self.metrics,
        )
        self.memory_return = MemoryReturn()

    def begin(self) -> None:
        """Read the banks into memory, and send what is to be sent, in the background."""
        self.warming.begin()
        self.deliverer.begin()
        self.jobs.begin()
        self.memory_return.begin()

    def close(self) -> None:
        """Wait for what was begun, and write what is counted."""
        self.memory_return.close()
        self.jobs.close()
        self.metrics.close()
        self.warming.close()
        self.teaching.close()
        self.studies.close()
        self.pool.close()
        self.recording.close()
        self.deliverer.close()
        self.keyring.close()

    async def judge_again(
        self,
        category: str,
        inspection_id: int,
        draw: Callable[[Workspace, str, int, BankOf], bytes],
    ) -> bytes:
        """Return the picture that `draw` makes of an inspection, by the bank that judged it.

        Raises
        ------
        BusyError
            If too many images are waiting.
        """

        def work(alone: bool) -> bytes:
            def bank_of(found: InspectionRecord) -> ReadyBank:
                return self.inspectors.that_judged(category, found)

            with on_cores(alone):
                return draw(self.workspace, category, inspection_id, bank_of)

        return await self.pool.run(work)


def service_of(request: Request) -> Service:
    """Return the service that a request was made to."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
