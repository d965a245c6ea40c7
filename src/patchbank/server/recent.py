"""The last inspections of this process, with their images and anomaly maps."""

from __future__ import annotations

import threading
from collections import OrderedDict

from patchbank.inspection.verdicts import Inspection


class RecentInspections:
    """Keeps the last inspections in memory, for pages that show them: no pass is in the database.

    Thread-safe.

    Parameters
    ----------
    most_bytes
        What their images and maps may take; the oldest go.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self._taken = most_bytes, 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], Inspection] = OrderedDict()

    def keep(self, inspection: Inspection) -> None:
        """Keep an inspection, whose source must be the content of its image."""
        number, size = inspection.inspection_id, _bytes_of(inspection)
        if number is None or size > self._most:
            return
        with self._lock:
            self._kept[inspection.category, number] = inspection
            self._taken += size
            while self._taken > self._most:
                _, oldest = self._kept.popitem(last=False)
                self._taken -= _bytes_of(oldest)

    def find(self, category: str, inspection_id: int) -> Inspection | None:
        """Return an inspection if it is still kept."""
        with self._lock:
            return self._kept.get((category, inspection_id))


def _bytes_of(inspection: Inspection) -> int:
    assert isinstance(inspection.source, bytes)
    return len(inspection.source) + inspection.anomaly_map.nbytes
