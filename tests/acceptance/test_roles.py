"""A role that may only inspect, with the grants that the documentation names; limits of a role."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient

from patchbank.errors import DatabaseError, DatabaseReadOnlyError
from patchbank.inspection.judging.index import build_index
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.keeping.access import create_key, key_uses
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from patchbank.store.database import open_database
from patchbank.store.hnsw_index import HnswIndex
from tests.fixtures.banks import make_bank
from tests.fixtures.commands import in_this_process
from tests.fixtures.database import NetworkServer
from tests.fixtures.surfaces import Surfaces, brushed

DOCUMENT = Path(__file__).parents[2] / "docs" / "server.md"


@pytest.fixture
def inspector_url(
    network_server: NetworkServer, graphs_home: Path, surfaces: Surfaces
) -> Iterator[str]:
    """A database with a bank, as seen by the role of the documentation."""
    admin = network_server.url()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("create database roles")
    with Workspace(home=graphs_home, database_url=network_server.url("roles")) as workspace:
        sources = sorted(surfaces.train.iterdir())
        fit(workspace, "brushed", sources, make_fit_settings(image_size=96))
    grants = re.search(
        r"## A role that may only inspect.*?```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL
    )
    assert grants is not None
    text = grants[1].replace("'...'", f"'{network_server.password}'")
    with psycopg.connect(network_server.url("roles"), autocommit=True) as connection:
        connection.execute(text.replace("for role patchbank", "for role owner").encode())
    yield network_server.url("roles", user="inspector")
    writing = network_server.url("roles") + "?options=-c%20default_transaction_read_only%3Doff"
    with psycopg.connect(writing, autocommit=True) as connection:
        connection.execute("drop owned by inspector; drop role inspector")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("drop database roles with (force)")


def test_a_role_with_the_documented_grants_inspects_and_no_more(
    network_server: NetworkServer,
    inspector_url: str,
    graphs_home: Path,
    surfaces: Surfaces,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = in_this_process(inspector_url, graphs_home, monkeypatch)
    images = sorted(surfaces.good.iterdir())[:3]
    inspected = run("inspect", "brushed", *images, "--json")
    assert inspected.code in (0, 1), inspected.err
    assert [one["recorded"] for one in inspected.documents] == [True] * 3
    shown = run("show", "brushed", "--json")
    assert shown.document["inspections"] == 3
    with Workspace(home=graphs_home, database_url=network_server.url("roles")) as workspace:
        build_index(workspace, "brushed")
    found = run("search", "brushed", images[0], "--json")
    assert found.code == 0, found.err
    assert found.document["method"].startswith("HNSW index")
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(images[0], folder / "a.png")
    watched = run("watch", "brushed", folder, "--once", "--settle", "0", "--json")
    assert watched.document["recorded"], watched.err
    refused = run("fit", "other", surfaces.train, "--image-size", "96")
    assert (refused.code, refused.out) == (2, "")
    assert "this role may inspect but not save banks" in refused.complaint
    doctor = run("doctor", "--json")
    (database,) = (one for one in doctor.document["findings"] if one["name"] == "database")
    assert database["healthy"]
    assert "may inspect but not fit" in database["text"]


def test_a_service_with_the_documented_grants_takes_keys(
    network_server: NetworkServer, inspector_url: str, graphs_home: Path
) -> None:
    with Workspace(home=graphs_home, database_url=network_server.url("roles")) as workspace:
        secret = create_key(workspace, "boss", "admin").secret
    with Workspace(home=graphs_home, database_url=inspector_url) as workspace:
        with TestClient(create_app(workspace), follow_redirects=False) as client:
            assert client.post("/login", data={"key": secret}).status_code == 303
            assert client.get("/v1/categories").status_code == 200
            assert client.post("/logout").status_code == 303
            again = client.post("/login", data={"key": "pbk_guess"})
            assert again.status_code == 401
        # Written when it ends, at the latest.
        assert {(use.action, use.outcome) for use in key_uses(workspace)} == {
            ("POST /login", "allowed"),
            ("GET /v1/categories", "allowed"),
            ("POST /login", "no valid key"),
        }


def test_a_role_that_may_not_record_is_told_what_it_lacks(
    network_server: NetworkServer, inspector_url: str, graphs_home: Path
) -> None:
    with psycopg.connect(network_server.url("roles"), autocommit=True) as connection:
        connection.execute("revoke insert on patchbank.inspection from inspector")
    with Workspace(home=graphs_home, database_url=inspector_url) as workspace:
        with pytest.raises(DatabaseError, match=r"grant insert on patchbank.*--no-record"):
            Inspector(workspace, "brushed").inspect(brushed(1), name="a")
        inspector = Inspector(workspace, "brushed", on_database_loss="judge")
        judged = inspector.inspect(brushed(1), name="a")
        assert not judged.recorded
        assert "permission denied for table inspection" in judged.remarks[0]
        assert not Inspector(workspace, "brushed", record=False).inspect(brushed(1)).remarks


def test_a_role_that_may_not_keep_images_is_told_what_it_lacks(
    network_server: NetworkServer, inspector_url: str, graphs_home: Path
) -> None:
    with psycopg.connect(network_server.url("roles"), autocommit=True) as connection:
        connection.execute("revoke insert on patchbank.inspection_image from inspector")
    scratched = brushed(1, scratched=True)
    with Workspace(home=graphs_home, database_url=inspector_url) as workspace:
        with pytest.raises(DatabaseError, match=r"insert on patchbank.inspection_image.*to none"):
            Inspector(workspace, "brushed").inspect(scratched, name="a")
        # Neither is recorded: all or nothing.
        assert workspace.database.inspections.recent("brushed") == []
        workspace.settings = workspace.settings.model_copy(update={"keep_images": "none"})
        assert Inspector(workspace, "brushed").inspect(scratched, name="a").recorded


def test_the_doctor_says_that_nothing_can_be_recorded(
    network_server: NetworkServer,
    inspector_url: str,
    graphs_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with psycopg.connect(network_server.url("roles"), autocommit=True) as connection:
        connection.execute("alter database roles set default_transaction_read_only = on")
    doctor = in_this_process(network_server.url("roles"), graphs_home, monkeypatch)(
        "doctor", "--json"
    )
    (database,) = (one for one in doctor.document["findings"] if one["name"] == "database")
    assert (doctor.code, database["healthy"]) == (2, False)
    assert "cannot be stored: default_transaction_read_only" in database["text"]
    with (
        Workspace(home=graphs_home, database_url=network_server.url("roles")) as workspace,
        pytest.raises(DatabaseReadOnlyError, match="banks cannot be saved there"),
    ):
        fit(workspace, "brushed", [], make_fit_settings(image_size=96))


def test_limits_of_a_role_do_not_end_what_takes_long(
    network_server: NetworkServer, tmp_path: Path
) -> None:
    with psycopg.connect(network_server.url(), autocommit=True) as connection:
        connection.execute("create database hurried")
        for name in ("statement_timeout", "transaction_timeout"):
            connection.execute(f"alter database hurried set {name} = '30ms'".encode())
    try:
        # The schema, the extension and its functions take longer than that.
        with open_database(network_server.url("hurried"), tmp_path) as database:
            bank = make_bank(patches=4_000, dimensions=500)
            assert database.banks.save("tile", bank) == 1
            assert len(database.banks.active("tile").content.features) == 4_000
            key = database.banks.active_key("tile")
            index = HnswIndex("patches", *key[:2], type="vector", dimensions=500, metric="l2")
            database.indexes.build(index, 4_000)
            assert database.indexes.find(key, "patches", "l2") == index
            database.categories.remove("tile")
    finally:
        with psycopg.connect(network_server.url(), autocommit=True) as connection:
            connection.execute("drop database hurried with (force)")
