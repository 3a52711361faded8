"""Distance from rank 1: the formula, hooks that switch parts off, and the collapse without skips."""

import pytest
import torch
from torch import nn

from clearhead.errors import ModelError
from clearhead.inspect.ranks import VARIANTS, distance_from_rank_1, rank, stacks_of, without
from clearhead.nn.layer import BlockConfig
from tests.small import assert_near, small, small_gpt

IDS = torch.tensor([[5, 9, 4, 7, 2, 6]])


def test_the_distance_is_that_of_the_formula() -> None:
    same = torch.randn(1, 8).expand(5, 8)
    assert distance_from_rank_1(same) == pytest.approx(0, abs=1e-6)
    assert distance_from_rank_1(torch.zeros(3, 4)) == 0
    x = torch.randn(7, 5, dtype=torch.float64)
    rest = x - x.mean(0)
    expected = (torch.linalg.norm(rest, 1) * torch.linalg.norm(rest, float("inf"))).sqrt()
    expected /= (torch.linalg.norm(x, 1) * torch.linalg.norm(x, float("inf"))).sqrt()
    assert distance_from_rank_1(x) == pytest.approx(float(expected), abs=1e-9)
    assert distance_from_rank_1(torch.tensor([[1.0, float("inf")]])) is None


@pytest.mark.parametrize("position", ["pre", "post"])
def test_a_part_that_is_switched_off_is_a_model_built_without_it(position: str) -> None:
    for off, block in (
        ("skip", BlockConfig(norm_position=position, residual=False)),
        ("mlp", BlockConfig(norm_position="pre", mlp=False)),
    ):
        if off == "mlp" and position == "post":
            continue  # the norm behind the sum stays, a model without MLP has none there
        whole, built = small(block=BlockConfig(norm_position=position)), small(block=block)
        built.load_state_dict(
            {name: tensor for name, tensor in whole.state_dict().items() if name in built.state_dict()}
        )
        with torch.inference_mode():
            expected = built(IDS, IDS)
            with without(whole, (off,)):
                assert_near(whole(IDS, IDS), expected)
            assert not torch.allclose(whole(IDS, IDS), expected)


def test_norms_are_switched_off() -> None:
    model = small_gpt()
    with torch.inference_mode(), without(model, ("norm",)):
        states = model.hidden(IDS)
        with without(model, ("skip", "mlp")):
            x = model.embedding(IDS)
            for layer in model.layers:
                x = layer.attn(x, causal=True)
            assert_near(model.hidden(IDS), x)
    assert not torch.allclose(states, model.hidden(IDS))


def test_attention_alone_loses_rank_and_skips_keep_it() -> None:
    torch.manual_seed(0)
    model = small(n_encoder_layers=6, n_decoder_layers=1, d_model=32, d_ff=64)
    view = rank(model, lambda: model(IDS, IDS))
    curves = {one.variant: one.distances for one in view.curves if one.stack == "encoder.layers"}
    assert list(curves) == list(VARIANTS)
    assert [len(values) for values in curves.values()] == [7] * 5
    assert curves["as trained"][-1] > 0.3
    assert curves["attention alone"][-1] < 0.1 * curves["as trained"][-1]
    assert len({values[0] for values in curves.values()}) == 1


def test_the_states_are_those_between_layers_and_nothing_is_left() -> None:
    model = small_gpt()
    view = rank(model, lambda: model(torch.cat([IDS, IDS + 1])))
    with torch.inference_mode():
        x = model.embedding(IDS)
        for number, layer in enumerate(model.layers):
            assert view.curves[0].distances[number] == pytest.approx(distance_from_rank_1(x[0]), abs=1e-5)
            x = layer(x)
    assert view.pieces == {"layers": 6}
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())
    assert max(map(len, view.lines(80))) <= 80
    assert "live" in view._repr_html_()


def test_what_has_no_layers_and_states_that_are_not_finite() -> None:
    with pytest.raises(ModelError, match="rank: a Linear has no layers of attention"):
        stacks_of(nn.Linear(2, 2))
    model = small_gpt()
    with torch.no_grad():
        model.embedding.tokens.weight[5, 0] = float("nan")
    with pytest.raises(ModelError, match="the states that go into 'layers' are not finite"):
        rank(model, lambda: model(IDS))
    model = small_gpt()
    with torch.no_grad():
        model.layers[0].mlp.up_proj.weight *= 1e30
    view = rank(model, lambda: model(IDS))
    assert any(value is None for one in view.curves for value in one.distances)
    assert any("overflow" in line for line in view.lines(80))
