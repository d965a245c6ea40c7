"""Every page against the rules of axe-core: contrast, names, roles, order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.fixtures.pages import inspect
from tests.fixtures.service import RunningService
from tests.fixtures.surfaces import Surfaces

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_PAGES = ("line", "inspect", "review", "records", "records/1", "bank", "/admin", "/new")


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (420, "dark")])
def test_axe_finds_no_serious_fault(
    browser: Browser,
    shared_service: RunningService,
    surfaces: Surfaces,
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    bad = sorted(surfaces.scratched.iterdir())
    for path in bad[:2]:
        inspect(shared_service, path, part="4711", station="line-1")
    with shared_service.client() as client:
        wanted = {"name": f"mes {width}", "target": "http://127.0.0.1:9/"}
        assert client.post("/v1/sinks", json=wanted).status_code == 200
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    tab = context.new_page()
    found = []
    for name in _PAGES:
        address = name if name.startswith("/") else f"/categories/brushed/{name}"
        tab.goto(shared_service.url + address)
        tab.wait_for_load_state("networkidle") if name != "line" else tab.wait_for_timeout(500)
        if name == "inspect":
            tab.locator("#file").set_input_files(bad[0])
            tab.locator("#answer .verdict").wait_for()
        for fault in Axe().run(tab).response["violations"]:
            if fault["impact"] in ("serious", "critical"):
                found += [(name, fault["id"], node["html"][:200]) for node in fault["nodes"]]
    context.close()
    assert found == []
