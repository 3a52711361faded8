"""A view as one page and as a picture."""

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from clearhead.drawing.fonts import CJK, fonts_for
from clearhead.drawing.page import page, save_page, save_picture
from clearhead.errors import DataError
from clearhead.messages import speaking
from tests.unit.drawing.test_report import Shown


def test_the_page_is_whole_and_needs_no_network(tmp_path: Path) -> None:
    save_page(Shown(7), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text == page(Shown(7))
    assert text.startswith("<!doctype html>")
    for word in ("http:", "https:", "src=", "@import"):
        assert word not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_picture_is_a_picture(tmp_path: Path) -> None:
    save_picture(Shown(7), tmp_path / "view.png")
    assert (tmp_path / "view.png").read_bytes().startswith(b"\x89PNG")


def drawn_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns a list that will hold the texts of the figures that are saved."""
    texts = list[str]()
    save = Figure.savefig

    def kept(figure: Figure, *args: object, **options: object) -> None:
        save(figure, *args, **options)
        texts.extend(text.get_text() for text in figure.findobj(Text))

    monkeypatch.setattr(Figure, "savefig", kept)
    return texts


def test_chinese_without_a_font_is_spelled_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = [entry for entry in font_manager.fontManager.ttflist if entry.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    texts = drawn_texts(monkeypatch)
    with speaking("zh"), warnings.catch_warnings(), caplog.at_level(logging.WARNING, logger="clearhead"):
        warnings.simplefilter("error")  # as of a character without a glyph
        save_picture(Shown(7), tmp_path / "view.png")
    assert len(caplog.messages) == 1
    assert "Noto Sans CJK" in caplog.messages[0]
    shown = "\n".join(texts)
    assert shown.isascii() or not CJK.search(shown)
    for word in ("\\u6211\\u5403", "\\u6743\\u91cd", "number 7"):
        assert word in shown


def test_chinese_in_a_picture_has_its_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if fonts_for("我吃权重").missing:
        pytest.skip("no Chinese font is installed")
    texts = drawn_texts(monkeypatch)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, logger="clearhead"):
        warnings.simplefilter("error")
        save_picture(Shown(7), tmp_path / "view.png")
    assert not caplog.messages
    assert {"我吃", "权重"} <= set(texts)


@pytest.mark.parametrize("save", [save_page, save_picture])
def test_a_place_that_cannot_be_written(tmp_path: Path, save: object) -> None:
    with pytest.raises(DataError, match=r"'.*none/x' cannot be written: No such file"):
        save(Shown(7), tmp_path / "none" / "x")  # type: ignore[operator]


def test_views_are_made_without_matplotlib() -> None:
    code = "import sys, clearhead.drawing.page; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
