"""Where a database is: URLs as people give them, and as they are shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

import psycopg
from psycopg import conninfo, pq

from patchbank.errors import ParameterError

# Other programs' word for a database behind PgBouncer, which the driver does not know.
_PGBOUNCER = re.compile(r"(?<=[?&])pgbouncer=([^&]*)&?")
_UNKNOWN = re.compile(r'invalid (?:URI query parameter|connection option):? "([A-Za-z_]\w*)"')
_PLAIN_HOST = re.compile(r"[A-Za-z0-9._-]+")
_ADDRESS_6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def for_driver(url: str) -> tuple[str, bool]:
    """Return a URL or ``key=value`` string as the driver takes it; whether it names PgBouncer.

    Raises
    ------
    ParameterError
        When it cannot be understood; the message never quotes it.
    """
    # As variables have them that were read from a file.
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
                f"PATCHBANK_DATABASE_URL has a parameter {unknown[1]!r}, which PostgreSQL's "
                "driver does not know; remove it"
            ) from None
        # The driver's message may quote the URL, password and all: it is not passed on.
        raise ParameterError(
            "PATCHBANK_DATABASE_URL is no database URL; "
            "write it as postgresql://user:password@host:port/database, special characters of "
            "the password percent-encoded (@ is %40)"
        ) from None
    return url, named is not None and named[1].lower() not in ("false", "0", "no", "off")


def in_use(url: str) -> dict[str, str]:
    """Return the parameters that a URL and the environment give, without what is secret."""
    values: dict[str, str] = {}
    for option in pq.Conninfo.get_defaults():
        # The driver's own defaults go without saying, but for who and where.
        said = option.envvar is not None and option.envvar.decode() in os.environ
        if option.val is not None and (said or option.keyword in (b"user", b"port")):
            values[option.keyword.decode()] = option.val.decode()
    for option in pq.Conninfo.parse(url.encode()):
        if option.val is not None:
            values[option.keyword.decode()] = option.val.decode()
    secret = {
        option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.dispchar == b"*"
    }
    return {name: value for name, value in values.items() if name not in secret}


def as_url(values: Mapping[str, str]) -> str:
    """Return the URL of these parameters, everything but plain characters percent-encoded."""
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
    """Raise ParameterError where the driver would be given what is not UTF-8.

    In the URL itself, percent-encoded in it, or in an environment variable that the driver reads.
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
                f"{name} has bytes that are not UTF-8, which no database can be told; correct it"
            ) from None


def _check_userinfo(url: str) -> None:
    """Raise ParameterError where a URL's password ends elsewhere for the driver than was meant.

    At the first ``@``, or at a ``/`` before it: the rest would pass for a host, a port or a
    database, and be shown as that, by us or in the driver's own messages.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgresql", "postgres"):
        return
    authority, _, path = rest.partition("/")
    _, _, hosts = authority.rpartition("@")
    # An address of version 6 has colons of its own, in brackets.
    ports = [host.rpartition("]")[2].partition(":")[2] for host in hosts.split(",")]
    odd = any(port.partition("?")[0].strip("0123456789") for port in ports)
    if authority.count("@") > 1 or "@" in path.partition("?")[0] or odd:
        raise ParameterError(
            "PATCHBANK_DATABASE_URL cannot be told apart: special characters of a password must "
            "be percent-encoded (@ is %40, / is %2F, # is %23, ? is %3F, % is %25), and a port is "
            "a number"
        )
