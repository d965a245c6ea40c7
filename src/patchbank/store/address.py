"""Database URLs: parsed as given, and formatted without secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

import psycopg
from psycopg import conninfo, pq

from patchbank.errors import ParameterError

# A parameter other programs use for a database behind PgBouncer; the driver rejects it.
_PGBOUNCER = re.compile(r"(?<=[?&])pgbouncer=([^&]*)&?")
_UNKNOWN = re.compile(r'invalid (?:URI query parameter|connection option):? "([A-Za-z_]\w*)"')
_PLAIN_HOST = re.compile(r"[A-Za-z0-9._-]+")
_ADDRESS_6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def for_driver(url: str) -> tuple[str, bool]:
    """Return a URL or ``key=value`` string for the driver, and whether it names PgBouncer.

    Raises
    ------
    ParameterError
        If it is not valid; the message never quotes it.
    """
    # Environment variables read from a file often end with a newline.
    url = url.strip()
    _check_encoding(url)
    _check_userinfo(url)
    named = _PGBOUNCER.search(url) if "://" in url else None
    if named is not None:
        url = _PGBOUNCER.sub("", url).rstrip("?&")
    try:
        conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        unknown = _UNKNOWN.search(str(error))
        if unknown is not None:
            raise ParameterError(
                f"PATCHBANK_DATABASE_URL has a parameter {unknown[1]!r} that the PostgreSQL "
                "driver does not support; remove it"
            ) from None
        # The driver's message may quote the URL with its password, so it is not shown.
        raise ParameterError(
            "PATCHBANK_DATABASE_URL is not a valid database URL; "
            "write it as postgresql://user:password@host:port/database, with special characters "
            "in the password percent-encoded (@ is %40)"
        ) from None
    return url, named is not None and named[1].lower() not in ("false", "0", "no", "off")


def in_use(url: str) -> dict[str, str]:
    """Return the connection parameters from a URL and the environment, without secrets."""
    values: dict[str, str] = {}
    for option in pq.Conninfo.get_defaults():
        # Of the driver's own defaults, only user and port are worth showing.
        is_set = option.envvar is not None and option.envvar.decode() in os.environ
        if option.val is not None and (is_set or option.keyword in (b"user", b"port")):
            values[option.keyword.decode()] = option.val.decode()
    for option in pq.Conninfo.parse(url.encode()):
        if option.val is not None:
            values[option.keyword.decode()] = option.val.decode()
    secret = {
        option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.dispchar == b"*"
    }
    return {name: value for name, value in values.items() if name not in secret}


def as_url(values: Mapping[str, str]) -> str:
    """Return these parameters as a URL, with special characters percent-encoded."""
    rest = dict(values)
    user, hosts = rest.pop("user", ""), rest.get("host", "").split(",")
    ports = rest.get("port", "").split(",")
    authority = quote(user, safe="") + ("@" if user else "")
    if all(_PLAIN_HOST.fullmatch(host) or _ADDRESS_6.fullmatch(host) for host in hosts):
        del rest["host"]
        named = [f"[{host}]" if ":" in host else host for host in hosts]
        if len(ports) == len(hosts):
            rest.pop("port", None)
            named = [
                f"{host}:{port}" if port else host for host, port in zip(named, ports, strict=True)
            ]
        authority += ",".join(named)
    name = rest.pop("dbname", "")
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in rest.items())
    return f"postgresql://{authority}/{quote(name, safe='')}{'?' if query else ''}{query}"


def _check_encoding(url: str) -> None:
    """Raise ParameterError if the driver would get text that is not UTF-8.

    Checks the URL, its percent-encoded parts, and the environment variables the driver reads.
    """
    texts = {"PATCHBANK_DATABASE_URL": unquote_to_bytes(os.fsencode(url))}
    for option in pq.Conninfo.get_defaults():
        name = (option.envvar or b"").decode()
        texts[name] = os.environb.get(option.envvar or b"", b"")
    for name, text in texts.items():
        try:
            text.decode()
        except UnicodeDecodeError:
            raise ParameterError(
                f"{name} has bytes that are not UTF-8, which PostgreSQL cannot accept; correct it"
            ) from None


def _check_userinfo(url: str) -> None:
    """Raise ParameterError if the driver would end a URL's password too early.

    It ends at the first ``@``, or at a ``/`` before it: the rest would be taken for a host, port
    or database, and shown as such in messages.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgresql", "postgres"):
        return
    authority, _, path = rest.partition("/")
    _, _, hosts = authority.rpartition("@")
    # IPv6 addresses contain colons, in brackets.
    ports = [host.rpartition("]")[2].partition(":")[2] for host in hosts.split(",")]
    odd = any(port.partition("?")[0].strip("0123456789") for port in ports)
    if authority.count("@") > 1 or "@" in path.partition("?")[0] or odd:
        raise ParameterError(
            "PATCHBANK_DATABASE_URL is ambiguous: special characters in the password must be "
            "percent-encoded (@ is %40, / is %2F, # is %23, ? is %3F, % is %25), and the port "
            "must be a number"
        )
