"""What the use cases share in one process: the database, and extractors that are made once."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from patchbank.caches import cache_folder, use_home
from patchbank.errors import ParameterError
from patchbank.forks import Opener
from patchbank.inspection.address_space import take_address_space
from patchbank.settings import get_settings
from patchbank.vision.decoded_image import ImageLimits

if TYPE_CHECKING:
    from patchbank.store.connecting import Limits
    from patchbank.store.database import Database
    from patchbank.vision.extractor import Extractor
    from patchbank.vision.extractor_settings import ExtractorSettings
    from patchbank.vision.quantised import QuantisedGraph

# Quantised graphs belong to one bank each: a server that lives through many refits keeps these.
_MOST_EXTRACTORS = 16


class Workspace:
    """The database and the extractors of this process, each opened when first needed.

    Parameters
    ----------
    home
        Folder of the embedded database and of compiled graphs; the settings' own by default.
    database_url
        URL of your own PostgreSQL server; the embedded server by default.

    Attributes
    ----------
    reads_inspected_files
        Whether an inspected image that is not in the database may be read from the file that it is
        named after; not where others choose the names, as clients of the service do.
    """

    def __init__(self, *, home: Path | None = None, database_url: str | None = None) -> None:
        settings = get_settings()
        self.settings = settings
        self.reads_inspected_files = True
        self.home = _without_tilde(home or settings.home)
        use_home(self.home)
        self.database_url = database_url or settings.database_url
        self.limits = ImageLimits(
            max_bytes=int(settings.max_image_megabytes * 1e6),
            max_pixels=int(settings.max_image_megapixels * 1e6),
        )
        self._opener = Opener(f"the workspace of {self.home}")
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._extractors: dict[tuple[ExtractorSettings, str | None], Extractor] = {}

    @property
    def largest_bank_file(self) -> int:
        """The largest bank's file that is read, in bytes."""
        return int(self.settings.max_bank_file_gigabytes * 1e9)

    @property
    def opened_database(self) -> Database | None:
        """The database if it is open; None if the next use would open it."""
        return self._database

    @property
    def database_limits(self) -> Limits:
        """How long the database may take."""
        from patchbank.store.connecting import Limits

        return Limits(
            connect=self.settings.database_connect_seconds,
            answer=self.settings.database_answer_seconds,
        )

    @property
    def database(self) -> Database:
        """The open database; opened, and its server started, at the first use."""
        from patchbank.store.database import open_database
        from patchbank.store.retention import InspectionRetention
        from patchbank.store.versions import Retention

        self._opener.check()
        with self._lock:
            if self._database is None:
                self._database = open_database(
                    self.database_url,
                    self.home,
                    idle_minutes=self.settings.database_idle_minutes,
                    limits=self.database_limits,
                    retention=Retention(self.settings.keep_versions, self.settings.keep_days),
                    inspection_retention=InspectionRetention(
                        self.settings.keep_inspections_days, self.settings.keep_inspections_bytes
                    ),
                )
            return self._database

    def extractor(
        self, settings: ExtractorSettings, quantised: QuantisedGraph | None = None
    ) -> Extractor:
        """Return the extractor of these settings and this graph, compiled once per process."""
        self._opener.check()
        key = settings, None if quantised is None else quantised.sha256
        with self._lock:
            extractor = self._extractors.pop(key, None)
            if extractor is None:
                extractor = self._new_extractor(settings, quantised)
            self._extractors[key] = extractor
            if len(self._extractors) > _MOST_EXTRACTORS:
                # The one that nobody asked for the longest; who uses it still may go on.
                del self._extractors[next(iter(self._extractors))]
            return extractor

    def temporary_extractor(self, settings: ExtractorSettings) -> Extractor:
        """Return an extractor that is not kept: its memory is free when its user lets it go."""
        self._opener.check()
        return self._new_extractor(settings, None)

    def _new_extractor(
        self, settings: ExtractorSettings, quantised: QuantisedGraph | None
    ) -> Extractor:
        from patchbank.vision.extractor import Extractor

        take_address_space()
        return Extractor(
            settings,
            quantised=quantised,
            threads=self.settings.threads,
            cache_folder=cache_folder("graphs", self.home),
        )

    def close(self) -> None:
        """Close the database connections; the embedded server stays up for the next command."""
        if not self._opener.is_this_process:
            return  # they are the parent's
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _without_tilde(home: Path) -> Path:
    """Return a path without ``~``, which stands for nothing where an account has no home."""
    try:
        return home.expanduser()
    except RuntimeError as error:
        raise ParameterError(
            f"home folder {home}: this account has no home folder; set PATCHBANK_HOME"
        ) from error
