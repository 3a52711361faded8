"""Long names: cut at their joints, nothing lost."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

from clearhead.drawing.wording import Words, cell, cuts_of, escaped, padded, parts_of, runs, worded
from clearhead.messages import Prose, speaking

NAME = "decoder.layers.0.cross_attn.q_proj"


def lines(text: Text, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(Group(text), overflow="fold")
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_words_are_cut_at_joints() -> None:
    assert lines(Words(NAME), 80) == [NAME]
    assert lines(Words(NAME), 20) == ["decoder.layers.0.", "cross_attn.q_proj"]
    assert lines(Words(NAME), 12) == ["decoder.", "layers.0.", "cross_attn.", "q_proj"]
    assert lines(Words(f"tied: {NAME} is"), 20) == ["tied:", "decoder.layers.0.", "cross_attn.q_proj is"]
    assert lines(Words("clearhead/inspect/heatmap.py:12 draw"), 20) == ["clearhead/inspect/", "heatmap.py:12 draw"]
    assert lines(Words("_scaled_dot_product_flash"), 14) == ["_scaled_dot_", "product_flash"]
    assert lines(Words("SinusoidalPosition"), 12) == ["Sinusoidal", "Position"]


@pytest.mark.parametrize("text", [NAME, "x" * 50, "权重" * 20 + ".名", f"a b {NAME} c", "", " ", "..."])
@pytest.mark.parametrize("width", [2, 7, 20])
def test_nothing_is_lost_and_no_line_is_too_long(text: str, width: int) -> None:
    wrapped = lines(Words(text), width)
    assert "".join("".join(wrapped).split()) == "".join(text.split())
    assert all(cell_len(line.rstrip()) <= width for line in wrapped)


def test_chinese_is_broken_between_characters_and_keeps_its_punctuation() -> None:
    text = "- 每个编号取出词嵌入表的一行并缩放，再加上该位置的向量（sinusoidal）。"
    assert lines(Words(text), 24) == ["- 每个编号取出词嵌入表的", "一行并缩放，再加上该位置", "的向量（sinusoidal）。"]
    assert lines(Words("一步一步，到 I ate an apple：好"), 12) == ["一步一步，到", "I ate an", "apple：好"]


def test_style_stays() -> None:
    text = Words(NAME, style="bold")
    wrapped = text.wrap(Console(), 12, overflow="fold")
    assert [str(line.style) for line in wrapped] == ["bold"] * 4


def test_a_column_that_does_not_wrap_is_not_cut() -> None:
    assert len(Words(NAME).wrap(Console(), 12, no_wrap=True)) == 1


def test_on_a_page() -> None:
    assert escaped(NAME) == "decoder.<wbr>layers.<wbr>0.<wbr>cross_attn.<wbr>q_proj"
    assert escaped("norm.weight 0.123 <b>") == "norm.weight 0.123 &lt;b&gt;"
    assert parts_of("0.123456789012345678901234", 20, len) == ["0.123456789012345678901234"]


def test_where_a_word_fits_there_is_no_cut() -> None:
    assert cuts_of(f"{NAME} {NAME}", 40) == []


def test_a_text_of_the_program_is_on_a_page_in_both_languages() -> None:
    said = '<span data-en="interrupted" data-zh="已中断">{}</span>'
    assert worded("interrupted") == said.format("interrupted")
    with speaking("zh"):
        assert worded("interrupted") == said.format("已中断")
    assert worded("<no template>") == "&lt;no template&gt;"


def test_a_cell_is_translated_only_where_it_is_of_the_program() -> None:
    with speaking("zh"):
        assert cell(Prose("interrupted")) == "已中断"
        assert cell("interrupted") == "interrupted"
    assert cell(Prose("interrupted")) == "interrupted"


def test_padding_counts_the_columns_of_chinese() -> None:
    assert padded("步", 5) == "步   "
    assert cell_len(padded("step", 8)) == cell_len(padded("步数", 8)) == 8


def test_runs_are_the_wide_and_the_narrow_parts_with_their_columns() -> None:
    line = "我吃 am  了b"
    assert runs(line) == [(0, "我吃", True), (4, " am  ", False), (9, "了", True), (11, "b", False)]
    assert runs("我  了") == [(0, "我", True), (4, "了", True)]
    assert runs("") == []
