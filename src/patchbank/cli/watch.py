"""`patchbank watch`."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import EXIT_ERROR, EXIT_FAILED, guarded
from patchbank.cli.output import print_json, print_remarks, talk
from patchbank.cli.verdicts import print_verdict
from patchbank.inspection.verdicts import Inspection, Refused
from patchbank.inspection.workspace import Workspace
from patchbank.line.delivering import Deliverer
from patchbank.line.watching import DEFAULT_SETTLE, Watcher, WatchOptions


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("watch")(guarded(watch_command))


def watch_command(
    category: options.Category,
    folder: Annotated[
        Path,
        typer.Argument(help="The folder that images come into.", show_default=False),
    ],
    passed: Annotated[
        Path | None,
        typer.Option(
            "--pass", metavar="DIR", help="Move the files of images that pass to this folder."
        ),
    ] = None,
    fail: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Move those that fail to this folder."),
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Move those that a person must see to this folder."),
    ] = None,
    refused: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Move files that cannot be judged to this folder, each with its reason beside it.",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Append a line for each file to this file."),
    ] = None,
    station: options.StationToRecord = None,
    part_from: options.PartFrom = None,
    settle: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="For how long a file must not have changed until it is judged.",
        ),
    ] = DEFAULT_SETTLE,
    once: Annotated[
        bool, typer.Option("--once", help="Stop when all that is there is judged.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Judge the images that come into a folder, each exactly once, until Ctrl-C.

    Without a folder for its verdict, a file stays where it is. After a restart or a crash it goes
    on where it was.

    With --once, exits like `patchbank inspect`: 0 when all pass, 1 when any does not, 2 when an
    image could not be judged.
    """
    targets = {"pass": passed, "fail": fail, "review": review, "refused": refused}
    code = 0

    def show(result: Inspection | Refused) -> None:
        nonlocal code
        if isinstance(result, Refused):
            code = EXIT_ERROR
            talk().print(f"patchbank: {result.error}", markup=False, style="red")
            if json:
                print_json({"category": category, **result.to_json()})
            return
        code = code or (0 if result.passed else EXIT_FAILED)
        if json:
            print_json(result.to_json())
        else:
            print_verdict(result)
        deliverer.wake()

    with Workspace() as workspace, Deliverer(workspace) as deliverer:
        watcher = Watcher(
            workspace,
            category,
            folder,
            WatchOptions(
                {verdict: target for verdict, target in targets.items() if target is not None},
                results,
                station,
                part_from,
                settle,
                once,
            ),
            on_result=show,
            on_remark=lambda text: print_remarks([text]),
        )
        if not once:
            talk().print(f"watching {folder}; Ctrl-C stops it", markup=False)
        with _stopping(watcher):
            watcher.run()
    return code if once else 0


@contextlib.contextmanager
def _stopping(watcher: Watcher) -> Iterator[None]:
    """Let a first Ctrl-C, or a service manager's stop, end the watcher after what was begun."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: FrameType | None) -> None:
        watcher.stop()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
