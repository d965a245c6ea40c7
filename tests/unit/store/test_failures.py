from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from patchbank.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    DiskFullError,
    ParameterError,
    PatchbankError,
)
from patchbank.store.failures import Place, explain

URLS = [
    "postgresql://anna:hunter2@db.example:6543/parts",
    "host=db.example port=6543 user=anna password=hunter2 dbname=parts",
]


@pytest.mark.parametrize("url", [*URLS, *(f" {url}\n" for url in URLS)])
def test_a_place_says_where_it_is_but_no_password(url: str) -> None:
    place = Place(url)
    for text in (str(place), place.url):
        for part in ("anna", "db.example", "6543", "parts"):
            assert part in text
        assert "hunter2" not in text


def test_what_the_url_leaves_out_is_taken_from_where_the_driver_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("PGUSER", "otto")
    assert str(Place("postgresql:///parts")) == (
        "the database 'parts' on elsewhere, port 5432, as user 'otto'"
    )


@pytest.mark.parametrize(
    "url",
    ["mysql://anna:hunter2@x/y", "postgresql://anna:hunter2@x/%zz", "postgresql://[hunter2"],
)
def test_no_url_at_all_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ParameterError, match="not a valid database URL") as raised:
        Place(url)
    assert "hunter2" not in str(raised.value)
    # The driver's own message, which quotes the URL, is not shown in a traceback either.
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    "password",
    ["hun@ter2", "@hunter2", "hunter2@", "hun/ter2", "h@un/ter2", "1/hunter2", "h@u?n@ter2"],
)
@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_password_that_is_not_encoded_is_not_shown(scheme: str, password: str) -> None:
    with pytest.raises(ParameterError, match=r"must be percent-encoded \(@ is %40") as raised:
        Place(f"{scheme}://anna:{password}@127.0.0.1:5432/parts")
    assert "ter2" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://anna:hun%40ter2@db.example:6543/parts",
        "postgresql://anna:hunter2@db.example:6543,other:6544/parts",
        "postgresql://anna:hun#ter2@db.example/parts?application_name=a@b",
        "postgresql://anna:hun?ter2@[::1]:6543/parts",
        "postgresql://anna@/parts?host=%2Ftmp%2Fa@b",
        "postgresql:///parts?user=anna",
    ],
)
def test_what_the_driver_understands_as_it_was_meant_is_accepted(url: str) -> None:
    place = Place(url)
    assert "'anna'" in str(place)
    assert "ter2" not in str(place) + place.url


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (errors.DiskFull("could not extend file"), DiskFullError, "no space left"),
        (
            errors.IoError("could not write: No space left on device"),
            DiskFullError,
            "no space left",
        ),
        (errors.AdminShutdown("FATAL:  terminating"), DatabaseUnreachableError, "try again"),
        (
            psycopg.OperationalError("server closed the connection\n\tmore"),
            DatabaseUnreachableError,
            "server closed",
        ),
        (errors.InsufficientPrivilege("permission denied"), DatabaseError, "role that may create"),
        (
            psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
            ParameterError,
            "contains a NUL byte",
        ),
        (errors.UndefinedTable("relation missing\nLINE 1"), DatabaseError, "relation missing"),
    ],
)
def test_the_drivers_errors_become_one_line_with_a_remedy(
    error: psycopg.Error, kind: type[PatchbankError], words: str
) -> None:
    explained = explain(error, Place(URLS[0]))
    assert type(explained) is kind
    assert words in str(explained)
    assert "\n" not in str(explained)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://anna:hunter2@db1:5432,db2:5433/parts?target_session_attrs=read-write",
        "postgresql://anna:hunter2@[::1]:6543/parts?sslmode=verify-full&sslrootcert=%2Fetc%2Fca",
        "postgresql://a%40b%3A%2F:hunter2@db/p%3F%23%25%20q?application_name=x%26y%3Dz",
        "postgresql://anna:hunter2@/parts?host=%2Frun%2Fpostgresql&port=5433",
        "host=/tmp/a,db2 port=5 user='x y@' password=hunter2 dbname='a b/c@?#%'",
    ],
)
def test_a_shown_url_has_everything_but_the_password(url: str) -> None:
    given = conninfo_to_dict(url)
    shown = Place(url).url
    assert "hunter2" not in shown
    assert conninfo_to_dict(shown) == {
        "port": "5432", **{name: value for name, value in given.items() if name != "password"}
    }  # fmt: skip


@pytest.mark.parametrize("parameters", ["pgbouncer=true", "sslmode=disable&pgbouncer=true&port=5"])
def test_a_url_may_say_that_pgbouncer_is_there(parameters: str) -> None:
    place = Place(f"postgresql://anna:hunter2@db/parts?{parameters}")
    assert place.pgbouncer
    assert "pgbouncer" not in place.conninfo
    assert not Place("postgresql://db/parts?pgbouncer=false").pgbouncer


@pytest.mark.parametrize("url", ["postgresql://db/parts?schema=x", "host=db schema=x"])
def test_an_unknown_parameter_is_named(url: str) -> None:
    with pytest.raises(
        ParameterError, match=r"parameter 'schema' that .* does not support; remove"
    ):
        Place(url)
