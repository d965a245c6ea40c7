"""Banks exported by a service and imported by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.living.history import history
from patchbank.inspection.workspace import Workspace
from patchbank.server.models.transfer import Imported
from patchbank.store.access import Role
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces

EXPORT = "/v1/categories/brushed/export"
IMPORT = "/v1/categories/copy/import"


def uploads(workspace: Workspace) -> set[Path]:
    folder = workspace.home / "uploads"
    return {*folder.iterdir()} if folder.exists() else set()


def test_an_imported_bank_judges_to_the_bit_as_the_exported_one(
    learned: Outcome, client: TestClient, workspace: Workspace, surfaces: Surfaces
) -> None:
    before = uploads(workspace)
    exported = client.get(EXPORT)
    assert exported.status_code == 200
    assert exported.headers["content-disposition"].endswith("''brushed.patchbank")
    assert int(exported.headers["content-length"]) == len(exported.content)
    answer = client.post(IMPORT, content=exported.content)
    assert answer.status_code == 200, answer.text
    imported = Imported.model_validate(answer.json())
    assert (imported.category, imported.bank_version) == ("copy", 1)
    assert imported.bank_size == learned.document["bank_size"]
    image = sorted(surfaces.scratched.iterdir())[0].read_bytes()
    scores = [
        client.post(f"/v1/categories/{name}/inspect", content=image).json()["score"]
        for name in ("brushed", "copy")
    ]
    assert scores[0] == scores[1]

    assert client.post(IMPORT, content=exported.content).status_code == 409
    again = client.post(IMPORT, content=exported.content, params={"replace": True})
    assert again.json()["bank_version"] == 2
    assert history(workspace, "copy")[0]["cause"] == "import"
    assert uploads(workspace) == before


def test_the_file_is_that_of_the_command_line(
    learned: Outcome, client: TestClient, patchbank: Run, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(client.get(EXPORT).content)
    assert patchbank("import", path, "--category", "other").code == 0


@pytest.mark.parametrize("content", [b"", b"no bank", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_bank_is_refused_and_leaves_nothing(
    client: TestClient, workspace: Workspace, content: bytes
) -> None:
    before = uploads(workspace)
    answer = client.post(IMPORT, content=content)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("the file: ")
    assert workspace.database.categories.names() == ()
    assert uploads(workspace) == before
    assert client.get(EXPORT).status_code == 404


def test_roles(learned: Outcome, client: TestClient, workspace: Workspace) -> None:
    roles: tuple[Role, ...] = ("operator", "engineer", "admin")
    headers = {
        role: {"Authorization": f"Bearer {create_key(workspace, role, role).secret}"}
        for role in reversed(roles)
    }
    assert [client.get(EXPORT, headers=headers[role]).status_code for role in roles] == [
        403, 200, 200,
    ]  # fmt: skip
    content = client.get(EXPORT, headers=headers["admin"]).content
    found = [
        client.post(IMPORT, content=content, headers=headers[role]).status_code for role in roles
    ]
    assert found == [403, 403, 200]
    assert history(workspace, "copy")[0]["actor"] == "admin"
