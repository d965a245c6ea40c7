"""What is stored is stored alike on the embedded server and on a server of a user's own."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["embedded", "own"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_database_url")
    return url
