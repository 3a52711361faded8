"""Matrices as heat maps: signs and sizes in a terminal, on a page and as a picture, and what does not fit."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from clearhead.drawing.grid import ABOVE, BELOW, Heatmap, number, two_colours
from clearhead.drawing.page import save_picture
from clearhead.drawing.report import Part, View, text_of

SIGNED = Heatmap("signs", ["up", "down"], ["a", "b", "c"], [[1.0, 0.0, 0.25], [-2.0, float("-inf"), -0.0001]])


def test_numbers_stand_under_their_columns() -> None:
    title, head, *rows = text_of(SIGNED, 80)
    assert title == "signs"
    assert [line.split() for line in rows] == [["up", "1.000", "0", "0.250"], ["down", "-2.000", "-inf", "0.000"]]
    assert {line.index(cell) + len(cell) for line, cell in ((head, "a"), (rows[0], "1.000"), (rows[1], "-2.000"))} == {
        head.index("a") + 1
    }


def test_shades_grow_with_the_size_and_a_minus_stands_before_what_is_below_0() -> None:
    shaded = Heatmap("shades", ["x"], list("abcde"), [[0.0, 0.3, -0.5, 1.0, -1.0]], shaded=True)
    assert text_of(shaded, 80)[1] == "x   ░░-▒██-█"


def test_columns_that_do_not_fit_are_counted() -> None:
    wide = Heatmap("wide", ["row"], list(map(str, range(100))), [[0.5] * 100])
    lines = text_of(wide, 40)
    assert max(map(len, lines)) <= 40
    assert lines[1].split() == list(map(str, range(6)))
    assert lines[-1] == "the first 6 of 100 columns"
    assert "the first" not in text_of(wide, 700)[-1]


def test_a_page_colours_by_sign_and_writes_numbers_where_they_fit() -> None:
    page = SIGNED.html()
    assert "background:rgba(50,102,168,0.45)" in page  # half of the largest
    assert "background:rgba(180,85,45,0.90)" in page
    assert ">-inf<" in page
    many = Heatmap("<many>", ["row"], ["c"] * 200, [[-1.0] * 200], shaded=True).html()
    assert "&lt;many&gt;" in many
    assert 'title="-1.000"' in many
    assert many.count("<td ") == 128
    assert "the first 128 of 200 columns" in many


@dataclass(frozen=True)
class OnlyGrids(View):
    """Grids alone."""

    title = "grids"

    def parts(self) -> list[Part]:
        """See ``View``."""
        return [SIGNED, Heatmap("wide", ["a", "b"], ["x"] * 99, [[0.5] * 99] * 2), Heatmap("0", ["r"], ["c"], [[0.0]])]


def test_a_picture_of_any_size(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    save_picture(OnlyGrids(), tmp_path / "grids.png")
    assert (tmp_path / "grids.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_has_the_colours_of_the_page_and_a_bar_where_it_has_no_numbers() -> None:
    from matplotlib.figure import Figure

    colours = two_colours()
    for share, hue in ((-1.0, BELOW), (0.0, "255,255,255"), (1.0, ABOVE)):
        strength = 0.9 * abs(share)
        page = [255 - strength * (255 - int(part)) for part in hue.split(",")]
        assert [255 * part for part in colours((share + 1) / 2)[:3]] == pytest.approx(page, abs=1)
    few, many = Figure(), Figure()
    SIGNED.draw(few.subplots())
    Heatmap("wide", ["a"], list(map(str, range(300))), [[0.5] * 300]).draw(many.subplots())
    assert len(few.axes) == 1
    wide, bar = many.axes
    assert bar.get_ylim() == (-0.5, 0.5)
    names = [label.get_text() for label in wide.get_xticklabels()]
    assert names == [str(int(at)) for at in wide.get_xticks()]
    assert 40 < len(names) < 80


@pytest.mark.parametrize(
    ("x", "text"), [(0.0, "0"), (-1e-9, "0.000"), (-1.25, "-1.250"), (1234.5, "1.23e+03"), (float("-inf"), "-inf")]
)
def test_numbers_as_text(x: float, text: str) -> None:
    assert number(x) == text
