"""What the commands print: documents on standard output, talk and progress on standard error.

The one door to the terminal: text is escaped here, whoever it came from.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

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
from rich.table import Table
from rich.text import Text

from patchbank.cli.logs import OWN, OwnRecords, Style, formatter
from patchbank.errors import OutputError, ParameterError
from patchbank.printable import finite, printable
from patchbank.progress import Progress as ProgressCallback
from patchbank.progress import silent
from patchbank.reports.writing import checked_file, new_text

if TYPE_CHECKING:
    from patchbank.inspection.verdicts import Refused

# How a service wants standard error, if one does.
_styles: list[Style] = []
_LEVELS = {"red": logging.ERROR, "yellow": logging.WARNING}
# Tells people whose words, or what kind of words, they read.
_PREFIX = re.compile(r"^(patchbank: |remark +)")


def writes_records() -> bool:
    """Return whether standard error has a record on every line, for a service."""
    return bool(_styles)


class _Console(Console):
    """A console that escapes text, and leaves a closed pipe to `guarded`."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does; a string is one line, whatever is in it.

        Raises
        ------
        OutputError
            If standard output does not take it. What standard error does not take is lost: the
            exit code still says how it went.
        """
        if self.stderr and _styles:
            # What is said to people goes the way of all records.
            level = _LEVELS.get(options.get("style", ""), logging.INFO)
            text = " ".join(str(shown) for shown in objects)
            logging.getLogger(OWN).log(level, "%s", _PREFIX.sub("", text))
            return
        texts = [printable(shown) if isinstance(shown, str) else shown for shown in objects]
        if not self.stderr:
            with writing_output():
                super().print(*texts, **options)
            return
        with contextlib.suppress(OSError):
            super().print(*texts, **options)

    def on_broken_pipe(self) -> None:
        # Rich calls this while it handles the error, and would end the process itself.
        raise


@contextmanager
def writing_output() -> Iterator[None]:
    """Turn what keeps standard output from being written, but a closed pipe, into `OutputError`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        give_output_away()
        raise OutputError(
            f"standard output cannot be written: {(error.strerror or str(error)).lower()}; what "
            "was to be printed is lost"
        ) from error


def give_output_away() -> None:
    """Let what is still to be written vanish: the interpreter would complain when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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


def print_table(
    columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], *, width: int = 0
) -> None:
    """Print a table on standard output.

    Parameters
    ----------
    columns
        Titles, and how they are laid out: ``"left"``, ``"right"`` or ``"fold"``, which is left and
        broken where it is too long.
    rows
        A text for each column.
    width
        The width that the table needs, which it gets where standard output is not a terminal.
    """
    table = Table(box=None, pad_edge=False)
    for title, layout in columns:
        if layout == "fold":
            table.add_column(title, overflow="fold")
        else:
            table.add_column(title, justify="right" if layout == "right" else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = answer()
    if not sys.stdout.isatty():
        console.width = max(console.width, width)
    console.print(table)


def print_remarks(remarks: Iterable[str]) -> None:
    """Write what a person should know though nothing failed, a line each, on standard error."""
    for remark in remarks:
        talk().print(f"remark   {remark}", markup=False, style="yellow")


def local_time(given: str | datetime) -> str:
    """Return a moment, as JSON has it or as an object, as people read it: in local time."""
    moment = datetime.fromisoformat(given) if isinstance(given, str) else given
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def print_refused(refused: Iterable[Refused]) -> None:
    """Write which images could not be used, a line each, on standard error."""
    for image in refused:
        talk().print(f"refused  {image.error}", markup=False, style="yellow")


def check_open(open_report: bool, report: Path | None) -> None:
    """Raise `ParameterError` if a page is to be opened that is not asked for."""
    if open_report and report is None:
        raise ParameterError("--open shows the page of --report; give --report FOLDER too")


def open_page(page: Path) -> None:
    """Open a page in the default browser, or print a remark if no browser is found."""
    import webbrowser  # it looks for browsers

    if not webbrowser.open(page.resolve().as_uri()):
        print_remarks([f"no browser was found to open {page} with"])


def print_json(document: dict[str, Any]) -> None:
    """Write one JSON document as one line on standard output.

    Infinity and NaN are written as null. The line is ASCII if standard output is not UTF-8.
    """
    universal = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    try:
        text = json.dumps(document, ensure_ascii=not universal, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(document), ensure_ascii=not universal, allow_nan=False)
    with writing_output():
        sys.stdout.write(printable(text, _as_in_json) + "\n")
        sys.stdout.flush()


def check_csv(target: str | None, *, json: bool) -> None:
    """Raise before the work where CSV cannot be written to a file, or not beside JSON."""
    if target == "-" and json:
        raise ParameterError("--csv - and --json: both write to standard output; give one of them")
    if target not in (None, "-"):
        checked_file(Path(target))


def write_csv(target: str, write: Callable[[TextIO], None]) -> None:
    """Have CSV written to a file, or to standard output where that is ``-``."""
    if target != "-":
        with new_text(Path(target)) as file:
            write(file)
        return
    with writing_output():
        # In UTF-8, as in a file, whatever the terminal has.
        text = TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=True)
        try:
            write(text)
        finally:
            text.detach()


def _as_in_json(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


class _Messages(logging.Handler):
    """Shows records as talk."""

    def emit(self, record: logging.LogRecord) -> None:
        for line in self.format(record).split("\n"):
            talk().print(line, markup=False, style="dim")


class _Lines(logging.Handler):
    """Writes a line for each record; what standard error does not take is lost."""

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr is not None:
            with contextlib.suppress(OSError):
                sys.stderr.write(self.format(record) + "\n")
                sys.stderr.flush()


def take_messages(*, verbose: bool, debug: bool, style: Style | None) -> None:
    """Keep from standard error what is logged and warned of, or show there what is asked for.

    What a user should know of it is in our own words: the driver's and the decoders' are not.

    Parameters
    ----------
    verbose
        Show what patchbank does.
    debug
        Show all of it, and what libraries log and warn of.
    style
        How a service wants standard error; then it is told what patchbank does in any case.
    """
    logging.captureWarnings(True)
    handler: logging.Handler = logging.NullHandler()
    if style is not None:
        _styles.append(style)
        handler = _Lines()
    elif verbose or debug:
        handler = _Messages()
    handler.setFormatter(formatter(style))
    handler.addFilter(OwnRecords(libraries=debug))
    logging.getLogger().addHandler(handler)
    logging.getLogger(OWN).setLevel(logging.DEBUG if debug else logging.INFO)


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
    if _styles or not console.is_terminal or (results_appear and sys.stdout.isatty()):
        yield silent
        return
    with Progress(
        # The usual spinner is of Braille characters.
        SpinnerColumn("line" if console.options.ascii_only else "dots"),
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
                tasks[stage] = bars.add_task(printable(stage), total=total)
            bars.update(tasks[stage], completed=done, total=total)

        _showing.append(console)
        try:
            yield report
        finally:
            _showing.remove(console)
