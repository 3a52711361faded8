"""Parts of a view: aligned whatever the script, at most as wide as asked, the same figures in every form."""

import re
from dataclasses import dataclass, replace

import pytest
from rich.cells import cell_len

from clearhead.drawing.report import COLUMN_POINTS, Bars, Curves, Note, Part, Table, View, amount, text_of

TABLE = Table("pieces", ("piece", ">count"), [("我吃", "12"), ("apple", "3"), ("<b>", "1,000")], frozenset({1}))
BARS = Bars("bytes", {"权重": 30.0, "gradients": 60.0}, ("30 B", "60 B"))
CURVES = Curves(
    "rate", "step", [0.0, 1.0, 2.0, 3.0], {"up": [0.0, 1.0, 2.0, 3.0], "nan": [1.0, float("nan"), 1.0, 1.0]}
)


@dataclass(frozen=True)
class Shown(View):
    number: int

    @property
    def title(self) -> str:
        return "shown <it>"

    def parts(self) -> list[Part]:
        return [Note(f"number {self.number}"), TABLE, BARS, CURVES]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_are_at_most_as_wide_as_asked(width: int) -> None:
    lines = Shown(7).lines(width)
    assert max(map(cell_len, lines)) <= width
    assert lines[0] == "number 7"


def test_chinese_is_aligned() -> None:
    rows = [line for line in text_of(TABLE, 80) if line.endswith(("12", "3", "1,000"))]
    assert {cell_len(row) for row in rows} == {cell_len(rows[0])}


def test_a_long_cell_goes_on_and_nothing_is_cut() -> None:
    name = "decoder.layers.0.cross_attn.keys_and_values.projection"
    lines = text_of(Table("t", ("name", "more", ">n"), [(name, "x" * 60, "1")]), 50)
    first = "".join(line[: line.index("  ")] if "  " in line else line for line in lines)
    assert "".join(lines).count("x") == 60
    assert "…" not in first


def test_numbers_are_whole_where_names_are_long() -> None:
    columns = ("module, head", "type", ">share", ">entropy", ">loss without", ">divergence")
    rows = [("decoder.layers.0.cross_attn (cross)", *5 * [""]), ("  0", "mixed", "69%", "1.78", "+0.128", "0.003")]
    lines = text_of(Table("heads", columns, rows), 80)
    assert lines[1].endswith("  divergence")
    assert lines[-1].endswith("  0.003")
    assert "decoder.layers.0.cross_attn" in lines


def test_parts_have_an_empty_line_between_them() -> None:
    lines = Shown(7).lines(80)
    assert [number for number, line in enumerate(lines) if not line] == [1, 8, 12]


def test_html_shows_the_same_and_escapes() -> None:
    page = Shown(7).html()
    assert "shown &lt;it&gt;" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    for text in ("number 7", "我吃", "1,000", "60 B"):
        assert text in page
    assert "http" not in page


def test_in_a_notebook_a_view_brings_its_style_and_leaves_that_of_others_alone() -> None:
    shown = Shown(7)
    cell = shown._repr_html_()
    assert shown.html() in cell
    style = cell[cell.index("<style>") : cell.index("</style>")]
    assert "--ink" in style
    assert style.startswith("<style>.clearhead {")  # all rules are nested in this one
    assert style.count("{") == style.count("}")
    assert not re.search(r":root|\bbody\b", style)
    for word in ("http:", "https:", "src=", "@import", "url("):
        assert word not in cell


def test_the_repr_of_a_view_is_its_title() -> None:
    assert repr(Shown(7)) == "Shown('shown <it>')"


def test_a_long_title_has_the_whole_width() -> None:
    lines = text_of(Table("a title that is wider than the table it stands above", ("n",), [("1",)]), 80)
    assert lines[0] == "a title that is wider than the table it stands above"


