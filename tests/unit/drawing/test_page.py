"""A view as one page and as a picture."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from matplotlib import font_manager

from clearhead.drawing.page import CHINESE_FONTS, page, save_page, save_picture
from clearhead.errors import DataError
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


def test_chinese_in_a_picture_has_its_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not {*CHINESE_FONTS} & {*font_manager.get_font_names()}:
        pytest.skip("no Chinese font is installed")
    monkeypatch.setattr(warnings, "filterwarnings", lambda *ignored: None)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        save_picture(Shown(7), tmp_path / "view.png")
    assert not [warning for warning in found if "Glyph" in str(warning.message)]


@pytest.mark.parametrize("save", [save_page, save_picture])
def test_a_place_that_cannot_be_written(tmp_path: Path, save: object) -> None:
    with pytest.raises(DataError, match=r"'.*none/x' cannot be written: No such file"):
        save(Shown(7), tmp_path / "none" / "x")  # type: ignore[operator]


def test_views_are_made_without_matplotlib() -> None:
    code = "import sys, clearhead.drawing.page; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
