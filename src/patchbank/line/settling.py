"""What is left to do with a judged file: to move it, and to write its line."""

from __future__ import annotations

from collections.abc import Callable

from patchbank.errors import DiskFullError, OutputError
from patchbank.line.folders import WatchedFolder
from patchbank.line.moving import Mover
from patchbank.line.results_file import Result, ResultsFile
from patchbank.store.watched_files import HandledFile, WatchedFile, WatchedFiles

# Done together.
_MOST = 500


class Settler:
    """Moves files that were judged and writes their lines, each once, also after a crash.

    Parameters
    ----------
    folder
        The watched folder.
    on_failure
        Called with what keeps a file from being moved or a line from being written.
    """

    def __init__(
        self,
        category: str,
        folder: WatchedFolder,
        mover: Mover,
        results: ResultsFile | None,
        on_failure: Callable[[str], None],
    ) -> None:
        self._category, self._folder = category, folder
        self._mover, self._results, self._on_failure = mover, results, on_failure
        self._failed: set[str] = set()

    def settle(self, files: WatchedFiles) -> tuple[list[WatchedFile], bool]:
        """Do what is left; return the files that are in the folder no longer, and whether all is.

        Raises
        ------
        DatabaseError, DiskFullError, OSError, OtherFolderError
            If the database or the folder is away; then some may have been moved, and are found at
            the next try.
        """
        gone: list[WatchedFile] = []
        # Those that cannot be moved keep no others back.
        stuck = 0
        self._failed.clear()
        while pending := files.pending(self._category, self._folder.id, _MOST, stuck):
            results = self._moved(pending)
            stuck += len(pending) - len(results)
            if any(result.path is None for result in results):
                # Files that nobody can see are not gone.
                self._folder.check()
            if not self._written(results):
                return gone, False
            left = [result.handled.file for result in results if self._leaves(result)]
            stay = [result.handled.file for result in results if not self._leaves(result)]
            files.forget(self._category, left)
            files.finish(self._category, stay)
            gone += left
        return gone, not stuck

    def _moved(self, pending: list[HandledFile]) -> list[Result]:
        results = []
        for handled in pending:
            try:
                results.append(Result(handled, self._mover.move(handled)))
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                # Of many that wait for the same drive, the first.
                if reason not in self._failed:
                    self._failed.add(reason)
                    self._on_failure(f"{handled.name} cannot be moved: {reason}; tried again")
        return results

    def _written(self, results: list[Result]) -> bool:
        if self._results is None:
            return True
        try:
            self._results.add(results)
        except (OutputError, DiskFullError) as error:
            self._on_failure(f"{error}; tried again")
            return False
        return True

    def _leaves(self, result: Result) -> bool:
        # One that is gone is forgotten when the folder is looked at again.
        return result.path is not None and self._mover.moves(result.handled)
