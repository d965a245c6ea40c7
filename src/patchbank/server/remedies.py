"""What to do about an error, for clients: the route that does the same instead of a command."""

from __future__ import annotations

import re

from patchbank.printable import printable

_BELOW = "/v1/categories/{category}"
# Where only an administrator can help, the command stays.
_ROUTES = tuple(
    (re.compile(command), route)
    for command, route in (
        ("`patchbank categories`", "`GET /v1/categories`"),
        ("`patchbank inspections [^`]+`", f"`GET {_BELOW}/inspections`"),
        ("`patchbank review [^`]+ --list`", f"`GET {_BELOW}/review`"),
        ("`patchbank defects list [^`]+`", f"`GET {_BELOW}/defects`"),
        ("`patchbank quarantine [^`]+`", f"`GET {_BELOW}/quarantine`"),
        (
            r"to list the stored images, query the view images \(`patchbank database psql`\)",
            f"`GET {_BELOW}/references` lists the references",
        ),
        ("run `patchbank fit` first", f"fit it with images of good parts: `POST {_BELOW}/fit`"),
        (
            r"run: patchbank calibrate .+ GOOD_IMAGES\.\.\.",
            f"calibrate it with images of good parts: `POST {_BELOW}/calibrate`",
        ),
    )
)


# What only programs can call; a message may name it as a remedy.
_CALL = re.compile(r"(?:;|(?<=\?)) `GET [^`]+`[^;]*|: `POST [^`]+`")


def detail_of(error: Exception) -> str:
    """Return the message of an error in one line, with routes instead of commands."""
    text = str(error)
    for command, route in _ROUTES:
        text = command.sub(route, text)
    return printable(text)


def for_people(detail: str) -> str:
    """Return a message as a sentence of a page, where nobody calls routes."""
    text = _CALL.sub("", detail)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"
