"""What goes into a stack is taken apart: sums against the modules, angles and slopes against their definitions."""

import math

import pytest
import torch
from torch import nn

from clearhead.errors import ModelError
from clearhead.inspect.attend.inputs import embedded, embedding
from clearhead.nn import embedding as module
from tests.families import FAMILIES, assert_unchanged, families
from tests.small import assert_near, small, small_gpt, small_rnn

IDS = torch.tensor([[5, 9, 4, 7, 2, 6]])


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_add_up_to_what_the_stack_gets(family: str) -> None:
    model, batch = families()[family]
    views = []

    def read() -> object:
        return (
            model(**batch) if isinstance(batch, dict) else model(*batch) if isinstance(batch, tuple) else model(batch)
        )

    assert_unchanged(model, batch, lambda: views.append(embedding(model, read)))
    (view,) = views
    assert [one.name for one in view.inputs] == {
        "transformer": ["encoder.embedding", "decoder.embedding"],
        "gpt": ["embedding"],
        "bert": ["bert.embedding"],
    }[family]
    for one in view.inputs:
        assert one.apart < 1e-5
        summed = torch.stack([torch.tensor(part) for part in one.parts.values()]).sum(0)
        assert_near(torch.tensor(one.summed), summed)
        assert one.pieces == list(map(str, one.ids))
    assert [one.normed for one in view.inputs] == [family == "bert"] * len(view.inputs)
    assert max(map(len, view.lines(80))) <= 80


def test_positions_and_segments_are_those_that_were_given() -> None:
    model, _ = families()["bert"]
    segments = torch.tensor([[0, 0, 0, 1, 1, 1]])
    (one,) = embedded(model, lambda: model(IDS, segments=segments))
    assert_near(one.parts["segment"], model.bert.embedding.segments.weight[segments[0]])
    assert_near(one.parts["position"], model.bert.embedding.position.weight[:6])
    translator = small(position="sinusoidal")
    mask = torch.tensor([[False, False, True, True, True, True]])  # padding on the left, where no position counts
    source, target = embedded(translator, lambda: translator(IDS, IDS, src_mask=mask))
    assert_near(source.parts["position"][2:], translator.encoder.embedding.position.table[:4])
    assert source.scale == target.scale == 4.0
    assert (source.apart, target.apart) == (0.0, 0.0)


def test_a_sum_that_is_another_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_placed", lambda x, position, positions, start: x)
    model = small(position="sinusoidal")
    assert embedded(model, lambda: model(IDS, IDS))[0].apart > 0.5


def test_labels_are_given_in_the_order_of_the_calls() -> None:
    model = small(position="learned")
    view = embedding(model, lambda: model(IDS, IDS[:, :2]), pieces=[list("abcdef"), ["<s>", "x"]])
    assert [one.pieces for one in view.inputs] == [list("abcdef"), ["<s>", "x"]]


def test_rotary_positions_turn_by_their_rates() -> None:
    model = small_gpt(position="rotary")
    view = embedding(model, lambda: model(IDS))
    (turns,) = view.turns
    rates = [10000.0 ** (-2 * pair / 4) for pair in range(2)]
    assert turns.rates == pytest.approx(rates, rel=1e-4)
    for at, angles in enumerate(turns.angles):
        assert angles == pytest.approx([at * rate % (2 * math.pi) for rate in rates], abs=1e-5)
    assert turns.gain == 1.0
    assert "nothing is added for the position" in view.lines(80)
    both = small(position="rotary")
    assert len(embedding(both, lambda: both(IDS, IDS)).turns) == 1, "both stacks turn alike, which is said once"


def test_alibi_takes_slope_times_distance_off() -> None:
    model = small_gpt(position="alibi")
    view = embedding(model, lambda: model(IDS))
    (slopes,) = view.slopes
    assert slopes.slopes == [2 ** (-2.0 * (head + 1)) for head in range(4)]
    for slope, added, before in zip(slopes.slopes, slopes.added, slopes.before, strict=True):
        assert added == pytest.approx([-slope * (5 - key) for key in range(6)])
        assert before == pytest.approx([-slope, -4 * slope, -16 * slope])
    assert view.turns == []


def test_recurrent_models_add_nothing_and_others_have_no_embedding_of_ours() -> None:
    model = small_rnn()
    view = embedding(model, lambda: model(IDS[:, :5]))
    assert list(view.inputs[0].parts) == ["row"]
    assert "nothing is added for the position" in view.lines(80)
    with pytest.raises(ModelError, match="embedding: a Embedding has none of clearhead's that ran"):
        embedding(nn.Embedding(3, 2), lambda: None)
    with pytest.raises(IndexError):
        embedding(model, lambda: model(IDS[:, :5] + 100))
    assert not any(one._forward_hooks for one in model.modules())
