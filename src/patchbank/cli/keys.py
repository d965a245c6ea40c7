"""Single keys and lines from a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from patchbank.errors import ParameterError

_INTERRUPT, _END = "\x03", "\x04"


def check_terminal(remedy: str) -> None:
    """Raise `ParameterError`, with a remedy, if nobody can press keys."""
    if not sys.stdin.isatty():
        raise ParameterError(f"standard input is no terminal; {remedy}")


def read_key() -> str:
    """Return the next key as a character; the end of the input is ``q``."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        import msvcrt

        key = str(msvcrt.getwch())  # type: ignore[attr-defined,unused-ignore]
    else:
        number = sys.stdin.fileno()
        before = termios.tcgetattr(number)
        try:
            # Only the line discipline: an interrupt is still one, and keys pressed before stay.
            tty.setcbreak(number, termios.TCSANOW)
            # Not by Python's buffer: what is behind the key is for whoever reads next.
            key = os.read(number, 1).decode("ascii", "replace")
        finally:
            termios.tcsetattr(number, termios.TCSADRAIN, before)
    if key == _INTERRUPT:
        raise KeyboardInterrupt
    return "q" if key in ("", _END) else key.lower()


def read_line(prompt: str, known: Sequence[str]) -> str:
    """Return a line without its spaces; the tabulator completes what is known."""
    try:
        import readline
    except ImportError:  # Windows
        return input(prompt).strip()

    def complete(begun: str, number: int) -> str | None:
        found = [text for text in known if text.lower().startswith(begun.lower())]
        return found[number] if number < len(found) else None

    before = readline.get_completer(), readline.get_completer_delims()
    readline.set_completer(complete)
    # A label may have spaces.
    readline.set_completer_delims("")
    readline.parse_and_bind("tab: complete")
    try:
        return input(prompt).strip()
    finally:
        readline.set_completer(before[0])
        readline.set_completer_delims(before[1])
