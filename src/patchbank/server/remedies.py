"""What to do about an error, for clients: routes instead of commands, fields instead of flags."""

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
            r"confirm with --yes \(confirmed=True in Python\)",
            'confirm with `"confirmed": true`',
        ),
        (
            r"run: patchbank calibrate .+ GOOD_IMAGES\.\.\.",
            f"calibrate it with images of good parts: `POST {_BELOW}/calibrate`",
        ),
    )
)


# What only programs can call; a message may name it as a remedy.
_CALL = re.compile(r"(?:;|(?<=\?)) `GET [^`]+`[^;]*|: `POST [^`]+`")

#: Options of commands that a route has under the same name; without one, the flag stays.
FLAGS = (
    "among",
    "cost-false-alarm",
    "cost-miss",
    "dataset",
    "defect-rate",
    "estimate",
    "fail-above",
    "false-alarm-rate",
    "force",
    "group-by",
    "image-size",
    "metric",
    "name",
    "part-from",
    "pass-below",
    "raw",
    "replace",
    "review-rate",
    "screen",
    "threshold",
)
# Not those of a whole command.
_FLAG = re.compile(rf"(`[^`]*`)|--({'|'.join(FLAGS)})(?![\w-])")
# Only the command can fit with fewer images.
_FORCED_FIT = re.compile(", or --force(?! to )")


def detail_of(error: Exception) -> str:
    """Return the message of an error in one line, in the words of the API."""
    text = str(error)
    for command, route in _ROUTES:
        text = command.sub(route, text)
    text = _FLAG.sub(_field, _FORCED_FIT.sub("", text))
    return printable(text)


def _field(match: re.Match[str]) -> str:
    command, flag = match.groups()
    return command or f"`{flag.replace('-', '_')}`"


def for_people(detail: str) -> str:
    """Return a message without routes, which people do not call."""
    return _CALL.sub("", detail)
