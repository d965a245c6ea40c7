"""The command line."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading

from patchbank.descriptors import fill_standard_descriptors


def main() -> None:
    """Run the command line: whatever happens ends in one line and an exit code, never in a trace.

    An interrupt while it is still being loaded is quiet too.
    """
    fill_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        # What the terminal's encoding lacks is escaped: a name must not end a command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run()
    except KeyboardInterrupt:
        code = 130
    _give_up_messages()
    sys.exit(code)


def _give_up_messages() -> None:
    """Drop what standard error did not take: Python would try again, and exit with 120."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _run() -> int | str | None:
    from patchbank.cli.guard import complain, crashed, debugging
    from patchbank.cli.logs import asked_for, log_style
    from patchbank.cli.output import take_messages, writing_output
    from patchbank.errors import OutputError

    _tell_blas()
    threading.excepthook = _thread_crashed
    take_messages(verbose=asked_for("--verbose"), debug=debugging(), style=log_style())
    try:
        from patchbank.cli.app import app

        # Commands see to their own errors; what else there is to write is help.
        with writing_output():
            app()
    except SystemExit as end:
        return end.code
    except OutputError as error:
        return complain(str(error))
    except Exception as error:  # noqa: BLE001 - the outermost door: a crash has a code of its own
        return crashed(error)
    return 0


def _tell_blas() -> None:
    """Let NumPy's BLAS, which knows nothing of quotas, start as many threads as we may use."""
    from patchbank.errors import ParameterError
    from patchbank.settings import usable_cores

    # A wrong setting is said where it is needed.
    with contextlib.suppress(ParameterError):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(usable_cores()))


def _thread_crashed(details: threading.ExceptHookArgs) -> None:
    from patchbank.cli.guard import crashed

    if isinstance(details.exc_value, Exception):
        crashed(details.exc_value)


__all__ = ["main"]
