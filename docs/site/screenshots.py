"""Take the pictures of the pages that are in docs/images/pages: `make screenshots`.

It learns the mono cells of the demo set in a folder of its own, judges some others, answers to two,
and looks at each page in a browser.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx
from PIL import Image

from tests.fixtures.browser import launched

if TYPE_CHECKING:
    from playwright.sync_api import Page

_FOLDER = Path(__file__).parents[1] / "images" / "pages"
# A desktop, a tablet and a phone.
_SIZES: tuple[tuple[str, int, int, Literal["light", "dark"]], ...] = (
    ("light", 1440, 900, "light"),
    ("dark", 1024, 768, "dark"),
    ("phone", 420, 860, "light"),
)
_PAGES = {
    **{
        name: f"/categories/cell/{name}"
        for name in ("line", "inspect", "review", "records", "bank")
    },
    "record": "/categories/cell/records/4",  # the first that is defective
    "new": "/new",
    "admin": "/admin",
}
_PATCHBANK = Path(sys.executable).with_name("patchbank")


def main() -> None:
    """Write all pictures."""
    _FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, _service(Path(folder)) as url:
        cells = Path(folder) / "cells" / "cell-mono" / "test"
        _judge(url, cells)
        with launched() as browser:
            for size, width, height, scheme in _SIZES:
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,
                    has_touch=size == "phone",
                    is_mobile=size == "phone",
                )
                tab = context.new_page()
                for name, address in _PAGES.items():
                    tab.goto(url + address)
                    if name == "inspect":
                        tab.locator("#file").set_input_files(cells / "defective" / "cell0049.png")
                    tab.wait_for_timeout(3000)
                    _save(tab, f"{name}-{size}")
                context.close()


def _judge(url: str, cells: Path) -> None:
    good, bad = (sorted((cells / name).iterdir()) for name in ("good", "defective"))
    # Most parts of a line are good.
    images = [image for number in range(10) for image in (*good[3 * number :][:3], bad[number])]
    with httpx.Client(base_url=url, timeout=60) as client:
        for number, image in enumerate(images):
            answer = client.post(
                "/v1/categories/cell/inspect",
                files={"image": (image.name, image.read_bytes())},
                params={"part": str(4700 + number), "station": f"line-{number % 2 + 1}"},
            )
            answer.raise_for_status()


def _save(tab: Page, name: str) -> None:
    with Image.open(io.BytesIO(tab.screenshot())) as picture:
        picture.save(_FOLDER / f"{name}.webp", quality=80, method=6)


@contextmanager
def _service(folder: Path) -> Iterator[str]:
    environment = {**os.environ, "PATCHBANK_HOME": str(folder / "home")}
    for command in (
        ["export-demo", str(folder / "cells")],
        ["fit", "cell", str(folder / "cells" / "cell-mono" / "train" / "good")],
    ):
        subprocess.run([_PATCHBANK, *command], env=environment, check=True)
    process = subprocess.Popen(
        [_PATCHBANK, "serve", "--port", "0"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        yield process.stderr.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(timeout=60)
        subprocess.run([_PATCHBANK, "database", "stop"], env=environment, check=True)


if __name__ == "__main__":
    main()
