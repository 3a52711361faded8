"""Attention maps in a terminal, as a table that stands in, as data for the page, and as a picture."""

import base64
import json
import re

import pytest
import torch
from matplotlib.figure import Figure
from rich.cells import cell_len

from clearhead.drawing.heatmap import AttentionPicture, Panel
from clearhead.drawing.report import text_of

PIECES = ["我", "apple", "了", "<b>"]


def picture(keys: int = 4) -> AttentionPicture:
    weights = torch.eye(4)[:, :1].expand(4, keys) / keys
    weights = torch.stack([torch.eye(4, keys), weights.contiguous() + 0.1])
    panel = Panel("encoder.attn", "self", PIECES, (PIECES * keys)[:keys], weights, ["head 0: diagonal", "head 1"], 0)
    return AttentionPicture("attention", [panel, panel], [0])


def test_a_terminal_shows_rows_over_columns_of_two_cells() -> None:
    lines = text_of(picture(), 80)
    assert lines[0] == "encoder.attn, head 0: diagonal; rows look at columns"
    places = [
        line.index("██") - 6 + cell_len(line[: line.index("█")]) - len(line[: line.index("█")]) for line in lines[1:5]
    ]
    assert places == [0, 2, 4, 6]
    assert "我" in lines[5]


@pytest.mark.parametrize("width", [20, 40, 80])
def test_what_does_not_fit_is_said(width: int) -> None:
    lines = text_of(picture(60), width)
    assert max(map(cell_len, lines)) <= width
    assert f"the first {(width - 7) // 2} of 60 keys" in " ".join(lines)


def test_the_page_has_all_heads_to_half_a_per_cent_and_a_table_without_script() -> None:
    drawing = picture()
    page = drawing.html()
    (spelled,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    data = json.loads(spelled)
    assert data["panels"][0]["keys"] == PIECES
    for head, expected in zip(data["panels"][0]["weights"], drawing.panels[0].weights, strict=True):
        weights = torch.tensor(list(base64.b64decode(head))).view(4, 4) / 255
        assert (weights - expected).abs().max() <= 0.5 / 255 + 1e-6
    assert page.count("<table>") == 1
    assert "<th scope=row>&lt;b&gt;</th>" in page
    assert page.count(">100</td>") == 4


def test_a_picture_has_a_map_for_each_head_in_the_place_of_the_axes_it_is_given() -> None:
    figure = Figure()
    drawing = picture()
    drawing.draw(figure.subplots())
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == ["head 0: diagonal", "head 1"] * 2
    assert drawing.height > 2
