"""Text in pictures, in any script that an installed font has."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from PIL import ImageDraw, ImageFont

from patchbank.reports.colours import RGB

Face = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Fonts that come with the extra `report`: DejaVu Sans has Latin, Greek, Cyrillic, Arabic, Hebrew
# and more; IPAex Gothic has Japanese.
_OF_PACKAGES: Final = (
    ("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"),
    ("matplotlib_fontja", "fonts/ipaexg.ttf"),
)
# Fonts of Debian, Windows and macOS for what those lack. Pillow looks for them where the system
# keeps its fonts.
_OF_SYSTEMS: Final = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf", "NanumGothic.ttf", "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf", "unifont.otf", "segoeui.ttf", "YuGothM.ttc", "meiryo.ttc",
    "msyh.ttc", "malgun.ttf", "Nirmala.ttc", "Nirmala.ttf", "leelawui.ttf",
    "Hiragino Sans GB.ttc", "PingFang.ttc", "AppleSDGothicNeo.ttc", "Arial Unicode.ttf",
)  # fmt: skip
_NO_LETTER = "\U0010ffff"
_PROBE_SIZE = 24


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes text into a picture; `unit` magnifies all sizes."""

    draw: ImageDraw.ImageDraw
    unit: float = 1.0

    def write(
        self,
        position: tuple[float, float],
        text: str,
        size: int,
        colour: RGB,
        across: Literal["left", "middle"] = "left",
        down: Literal["top", "middle", "bottom"] = "top",
    ) -> None:
        """Write a line of text at a position in pixels."""
        first = _face(None, self.scaled(size))
        height = first.getbbox("H")[3] - first.getbbox("H")[1]
        left, baseline = position
        left -= self.length(text, size) / 2 if across == "middle" else 0.0
        baseline += {"top": 1.1 * height, "middle": height / 2, "bottom": 0.0}[down]
        for part, font in _runs(text):
            face = _face(font, self.scaled(size))
            self.draw.text((left, baseline), part, colour, face, anchor="ls")
            left += face.getlength(part)

    def length(self, text: str, size: int) -> float:
        """Return the width of a line of text in pixels."""
        return sum(_face(font, self.scaled(size)).getlength(part) for part, font in _runs(text))

    def scaled(self, size: float) -> int:
        """Return a size in pixels."""
        return round(size * self.unit)

    def shortened(self, text: str, room: float, size: int) -> str:
        """Return the text, with its middle cut out if it is wider than `room` pixels."""
        if self.length(text, size) <= room:
            return text
        for kept in range(min(len(text), 400) - 1, 1, -1):
            head = kept // 3  # the end of a path says more than its beginning
            short = f"{text[:head]}...{text[head - kept :]}"
            if self.length(short, size) <= room:
                return short
        return ""


def _runs(text: str) -> Iterator[tuple[str, str | None]]:
    """Split a text into parts that one font can show, each with the font's file."""
    part, current, lacking = "", None, False
    for letter in unicodedata.normalize("NFC", text):
        font = _font_of(letter)
        if unicodedata.category(letter)[0] == "M":
            # A mark belongs to the letter before; without its letter, it would be a box.
            if lacking:
                continue
            if part and _has(current, letter):
                part += letter
            elif part and font and _has(font, part[-1]):
                if part[:-1]:
                    yield part[:-1], current
                part, current = part[-1] + letter, font
            continue
        lacking = font == ""
        if lacking:
            # A box would look like an error.
            letter, font = "?", None
        if part and font != current and letter != " ":
            yield part, current
            part = ""
        # A space belongs to either part.
        current = current if part and letter == " " else font
        part += letter
    if part:
        yield part, current


@cache
def _font_of(letter: str) -> str | None:
    """Return the file of the first font that has a letter: None for Pillow's, "" if none has."""
    if " " <= letter <= "~":
        return None
    if not letter.isprintable():
        return ""
    for font in (*package_fonts(), *_OF_SYSTEMS):
        if _is_installed(font) and _has(font, letter):
            return font
    return ""


@cache
def package_fonts() -> tuple[str, ...]:
    """Return the files of the fonts that come with the extra `report`, those that are installed."""
    found = []
    for package, file in _OF_PACKAGES:
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            found.append(str(Path(spec.origin).parent / file))
    return tuple(found)


@cache
def _is_installed(font: str) -> bool:
    try:
        _face(font, _PROBE_SIZE)
    except OSError:
        return False
    return True


def _has(font: str | None, letter: str) -> bool:
    """Return whether a font has a letter: without it, it draws what it draws for no letter."""
    return _drawn(font, letter) != _drawn(font, _NO_LETTER)


def _drawn(font: str | None, letter: str) -> bytes:
    return bytes(_face(font, _PROBE_SIZE).getmask(letter))


@cache
def _face(font: str | None, size: int) -> Face:
    return ImageFont.load_default(size) if font is None else ImageFont.truetype(font, size)
