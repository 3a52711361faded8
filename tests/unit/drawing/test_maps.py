"""Pictures of heads: one scale with its bar, the colours of the page, pieces at the axes and not too many."""

from itertools import pairwise

import pytest
import torch
from matplotlib.figure import Figure

from clearhead.drawing.colours import LIGHT, MARKS, colour
from clearhead.drawing.heatmap import Panel
from clearhead.drawing.maps import STEP, draw_heads, heads_height, name_ticks, shortened, weight_colours


def panel(heads: int, queries: int, keys: int) -> Panel:
    weights = torch.rand(heads, queries, keys, generator=torch.Generator().manual_seed(0)).softmax(-1)
    captions = [f"head {head}: mixed {head}%; entropy 1.00" for head in range(heads)]
    names = [f"q{at}" for at in range(queries)], [f"k{at}" for at in range(keys)]
    return Panel("encoder.attn", "self", *names, weights, captions, 0)


def drawn(*panels: Panel) -> Figure:
    figure = Figure(figsize=(10, heads_height(panels)), layout="constrained")
    draw_heads(figure, "attention", panels)
    figure.draw_without_rendering()
    return figure


def maps_of(figure: Figure) -> list:
    return [axes for axes in figure.axes if axes.images]


def labels(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize("weight", [0.0, 0.003, 0.01, 0.1, 0.37, 1.0])
def test_a_weight_has_the_colour_of_the_page(weight: float) -> None:
    colours, norm = weight_colours()
    page = [int(colour(weight)[at : at + 2], 16) for at in (1, 3, 5)]
    assert [255 * part for part in colours(norm(weight))[:3]] == pytest.approx(page, abs=2)
    assert norm.vmin == 0
    assert norm.vmax == 1


def test_all_heads_have_one_scale_whose_bar_names_its_marks() -> None:
    figure = drawn(panel(2, 3, 3), panel(5, 4, 3))
    images = [axes.images[0] for axes in maps_of(figure)]
    assert len(images) == 7
    assert {(image.norm.vmin, image.norm.vmax) for image in images} == {(0, 1)}
    assert {image.cmap(0.0) for image in images} == {images[0].cmap(0.0)}
    (bar,) = [axes for axes in figure.axes if "scale" in axes.get_xlabel()]
    assert labels(bar.xaxis) == [f"{mark:.0%}" for mark in MARKS]
    assert len(LIGHT) > 2


def test_a_head_is_its_weights_with_its_pieces() -> None:
    shown = panel(5, 4, 3)
    maps = maps_of(drawn(shown))
    for head, axes in enumerate(maps):
        assert torch.equal(torch.tensor(axes.images[0].get_array().data), shown.weights[head])
        assert axes.get_title() == f"head {head}: mixed {head}%"
    assert [labels(axes.yaxis) for axes in maps] == [["q0", "q1", "q2", "q3"], [], [], [], []]
    assert all(labels(axes.xaxis) == ["k0", "k1", "k2"] for axes in maps)


def test_keys_stand_below_the_last_map_of_each_column() -> None:
    maps = maps_of(drawn(panel(10, 20, 20)))
    named = [bool(labels(axes.xaxis)) for axes in maps]
    first = [bool(labels(axes.yaxis)) for axes in maps]
    columns = first.index(True, 1)
    assert named == [number + columns >= 10 for number in range(10)]
    assert first == [number % columns == 0 for number in range(10)]


def test_names_do_not_touch_where_they_are_many() -> None:
    figure = drawn(panel(4, 90, 70))
    axes = maps_of(figure)[0]
    for axis, way, names in ((axes.xaxis, 0, "k"), (axes.yaxis, 1, "q")):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        spans = sorted((box.min[way], box.max[way]) for box in boxes)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        shown = labels(axis)
        assert shown == [f"{names}{int(at)}" for at in axis.get_ticklocs()]
        assert len(shown) >= 14


def test_ticks_are_thinned_evenly() -> None:
    axis = Figure().subplots().xaxis
    name_ticks(axis, [str(at) for at in range(10)], 4 * STEP)
    assert list(axis.get_ticklocs()) == [0, 3, 6, 9]


def test_long_names_are_cut_with_a_sign() -> None:
    assert shortened("abcdefghijkl") == "abcdefghijkl"
    assert shortened("abcdefghijklm") == "abcdefghijk…"
