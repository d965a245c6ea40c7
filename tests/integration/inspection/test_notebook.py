"""What Jupyter shows of an inspection and a bank."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import patchbank
from patchbank.api import Bank
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from tests.fixtures.browser import opened_page
from tests.fixtures.commands import Outcome
from tests.fixtures.surfaces import Surfaces

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "<img src=x onerror=alert(1)> &amp; 検査"


@pytest.fixture
def bank(database_url: str, graphs_home: Path, learned: Outcome) -> Bank:
    return Bank(Workspace(home=graphs_home, database_url=database_url), "brushed")


def test_an_inspection_shows_verdict_and_picture(
    bank: Bank, surfaces: Surfaces, tmp_path: Path, browser: Browser
) -> None:
    path = min(surfaces.scratched.iterdir())
    large = np.asarray(Image.open(path).resize((1600, 1200)))
    with bank:
        found = bank.inspect(large, name=HOSTILE)
        assert len(repr(found)) < 200
        assert repr(found).startswith("<Inspection of ")
        html = found._repr_html_()
        assert len(html) < 100_000
        assert "http" not in html
        page = tmp_path / "cell.html"
        page.write_text(f'<meta charset="utf-8">{html}{bank._repr_html_()}', encoding="utf-8")
        for width, scheme in ((1400, "light"), (420, "dark")):
            with opened_page(browser, page, width, scheme) as (tab, problems):
                text = tab.locator("body").inner_text()
                assert HOSTILE in text
                assert text.startswith(found.verdict.upper())
                assert found.times_the_limit in text
                assert "Calibration" in text
                size = tab.evaluate("(i => [i.naturalWidth, i.naturalHeight])(document.images[0])")
                assert size == [648, 240]
                assert tab.locator("img").count() == 1
                assert tab.evaluate("document.documentElement.scrollWidth") <= width
                assert problems == []


def test_an_image_that_is_gone_or_changed_leaves_its_map(
    bank: Bank, surfaces: Surfaces, tmp_path: Path
) -> None:
    file = tmp_path / "part.png"
    first, second = sorted(surfaces.scratched.iterdir())[:2]
    file.write_bytes(first.read_bytes())
    with bank:
        found = [item for item in bank.inspect_many([file, first]) if isinstance(item, Inspection)]
        in_memory = list(bank.inspect_many([Image.open(first), Image.open(second)]))
    assert "image, and its" in found[0]._repr_html_()
    file.write_bytes(second.read_bytes())
    assert "not there any more" in found[0]._repr_html_()
    file.unlink()
    assert "not there any more" in found[0]._repr_html_()
    # Thousands of images must not stay in memory.
    assert all(isinstance(item, Inspection) and item.source is None for item in in_memory)


def test_a_bank_says_what_it_is(bank: Bank, database_url: str, graphs_home: Path) -> None:
    with bank:
        html = bank._repr_html_()
    assert repr(bank) == "<Bank 'brushed'>"
    assert re.search("<td[^>]*>1</td>", html)
    assert "Calibration" in html
    with patchbank.open("nothing", home=graphs_home, database_url=database_url) as empty:
        assert "none yet" in empty._repr_html_()
    nowhere = "postgresql://127.0.0.1:1/nowhere?connect_timeout=1"
    with patchbank.open("brushed", database_url=nowhere) as lost:
        assert "not known: " in lost._repr_html_()
