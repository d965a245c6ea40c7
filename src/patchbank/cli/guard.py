"""Turns errors into one line and an exit code, around every command."""

from __future__ import annotations

import functools
import logging
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec

import typer

from patchbank.cli.logs import OWN, asked_for
from patchbank.cli.output import (
    give_output_away,
    print_remarks,
    talk,
    writes_records,
    writing_output,
)
from patchbank.errors import DiskFullError, ParameterError, PatchbankError, PatchbankWarning
from patchbank.files import is_disk_full
from patchbank.printable import printable
from patchbank.refused_values import refused_value
from patchbank.settings import get_settings

EXIT_FAILED = 1
EXIT_ERROR = 2
# EX_SOFTWARE of sysexits.h: a defect of ours, never a word about an image.
EXIT_CRASHED = 70
# 128 + the signal's number, as shells report it.
EXIT_INTERRUPTED = 130
EXIT_NO_READER = 141

_LONGEST_REASON = 500

_NO_MEMORY = (
    "there is not enough memory; give smaller or fewer images, a smaller image size or "
    "--memory-limit, or free some (or raise a limit of this process: ulimit -v, ulimit -d)"
)
# Of the dynamic linker, C++, OpenVINO, the system, and Python.
_WORDS_FOR_NO_MEMORY = re.compile(
    r"failed to map segment|cannot map zero-fill pages|bad_alloc|can't alloc"
    r"|cannot allocate memory|can't start new thread",
    re.IGNORECASE,
)

Arguments = ParamSpec("Arguments")


def guarded(command: Callable[Arguments, int | None]) -> Callable[Arguments, None]:
    """Wrap a command so that a user's mistake prints one line; its result is the exit code.

    Only patchbank's own errors, an interrupt, a closed pipe and a refusal of the operating system
    are caught: anything else is a defect of ours, which `crashed` reports at the outermost door.
    """

    @functools.wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        if sys.stdout is None:
            raise typer.Exit(complain("standard output is closed; redirect it instead"))
        previous = signal.signal(signal.SIGTERM, _terminate)
        show = warnings.showwarning
        warnings.showwarning = _remarking(show)
        try:
            code = command(*args, **kwargs) or 0
            with writing_output():
                sys.stdout.flush()
        except PatchbankError as error:
            code = complain(str(error))
            _show_trace(error)
        except MemoryError as error:
            code = complain(_NO_MEMORY)
            _show_trace(error)
        except (KeyboardInterrupt, typer.Abort):
            # A second Ctrl-C would only cut the clearing up short.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            code = EXIT_INTERRUPTED
            talk().print("patchbank: interrupted; every active bank is as it was", markup=False)
        except BrokenPipeError:
            # The reader of our output has gone (`| head`): nothing more to say, and no verdict on
            # the images, so neither 0 nor 1.
            give_output_away()
            code = EXIT_NO_READER
        except OSError as error:
            if is_disk_full(error):
                code = complain(str(DiskFullError()))
            elif error.filename is not None:
                code = complain(f"{error.filename}: {(error.strerror or str(error)).lower()}")
            elif isinstance(error, FileNotFoundError) and not _is_somewhere():
                code = complain("the current folder is gone; change to another (cd)")
            else:
                code = crashed(error)
        finally:
            warnings.showwarning = show
            signal.signal(signal.SIGTERM, previous)
        if code:
            raise typer.Exit(code)

    return run


def complain(message: str) -> int:
    """Print an error as one line on standard error and return its exit code."""
    talk().print(f"patchbank: {message.strip()}", markup=False, style="red")
    return EXIT_ERROR


def complain_of_usage(error: Any) -> int:
    """Print what Typer says of the options and arguments that were given, as one line."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return EXIT_ERROR
    message = " ".join(_refusal(error).split()).removesuffix(".")
    command = "patchbank" if error.ctx is None else error.ctx.command_path
    return complain(printable(f"{message[:1].lower()}{message[1:]}; see {command} --help"))


def _refusal(error: Any) -> str:
    """Return Typer's message; in our words if it is pydantic's, which Typer checks values with."""
    from pydantic import ValidationError

    if isinstance(error.__cause__, ValidationError) and error.param is not None:
        value, allowed = refused_value(error.__cause__)
        if allowed is not None:
            names = error.param.opts if error.param.param_type_name == "option" else ()
            return f"{max(names, key=len, default=error.param.name)} {value}: {allowed}"
    message: str = error.format_message()
    return message.replace(": Value error, ", ": ")


def crashed(error: Exception) -> int:
    """Print an unexpected exception as one line on standard error and return its exit code."""
    _show_trace(error)
    if _lacks_memory(error):
        return complain(_NO_MEMORY)
    reason = " ".join(str(error).split())[:_LONGEST_REASON]
    advice = "" if debugging() else "run again with --debug for the trace, and "
    complain(
        f"internal error: {type(error).__name__}{f': {reason}' if reason else ''}; this is a "
        f"defect of patchbank: {advice}report it"
    )
    return EXIT_CRASHED


def _is_somewhere() -> bool:
    """Say whether the current folder is there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _lacks_memory(error: BaseException | None) -> bool:
    """Say whether an error, or what led to it, is a library's word for memory it did not get."""
    while error is not None:
        if isinstance(error, MemoryError) or _WORDS_FOR_NO_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _show_trace(error: Exception) -> None:
    if debugging() and writes_records():
        logging.getLogger(OWN).debug("trace of the error", exc_info=error)
    elif debugging():
        for text in traceback.format_exception(error):
            for line in text.rstrip("\n").split("\n"):
                talk().print(line, markup=False)


def debugging() -> bool:
    """Return whether traces are wanted, by ``--debug`` or by the setting."""
    if asked_for("--debug"):
        return True
    try:
        return get_settings().debug
    except ParameterError:
        return False


def _remarking(show: Callable[..., None]) -> Callable[..., None]:
    """Return what shows a warning of ours as a remark, and leaves others to `show`."""

    def remark(message: Warning | str, category: type[Warning], *origin: Any) -> None:
        if issubclass(category, PatchbankWarning):
            print_remarks([str(message)])
        else:
            show(message, category, *origin)

    return remark


def _terminate(number: int, frame: FrameType | None) -> None:
    # A service manager's stop is treated as Ctrl-C: work is rolled back, not cut off.
    raise KeyboardInterrupt
