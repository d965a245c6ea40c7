"""Every route has a role: asked of the OpenAPI document, so that none is forgotten."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient

from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.workspace import Workspace
from tests.fixtures.commands import Outcome

# What an operator sends: images to judge or to search for.
OF_OPERATORS = {
    "/v1/categories/{category}/inspect",
    "/v1/categories/{category}/inspect:batch",
    "/v1/categories/{category}/search",
    "/2020-11-20/projects/{project}/models/{version}/detect",
}


def test_every_route_asks_for_a_key_and_every_change_for_an_engineers(
    learned: Outcome, workspace: Workspace, client: TestClient
) -> None:
    create_key(workspace, "boss", "admin")
    key = create_key(workspace, "camera", "operator")
    headers = {"Authorization": f"Bearer {key.secret}"}
    # Whether keys are needed is asked for once a second.
    client.app.state.service.keyring._wanted = None  # type: ignore[attr-defined]
    routes = [
        (method.upper(), path)
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
        if path.startswith(("/v1", "/2020"))
    ]
    assert len(routes) > 50
    open_to_all, open_to_operators = [], []
    for method, path in routes:
        address = re.sub(r"{[^}]+}", "1", path)
        # Clients of Lookout for Vision know 403 alone.
        wanted = 401 if path.startswith("/v1") else 403
        if client.request(method, address).status_code != wanted:
            open_to_all.append((method, path))
        if method != "GET" and path not in OF_OPERATORS:
            refused = client.request(method, address, headers=headers)
            if refused.status_code != 403:
                open_to_operators.append((method, path, refused.status_code))
    assert open_to_all == []
    assert open_to_operators == []
