"""What the commands print: documents on standard output, talk and progress on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from patchbank.progress import Progress as ProgressCallback
from patchbank.progress import silent


class _Console(Console):
    """A console that leaves a closed pipe to `guarded`, and takes text as it is."""

    def on_broken_pipe(self) -> None:
        # Rich calls this while it handles the error, and would end the process itself.
        raise


_showing: list[Console] = []


def talk() -> Console:
    """Return the console for people: standard error, plain where it is not a terminal.

    While progress is shown, it is the console that shows it, which keeps text and bars apart.
    """
    if _showing:
        return _showing[-1]
    return _Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def answer() -> Console:
    """Return the console for results: standard output, plain where it is not a terminal."""
    # Where nobody looks, tables are as wide as they need to be.
    width = None if sys.stdout.isatty() else 200
    return _Console(highlight=False, soft_wrap=True, width=width, emoji=False)


def print_json(document: dict[str, Any]) -> None:
    """Write one JSON document as one line on standard output."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    # A path that is not valid UTF-8 holds what cannot be encoded.
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


class _RateColumn(ProgressColumn):
    """Units per second, once they are known."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="dim")


@contextmanager
def show_progress(*, results_appear: bool = False) -> Iterator[ProgressCallback]:
    """Yield a progress callback: bars with count, rate and time left, silent without a terminal.

    Parameters
    ----------
    results_appear
        Whether results are printed while the work goes on: on a terminal they show how far it is,
        and bars would be drawn over them.
    """
    console = talk()
    if not console.is_terminal or (results_appear and sys.stdout.isatty()):
        yield silent
        return
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        # Otherwise the bars take standard output too, and `> file` would stay empty.
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        _showing.append(console)
        try:
            yield report
        finally:
            _showing.remove(console)
