"""Fonts by their own tables, fonts of yesterday and today, and what stands where there is none."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure

from clearhead.drawing.fonts import MONO, SANS, Fonts, fonts_for, fonts_of, spelled, spelled_letter
from clearhead.messages import Prose

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Leaves matplotlib its own fonts alone, and returns a function that installs one with the letters it is given."""
    own = [entry for entry in font_manager.fontManager.ttflist if entry.name in {SANS, MONO}]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: list(map(str, tmp_path.glob("*.ttf"))))

    def install(family: str, letters: str, *, known: bool = True) -> Path:
        pen = TTGlyphPen(None)
        for move, at in zip(["moveTo", "lineTo", "lineTo"], [(0, 0), (500, 0), (500, 500)], strict=True):
            getattr(pen, move)(at)
        pen.closePath()
        names = [".notdef", *(f"u{ord(letter):x}" for letter in letters)]
        builder = FontBuilder(1000, isTTF=True)
        builder.setupGlyphOrder(names)
        builder.setupCharacterMap(dict(zip(map(ord, letters), names[1:], strict=True)))
        builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
        builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
        builder.setupHorizontalHeader(ascent=800, descent=-200)
        builder.setupNameTable({"familyName": family, "styleName": "Regular"})
        builder.setupOS2()
        builder.setupPost()
        file = tmp_path / f"{family}.ttf"
        builder.save(file)
        if known:
            font_manager.fontManager.addfont(file)
        return file

    return install


def test_a_font_is_chosen_by_what_it_has_not_by_its_name(install: Install) -> None:
    install("Noto Sans CJK SC", "a")  # a font for Chinese by its name alone
    install("Something Else", "我了")
    assert fonts_for("我 am\n了") == Fonts(("Something Else",), frozenset())


def test_fonts_complete_each_other_and_the_rest_is_missing(install: Install) -> None:
    install("Microsoft YaHei", "我了")
    install("A", "我")
    install("Z", "果")
    assert fonts_for("我了果ж𠀀") == Fonts(("Microsoft YaHei", "Z"), frozenset("𠀀"))
    assert fonts_for("Grüße, жук ▁") == Fonts((), frozenset())


def test_a_font_of_boxes_is_none(install: Install) -> None:
    install("LastResort", "我")
    assert fonts_for("我").missing == {"我"}


def test_a_font_installed_since_matplotlib_looked_is_found(install: Install) -> None:
    install("New", "我", known=False)
    (install("Broken", "了", known=False)).write_bytes(b"no font")
    assert fonts_for("我了") == Fonts(("New",), frozenset("了"))


def test_a_file_that_is_gone_is_no_font(install: Install) -> None:
    install("Gone", "我").unlink()
    assert fonts_for("我").missing == {"我"}


def test_a_figure_is_dressed_and_dollars_are_no_formula(install: Install) -> None:
    install("New", "我")
    figure = Figure()
    axes = figure.subplots()
    texts = [axes.text(0, 0, "我"), axes.set_title("$\\x$"), axes.text(0, 0, "果", family=MONO)]
    fonts = fonts_of(figure)
    assert fonts == Fonts(("New",), frozenset("果"))
    fonts.dress(figure)
    assert [text.get_fontfamily() for text in texts] == [[SANS, MONO, "New"], [SANS, MONO, "New"], [MONO, SANS, "New"]]
    assert not any(text.get_parse_math() for text in texts)


def test_what_is_missing_is_said_in_one_line_with_what_to_install(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="clearhead"):
        Fonts((), frozenset()).warn()
        assert not caplog.messages
        Fonts((), frozenset("我")).warn()
        Fonts((), frozenset("🙂🙃")).warn()
    chinese, other = caplog.messages
    assert "我, which stands there as \\u6211" in chinese
    assert "Noto Sans CJK" in chinese
    assert "2 of its characters" in other
    assert "CJK" not in other


@pytest.mark.parametrize(("letter", "code"), [("我", "\\u6211"), ("\t", "\\t"), ("🙂", "\\U0001f642")])
def test_letters_have_codes(letter: str, code: str) -> None:
    assert spelled_letter(letter) == code


@dataclass(frozen=True)
class Held:
    name: str
    rows: list[tuple[str, float]]
    named: dict[str, list[str]]


def test_all_texts_of_a_part_are_spelled_and_prose_stays_prose() -> None:
    held = Held("a我", [("我", 1.0), ("了", 2.0)], {"我": ["我我"]})
    assert spelled(held, frozenset("我")) == Held(
        "a\\u6211", [("\\u6211", 1.0), ("了", 2.0)], {"\\u6211": ["\\u6211\\u6211"]}
    )
    assert type(spelled(Prose("我"), frozenset("我"))) is Prose
