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
# 128 + SIGINT, as shells report it.
EXIT_INTERRUPTED = 130

Arguments = ParamSpec("Arguments")


def guarded(command: Callable[Arguments, int | None]) -> Callable[Arguments, None]:
    """Wrap a command so that a user's mistake prints one line; its result is the exit code.

    Only patchbank's own errors, an interrupt, a closed pipe and a refusal of the operating system
    are caught: anything else is a defect of ours, and its traceback is wanted.
    """

    @functools.wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        previous = signal.signal(signal.SIGTERM, _terminate)
        try:
            code = command(*args, **kwargs) or 0
            sys.stdout.flush()
        except PatchbankError as error:
            code = complain(str(error))
        except (KeyboardInterrupt, typer.Abort):
            code = EXIT_INTERRUPTED
            talk().print("patchbank: interrupted; every active bank is as it was.", markup=False)
        except BrokenPipeError:
            # The reader of our output has gone (`| head`): no error, and nothing more to say. The
            # interpreter would complain when it flushes at exit, so standard output is given away.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
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
