"""The event log is a chain that only grows, and a change of it shows."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psycopg
import pytest

from patchbank.errors import ParameterError
from patchbank.inspection.keeping.audit import Verification, verify_log
from patchbank.inspection.workspace import Workspace
from patchbank.store import migrate
from patchbank.store.categories import add_event, lock_category
from patchbank.store.database import Database, open_database
from patchbank.store.defects import NewDefect
from tests.fixtures.banks import make_bank
from tests.fixtures.commands import Run, in_this_process

DOCUMENT = Path(__file__).parents[3] / "docs" / "traceability.md"
_CHAIN = "select position, previous_hash, hash from event where category_id = %s order by position"


def _filled(database: Database) -> None:
    """Change `tile` four times and `leather` once."""
    for _ in range(2):
        database.banks.save("tile", make_bank())
    database.banks.save("leather", make_bank())
    defect = NewDefect(
        "scratch.png", "scratch", False, "0" * 64, 8, 8, b"", None, np.ones(4, np.float32)
    )
    database.defects.add("tile", "extractor", [defect])
    database.defects.remove("tile", ["scratch.png"])


@pytest.fixture
def workspace(database: Database, database_url: str, tmp_path: Path) -> Workspace:
    _filled(database)
    opened = Workspace(home=tmp_path, database_url=database_url)
    opened._database = database
    return opened


def _forge(url: str, statement: str) -> None:
    """Do what the owner of the tables could do."""
    with psycopg.connect(url) as connection:
        connection.execute("set search_path to patchbank")
        connection.execute("alter table event disable trigger user")
        connection.execute(statement.encode())
        connection.execute("alter table event enable trigger user")


def _problems(found: Verification) -> dict[str, str | None]:
    return {log.category.name: log.problem for log in found.logs}


def test_events_follow_one_another_by_their_hashes(database: Database) -> None:
    _filled(database)
    with database.events.opened("tile") as log:
        (category,) = log.categories
        events = list(log.events(category.category_id))
    assert [event.kind for event in events] == ["fit", "fit", "add defects", "remove defects"]
    assert [event.position for event in events] == [1, 2, 3, 4]
    previous = bytes(32)
    for event in events:
        # As docs/traceability.md says.
        content = event.content.encode()
        assert json.loads(content)[1:4] == [event.position, event.kind, event.actor]
        previous = hashlib.sha256(previous + content).digest()
        assert event.hash == previous.hex()


def test_the_program_of_the_documentation_computes_the_same_hashes(
    workspace: Workspace, database_url: str
) -> None:
    (program,) = re.findall(r"```python\n(import hashlib\n.*?)```", DOCUMENT.read_text(), re.DOTALL)
    exec(program, {"url": database_url})
    _forge(database_url, "update event set actor = 'x' where position = 2 and category_id = 1")
    with pytest.raises(AssertionError):
        exec(program, {"url": database_url})


@pytest.mark.parametrize(
    "statement",
    ["update event set actor = 'nobody'", "delete from event", "truncate event"],
)
def test_events_are_never_changed_or_deleted(
    workspace: Workspace, database_url: str, statement: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("set search_path to patchbank")
        with pytest.raises(psycopg.errors.RaiseException, match="events are only added to"):
            connection.execute(statement.encode())
    assert verify_log(workspace).passed


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("update event set actor = 'x' where position = 2 and category_id = 1", "event 2 (fit, "),
        ("update event set happened_at = happened_at - interval '1 s' where position = 3",
         "event 3 (add defects, "),
        ("update event set detail = detail || '{\"version\": 9}' where position = 1",
         "event 1 (fit, "),
        ("delete from event where position = 3", "event 3 is missing; the next is event 4"),
        ("update event set hash = sha256('x') where position = 2", "event 2 (fit, "),
        # With a hash that belongs to it: what follows does not.
        ("update event set actor = 'x', hash = sha256(previous_hash || convert_to(event_content("
         "category_id, position, kind, 'x', happened_at, detail), 'UTF8')) where position = 2",
         "event 3 (add defects, "),
    ],
)  # fmt: skip
def test_the_first_event_that_was_changed_is_named(
    workspace: Workspace, database_url: str, statement: str, problem: str
) -> None:
    assert _problems(verify_log(workspace)) == {"leather": None, "tile": None}
    _forge(database_url, statement)
    found = verify_log(workspace, "tile")
    assert not found.passed
    (named,) = _problems(found).values()
    assert named is not None
    assert named.startswith(problem)


def test_heads_stay_in_a_log_and_a_version_without_an_event_is_noticed(
    workspace: Workspace, database_url: str
) -> None:
    heads = {log.category.name: log.head for log in verify_log(workspace).logs}
    for head in heads.values():
        assert verify_log(workspace, expect=head.upper()).passed
    # What came before the end is still there after more events.
    workspace.database.banks.save("tile", make_bank())
    assert verify_log(workspace, "tile", expect=heads["tile"]).passed
    _forge(database_url, "delete from event where category_id = 1 and position = 5")
    found = verify_log(workspace)
    # The version that the event told of is still there.
    assert _problems(found) == {
        "leather": None,
        "tile": "no event tells of version 3 of the bank: events after event 4 were removed",
    }
    _forge(database_url, "delete from event where category_id <> 1")
    assert not verify_log(workspace, "leather").passed


def test_a_log_that_lost_its_end_lacks_the_expected_hash(
    workspace: Workspace, database_url: str
) -> None:
    heads = {log.category.name: log.head for log in verify_log(workspace).logs}
    _forge(database_url, "delete from event where category_id = 1 and position >= 4")
    assert verify_log(workspace).passed
    assert not verify_log(workspace, expect=heads["tile"]).passed
    assert verify_log(workspace, expect=heads["leather"]).passed
    with pytest.raises(ParameterError, match="is not a hash"):
        verify_log(workspace, expect="abc")


def test_writers_at_the_same_time_do_not_fork_the_chain(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    _filled(database)

    def write(number: int) -> None:
        with open_database(database_url, tmp_path) as own:
            for count in range(10):
                with own.connection() as connection:
                    # Some hold the category's lock before, some come to it by the event alone.
                    category_id = lock_category(connection, "tile") if count % 2 else 1
                    add_event(connection, category_id, "test", {"writer": number, "count": count})

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(write, range(6)))
    workspace = Workspace(home=tmp_path, database_url=database_url)
    with workspace:
        found = verify_log(workspace, "tile")
    assert found.passed
    assert found.logs[0].events == 4 + 60


def test_a_removed_category_is_still_in_the_log(workspace: Workspace) -> None:
    workspace.database.categories.remove("tile")
    workspace.database.banks.save("tile", make_bank())
    found = verify_log(workspace)
    assert found.passed
    logs = [(log.category.name, log.category.removed, log.events) for log in found.logs]
    assert logs == [("leather", False, 1), ("tile", True, 5), ("tile", False, 1)]
    with workspace.database.events.opened(None) as log:
        *_, last = log.events(1)
    assert (last.kind, last.detail["category"], last.detail["banks"]) == ("remove", "tile", 2)


def test_the_commands_list_and_verify(
    workspace: Workspace, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patchbank: Run = in_this_process(database_url, tmp_path, monkeypatch)
    listed = patchbank("audit", "tile")
    assert listed.code == 0
    assert [line.split()[1] for line in listed.out.splitlines()[1:]] == ["1", "2", "3", "4"]
    documents = patchbank("audit", "--json").documents
    assert [document["category"] for document in documents] == ["leather"] + ["tile"] * 4
    everything = patchbank("audit")
    assert (everything.code, everything.out) == (0, patchbank("audit", "list").out)
    assert len(everything.out.splitlines()) == 6
    assert patchbank("audit", "list", "tile", "--json").documents == documents[1:]
    rows = list(csv.DictReader(io.StringIO(patchbank("audit", "tile", "--csv", "-").out)))
    assert [row["hash"] for row in rows] == [document["hash"] for document in documents[1:]]
    verified = patchbank("audit", "verify")
    assert verified.code == 0
    head = documents[-1]["hash"]
    assert f"tile: 4 events as they were written, head {head}" in verified.out.splitlines()
    assert patchbank("audit", "verify", "tile", "--expect", head).code == 0
    _forge(database_url, "update event set actor = 'x' where position = 4")
    broken = patchbank("audit", "verify", "--expect", head)
    assert broken.code == 1
    assert "tile: event 4 (remove defects, " in broken.out
    assert "no event has the hash" in broken.err
    document = patchbank("audit", "verify", "tile", "--json").document
    assert (document["passed"], document["logs"][0]["events"]) == (False, 3)
    assert "did you mean 'tile'?" in patchbank("audit", "tiles").complaint


def test_earlier_events_are_chained_by_the_migration(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    _filled(database)
    with psycopg.connect(database_url) as connection:
        connection.execute("set search_path to patchbank, public")
        before = connection.execute(_CHAIN, [1]).fetchall()
        # As it was before.
        connection.execute(
            "drop trigger event_chained on event; drop trigger event_kept on event;"
            "drop trigger events_kept on event;"
            "alter table event drop column position, drop column previous_hash, drop column hash;"
            "alter table event add foreign key (category_id) references category;"
            "drop function chain_event, keep_events, event_content"
        )
        (migration,) = (
            text for name, text in migrate.migrations().items() if name.endswith("event-chain")
        )
        connection.execute(migration)
        assert connection.execute(_CHAIN, [1]).fetchall() == before
    with Workspace(home=tmp_path, database_url=database_url) as workspace:
        assert verify_log(workspace).passed


def test_an_answer_to_an_inspection_is_an_event(workspace: Workspace) -> None:
    workspace.database.reviews.add("leather", 7, "defect", label="scratch")
    with workspace.database.events.opened("leather") as log:
        *_, last = log.events(log.categories[0].category_id)
    assert last.kind == "review"
    assert last.detail == {"inspection": 7, "answer": "defect", "label": "scratch"}
    assert verify_log(workspace, "leather").passed
