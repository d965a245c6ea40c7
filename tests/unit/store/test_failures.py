from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

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


@pytest.mark.parametrize("url", URLS)
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
    with pytest.raises(ParameterError, match="no database URL") as raised:
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
            "NUL byte",
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
