"""Turns errors into one line and an exit code, around every command."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import ParamSpec

import typer

from patchbank.cli.output import talk
from patchbank.errors import DiskFullError, PatchbankError

EXIT_FAILED = 1
EXIT_ERROR = 2
# 128 + the signal's number, as shells report it.
EXIT_INTERRUPTED = 130
EXIT_NO_READER = 141

Arguments = ParamSpec("Arguments")


def guarded(command: Callable[Arguments, int | None]) -> Callable[Arguments, None]:
    """Wrap a command so that a user's mistake prints one line; its result is the exit code.

    Only patchbank's own errors, an interrupt, a closed pipe and a refusal of the operating system
    are caught: anything else is a defect of ours, and its traceback is wanted.
    """

    @functools.wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        if sys.stdout is None:
            raise typer.Exit(complain("standard output is closed; redirect it instead"))
        previous = signal.signal(signal.SIGTERM, _terminate)
        try:
            code = command(*args, **kwargs) or 0
            sys.stdout.flush()
        except PatchbankError as error:
            code = complain(str(error))
        except (KeyboardInterrupt, typer.Abort):
            # A second Ctrl-C would only cut the clearing up short.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            code = EXIT_INTERRUPTED
            talk().print("patchbank: interrupted; every active bank is as it was.", markup=False)
        except BrokenPipeError:
            # The reader of our output has gone (`| head`): nothing more to say, and no verdict on
            # the images, so neither 0 nor 1. The interpreter would complain when it flushes at
            # exit, so standard output is given away.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = EXIT_NO_READER
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                code = complain(str(DiskFullError()))
            elif error.filename is not None:
                code = complain(f"{error.filename}: {(error.strerror or str(error)).lower()}.")
            else:
                raise
        finally:
            signal.signal(signal.SIGTERM, previous)
        if code:
            raise typer.Exit(code)

    return run


def complain(message: str) -> int:
    """Print an error as one line on standard error and return its exit code."""
    one_line = " ".join(message.split())
    talk().print(f"patchbank: {one_line}", markup=False, style="red")
    return EXIT_ERROR


def _terminate(number: int, frame: FrameType | None) -> None:
    # A service manager's stop is treated as Ctrl-C: work is rolled back, not cut off.
    raise KeyboardInterrupt
