"""Names in any script are written with fonts that have their letters."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from patchbank.reports import fonts
from patchbank.reports.fonts import Writer, _runs


def writer(unit: float = 1.0) -> tuple[Writer, Image.Image]:
    canvas = Image.new("RGB", (600, 60), (255, 255, 255))
    return Writer(ImageDraw.Draw(canvas), unit), canvas


@pytest.mark.parametrize("text", ["検査画像", "Проверка", "Überprüfung", "δοκιμή", "فحص", "№5"])
def test_scripts_of_the_extra_have_their_letters(text: str) -> None:
    pytest.importorskip("matplotlib_fontja")
    assert "".join(part for part, _ in _runs(text)) == text
    assert all(font != "" for _, font in _runs(text))
    write, canvas = writer()
    write.write((10, 10), text, 20, (0, 0, 0))
    columns = np.flatnonzero((np.asarray(canvas) < 128).any(axis=(0, 2)))
    assert columns[0] >= 9
    assert columns[-1] < 12 + write.length(text, 20)
    assert columns[-1] - columns[0] > 0.6 * write.length(text, 20)


def test_a_letter_that_no_font_has_is_a_question_mark() -> None:
    assert [part for part, _ in _runs("a\U0010fffeb\n")] == ["a?b?"]


def test_without_other_fonts_only_ascii_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_OF_PACKAGES", ())
    monkeypatch.setattr(fonts, "_OF_SYSTEMS", ())
    for cached in (fonts._font_of, fonts.package_fonts):
        cached.cache_clear()
    try:
        assert list(_runs("plate 検.png")) == [("plate ?.png", None)]
    finally:
        for cached in (fonts._font_of, fonts.package_fonts):
            cached.cache_clear()


def test_marks_stay_with_their_letters() -> None:
    # Composed where it can be; else in the font of the letter before.
    assert [part for part, _ in _runs("q\u0308")] == ["q\u0308"]


def test_a_long_name_keeps_its_end() -> None:
    write, _ = writer(unit=1.5)
    short = write.shortened("folder/" * 30 + "検査.png", 200, 13)
    assert short.endswith("検査.png")
    assert "..." in short
    assert write.length(short, 13) <= 200
    assert write.shortened("x.png", 200, 13) == "x.png"
    assert write.shortened("x.png", 1, 13) == ""


def test_a_mark_that_its_font_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devanagari without a font for it: question marks, but no boxes and dotted circles."""
    fonts._font_of.cache_clear()
    monkeypatch.setattr(fonts, "_OF_SYSTEMS", ())
    runs = list(fonts._runs("a/हिन्दी.png"))
    fonts._font_of.cache_clear()
    assert runs == [("a/???.png", None)]
