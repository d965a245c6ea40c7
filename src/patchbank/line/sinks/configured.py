"""Sinks as they are configured: added, listed, tried and removed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from patchbank.environment import install_command
from patchbank.errors import MissingExtraError, NotFoundError, ParameterError, SinkError
from patchbank.inspection.parts import checked_label
from patchbank.inspection.workspace import Workspace
from patchbank.line.sinks.base import Sink
from patchbank.line.sinks.csv_file import CsvSink
from patchbank.line.sinks.signing import key_of, new_secret
from patchbank.spelling import composed
from patchbank.store.inspections import VERDICTS
from patchbank.store.outbox import SinkKind, SinkState, StoredSink

_SCHEMES: dict[str, SinkKind] = {
    "http": "webhook",
    "https": "webhook",
    "mqtt": "mqtt",
    "mqtts": "mqtt",
}
DEFAULT_TOPIC = "patchbank"


@dataclass(frozen=True)
class SinkOptions:
    """What a new sink is given.

    Attributes
    ----------
    categories, verdicts
        Whose inspections are sent; all if empty.
    secret
        Signs, or logs in with `user`.
    topic
        What MQTT topics begin with; `DEFAULT_TOPIC` by default.
    """

    categories: Sequence[str] = ()
    verdicts: Sequence[str] = ()
    secret: str | None = None
    user: str | None = None
    topic: str | None = None


@dataclass(frozen=True)
class NewSink:
    """A sink that was added, and the secret that was made for it, which is shown once."""

    sink_id: int
    name: str
    kind: SinkKind
    made_secret: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {
            "sink_id": self.sink_id,
            "name": self.name,
            "kind": self.kind,
            "secret": self.made_secret,
        }


def add_sink(workspace: Workspace, name: str, target: str, options: SinkOptions) -> NewSink:
    """Have inspections sent to a webhook, a broker or a file from now on.

    Parameters
    ----------
    target
        ``http://`` or ``https://`` of a webhook, ``mqtt://`` or ``mqtts://`` of a broker, or the
        path of a CSV file.

    Raises
    ------
    ParameterError
        If a value cannot be used, or another sink has the name.
    UnknownCategoryError
        If there is no such category.
    MissingExtraError
        If what sends to such targets is not installed.
    """
    name = checked_label(name, "name")
    for verdict in options.verdicts:
        if verdict not in VERDICTS:
            raise ParameterError(f"verdict {verdict!r}: must be one of {', '.join(VERDICTS)}")
    kind = kind_of(target)
    target = _checked_path(target) if kind == "csv" else _checked_url(target)
    _check_options(kind, options)
    _load(kind)
    secret, made = options.secret, None
    if kind == "webhook" and secret is None:
        secret = made = new_secret()
    for category in options.categories:
        workspace.database.categories.check(category)
    stored = StoredSink(
        sink_id=0,
        name=name,
        kind=kind,
        target=target,
        secret=secret,
        user_name=options.user,
        topic=(options.topic or DEFAULT_TOPIC) if kind == "mqtt" else None,
        categories=[composed(each) for each in options.categories] or None,
        verdicts=list(options.verdicts or VERDICTS),
    )
    sink_id = workspace.database.outbox.add(stored, _event(stored))
    if sink_id is None:
        raise ParameterError(f"name {name!r}: a sink has it; remove that, or give another")
    return NewSink(sink_id, name, kind, made)


def kind_of(target: str) -> SinkKind:
    """Return what kind of sink a target is; whatever is no URL is a file.

    Raises
    ------
    ParameterError
        If it is a URL of another kind.
    """
    scheme, separator, _ = target.partition("://")
    if separator and scheme.lower() not in _SCHEMES:
        raise _no_target(target)
    return _SCHEMES.get(scheme.lower(), "csv")


def list_sinks(workspace: Workspace) -> list[SinkState]:
    """Return all sinks by name."""
    return workspace.database.outbox.sinks()


def remove_sink(workspace: Workspace, name: str) -> int:
    """Send to a sink no more; return how many inspections were still to be sent.

    Raises
    ------
    ParameterError
        If there is no sink of that name.
    """
    stored = workspace.database.outbox.get(name)
    waiting = None if stored is None else workspace.database.outbox.remove(stored, _event(stored))
    if waiting is None:
        raise _unknown(name)
    return waiting


def sink_name(workspace: Workspace, sink_id: int) -> str:
    """Return the name of a sink by its number.

    Raises
    ------
    NotFoundError
        If there is no sink of that number.
    """
    for state in list_sinks(workspace):
        if state.sink.sink_id == sink_id:
            return state.sink.name
    raise NotFoundError(f"there is no sink with the number {sink_id}")


def try_sink(workspace: Workspace, name: str) -> None:
    """Send something that is not an inspection.

    Raises
    ------
    ParameterError
        If there is no sink of that name.
    SinkError
        If it does not arrive.
    """
    stored = workspace.database.outbox.get(name)
    if stored is None:
        raise _unknown(name)
    # The caller's thread may run a loop of its own, as in a notebook.
    with ThreadPoolExecutor(1) as thread:
        tried = thread.submit(asyncio.run, _tried(stored))
    try:
        tried.result()
    except SinkError as error:
        raise SinkError(
            f"sink {name!r}: nothing arrives at {shown_target(stored)}: {error}; check the target "
            "and its receiver"
        ) from error


async def _tried(stored: StoredSink) -> None:
    sink = open_sink(stored)
    try:
        await sink.test()
    finally:
        await sink.close()


def open_sink(stored: StoredSink) -> Sink:
    """Return what sends to a sink, in the running event loop.

    Raises
    ------
    MissingExtraError
        If what sends to such targets is not installed.
    """
    _load(stored.kind)
    if stored.kind == "webhook":
        from patchbank.line.sinks.webhook import WebhookSink

        return WebhookSink(stored.sink_id, stored.target, stored.secret or "")
    if stored.kind == "mqtt":
        from patchbank.line.sinks.mqtt import MqttSink

        return MqttSink(
            stored.target, stored.user_name, stored.secret, stored.topic or DEFAULT_TOPIC
        )
    return CsvSink(Path(stored.target))


def _load(kind: SinkKind) -> None:
    if kind == "csv":
        return
    extra = "mqtt" if kind == "mqtt" else "client"
    try:
        import_module(f"patchbank.line.sinks.{kind}")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"sinks of this kind need the extra `{extra}`: {install_command(f'patchbank[{extra}]')}"
        ) from error


def shown_target(stored: StoredSink) -> str:
    """Return a target without what may be a secret: the query of a URL."""
    if stored.kind == "csv":
        return stored.target
    parts = urlsplit(stored.target)
    return parts._replace(query="..." if parts.query else "").geturl()


def state_to_json(state: SinkState) -> dict[str, Any]:
    """Return the JSON object that `patchbank sinks list` prints; never a secret."""
    sink = state.sink
    return {
        "sink_id": sink.sink_id,
        "name": sink.name,
        "kind": sink.kind,
        "target": shown_target(sink),
        "user": sink.user_name,
        "topic": sink.topic,
        "categories": sink.categories,
        "verdicts": sink.verdicts,
        "created_at": _text(state.created_at),
        "created_by": state.created_by,
        "delivered": state.delivered,
        "delivered_at": _text(state.delivered_at),
        "waiting": state.waiting,
        "waiting_since": _text(state.waiting_since),
        "failures": state.failures,
        "last_error": state.last_error or state.refused,
    }


def _event(stored: StoredSink) -> dict[str, Any]:
    """Return what the log of a category says of a sink."""
    return {
        "sink": stored.name,
        "kind": stored.kind,
        "target": shown_target(stored),
        "verdicts": stored.verdicts,
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone().isoformat()


def _unknown(name: str) -> ParameterError:
    return ParameterError(
        f"name {name!r}: no sink has this name; `patchbank sinks list` shows them"
    )


def _check_options(kind: SinkKind, options: SinkOptions) -> None:
    if kind == "webhook" and options.secret is not None:
        key_of(options.secret)
    if kind == "csv" and options.secret is not None:
        raise ParameterError("a CSV file has no secret; leave the secret out")
    if kind != "mqtt" and (options.user is not None or options.topic is not None):
        raise ParameterError("user and topic are for MQTT; leave them out")
    if kind == "mqtt" and options.secret is not None and options.user is None:
        raise ParameterError("the secret is the password of a user: give the user too")
    if options.user is not None:
        checked_label(options.user, "user")
    if not (options.secret or "").isprintable():
        raise ParameterError("the secret has characters that cannot be printed; give it again")
    topic = options.topic
    if topic is not None and (
        not topic.isprintable() or set(topic) & set("+#") or not all(topic.split("/"))
    ):
        raise ParameterError(
            f"topic {topic!r}: must be names with / in between, without + and #, such as plant/hall"
        )


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
        # Some names are no host's, such as `a..b`.
        (parts.hostname or "").encode("idna")
    except ValueError:
        parts = urlsplit("")
    if not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
        raise ParameterError(f"target {url!r}: is not a URL; write it as https://host:port/path")
    if parts.username is not None or parts.password is not None:
        # Not printed: it has the password.
        raise ParameterError(
            "the target's URL has a user or a password; give them apart, as user and secret"
        )
    if parts.fragment:
        raise ParameterError(f"target {url!r}: leave out the part after #, which is never sent")
    return parts._replace(scheme=parts.scheme.lower()).geturl()


def _checked_path(target: str) -> str:
    path = Path(target).expanduser()
    if path.suffix.lower() != ".csv" or not target.isprintable():
        raise _no_target(target)
    return str(path.absolute())


def _no_target(target: str) -> ParameterError:
    return ParameterError(
        f"target {target!r}: must begin with http://, https://, mqtt:// or mqtts://, or be a "
        "file that ends in .csv"
    )
