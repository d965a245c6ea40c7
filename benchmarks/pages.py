"""The pages in a browser on the same machine: the first view, and a verdict on the Line page.

It needs Playwright and Chromium, which `make environment` and the tests install.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.place import CATEGORY, temporary_place
from benchmarks.service import Client, served
from benchmarks.timing import spread
from patchbank.datasets.demo import demo_split
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import FitSettings
from tests.fixtures.browser import launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = ("line", "inspect", "review", "records", "bank")
_VIEWS, _VERDICTS = 7, 30
# Until everything that is in the first answer, its styles and its modules are there and drawn.
_VIEWED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
_CONTENT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def measure() -> dict[str, Any]:
    """Return the document of ``python -m benchmarks pages``."""
    samples = demo_split("mono")
    contents = [sample.path.read_bytes() for sample in samples.test]
    np.random.default_rng(0).shuffle(contents)
    with temporary_place() as place:
        fit(place.workspace, CATEGORY, [sample.path for sample in samples.train], FitSettings())
        with served(place) as (url, _), launched() as browser:
            with closing(Client(url)) as client:
                for content in contents[:50]:
                    client.inspect(content)
            return {
                "references": len(samples.train),
                "views": {
                    name: _views(browser, f"{url}/categories/{CATEGORY}/{name}") for name in PAGES
                },
                "verdict": _verdicts(browser, url, contents[50:]),
            }


def main() -> dict[str, Any]:
    """Print and return the figures."""
    figures = measure()
    for name, each in figures["views"].items():
        print(f"{name}: {each}")
    print(f"verdict on the Line page, ms after the answer: {figures['verdict']}", flush=True)
    return figures


def _views(browser: Browser, address: str) -> dict[str, Any]:
    painted, loaded = [], []
    for _ in range(_VIEWS):
        # Nothing is kept from the view before.
        with closing(browser.new_context()) as context:
            tab = context.new_page()
            tab.goto(address)
            _until(tab, f"{_VIEWED} > 0 && {_CONTENT} > 0")
            painted.append(tab.evaluate(_CONTENT))
            loaded.append(tab.evaluate(_VIEWED))
    return {"first content, ms": spread(painted), "loaded, ms": spread(loaded)}


def _verdicts(browser: Browser, url: str, contents: list[bytes]) -> dict[str, float]:
    """Return the milliseconds from an inspection's answer to its verdict on the page."""
    with closing(browser.new_context()) as context:
        tab = context.new_page()
        tab.goto(f"{url}/categories/{CATEGORY}/line")
        tab.locator(".big .verdict").wait_for()
        tab.wait_for_timeout(2000)
        with closing(Client(url)) as client:
            return spread(_until_shown(tab, client, each) for each in contents[:_VERDICTS])


def _until_shown(tab: Page, client: Client, content: bytes) -> float:
    # Both clocks are this machine's.
    tab.evaluate(
        """() => {
          window.shown = null;
          new MutationObserver((_, observer) => {
            requestAnimationFrame(() => { window.shown = Date.now(); });
            observer.disconnect();
          }).observe(document.querySelector(".big"), { childList: true });
        }"""
    )
    client.inspect(content)
    answered = 1e3 * time.time()
    _until(tab, "window.shown !== null")
    shown: float = tab.evaluate("window.shown")
    return max(0.0, shown - answered)


def _until(tab: Page, condition: str) -> None:
    # Playwright's own waiting evaluates text, which the pages' policy forbids.
    while not tab.evaluate(condition):
        tab.wait_for_timeout(5)