def test_many_curves_can_be_told_apart() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    Curves("c", "layer", [0.0, 1.0], {str(n): [0.0, float(n)] for n in range(10)}).draw(axes)
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == 10
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_what_is_not_finite_leaves_a_gap() -> None:
    drawn = Curves("c", "step", [0.0, 1.0, 2.0, 3.0], {"a": [1.0, float("nan"), 2.0, float("inf")], "b": 4 * [1.5]})
    page = drawn.html()
    assert page.count("<polyline") == 3
    assert "nan" not in page
    assert {">1</text>", ">2</text>"} <= set(re.findall(r">\d</text>", page)), "ticks of both axes"
    assert any("1 to 2" in line and "?" in line for line in text_of(drawn, 80))


def test_a_page_draws_a_gap_there_too() -> None:
    drawn = Curves("c", "step", [0.0, 1.0], {"a": [1.0, float("nan")]}, from_zero=True).scene()
    assert drawn["lines"] == [{"name": "a", "values": [1.0, None]}]
    assert (drawn["x"], drawn["from_zero"]) == ([0.0, 1.0], True)


def test_a_table_that_a_figure_replaces_is_folded() -> None:
    whole, folded = TABLE.html(), replace(TABLE, folded=True).html()
    assert folded.startswith("<details><summary>pieces</summary>")
    assert whole.replace("<caption>pieces</caption>", "") in folded
    assert text_of(replace(TABLE, folded=True), 80) == text_of(TABLE, 80)


def test_of_many_columns_a_narrow_page_has_the_first_above_the_others() -> None:
    many = Table("t", ("a", ">b", ">c", ">d", ">e"), [("1", "2", "3", "4", "5")]).html()
    assert '<table class=many style="--columns:4">' in many
    assert "many" not in TABLE.html()


def test_as_dict_holds_the_fields() -> None:
    assert Shown(7).as_dict() == {"number": 7}


@pytest.mark.parametrize("width", [40, 80, 200])
def test_curves_in_a_terminal_share_one_scale_whose_ends_stand_at_the_axis(width: int) -> None:
    drawn = Curves("c", "step", [0.0, 1.0, 2.0], {"small": [1.0, 1.0, 1.5], "large": [16.0, 16.0, 1.0]})
    title, *strips, axis = text_of(drawn, width)
    assert title == "c"
    assert max(map(len, strips)) <= width
    assert [strip.split("┤")[0].split()[-1] for strip in strips] == ["16", "1", "16", "1"]
    blocks = ["".join(re.findall("[▁▂▃▄▅▆▇█]", strip)) for strip in strips]
    assert blocks[0] == ""
    assert set(blocks[1]) == {"▁"}
    assert [set(block) for block in blocks[2:]] == [{"█"}, {"█", "▁"}]
    assert len(blocks[1]) == len(blocks[3]) > len(blocks[2])
    assert axis.split() == ["0", "2", "step"]
    assert axis.index("0") == strips[1].index("▁")
    assert axis.index("2") == strips[1].rindex("▁")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (9_999, "9,999 B"), (12_345, "12.35 kB"), (5e6, "5 MB"), (123.4e9, "123.4 GB")]
)
def test_amount(count: float, text: str) -> None:
    assert amount(count) == text


def test_columns_of_a_table_in_a_picture_keep_their_places_whatever_the_font() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    TABLE.draw(axes)
    starts = {text.get_text().strip(): text.xyann[0] for text in axes.texts}
    rows = {text.get_text().strip(): text.xyann[1] for text in axes.texts}
    assert starts["我吃"] == 0
    lines = text_of(TABLE, 125)
    (line,) = [line for line in lines if line.startswith("我吃")]
    (run,) = [text for text in axes.texts if text.get_text().endswith("12")]
    assert run.xyann[0] == pytest.approx(COLUMN_POINTS * cell_len("我吃"))
    assert run.get_text() == line.removeprefix("我吃")
    assert rows["我吃"] == run.xyann[1]
