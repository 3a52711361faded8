"""Norms: statistics over real pieces, training beside inference, running statistics, history."""

import pytest
import torch
from torch import Tensor, nn

from clearhead.errors import ModelError
from clearhead.inspect.norms import norm
from clearhead.nn.layer import BlockConfig
from clearhead.nn.norm import LayerNorm
from tests.small import padded, random_rows, small, small_gpt

IDS, MASK = padded(random_rows([7, 3]))


@pytest.mark.parametrize("name", ["layer", "rms", "group", "instance"])
def test_other_norms_compute_in_training_what_they_do_in_inference(name: str) -> None:
    model = small(block=BlockConfig(norm=name))
    view = norm(model, lambda: model(IDS, IDS, src_mask=MASK))
    assert {one.difference for one in view.norms} == {0.0}
    assert (name == "rms") == all(one.beta is None for one in view.norms)
    assert all(one.running is None for one in view.norms)
    assert any("compute the same" in line for line in view.lines(80))


def test_a_norm_that_computes_something_else_in_training_is_measured() -> None:
    """Whatever its class: the difference is never taken to be 0."""

    class Noisy(LayerNorm):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            return 2 * super().forward(x, mask) if self.training else super().forward(x, mask)

    model = Noisy(16, eps=1e-5)
    view = norm(model, lambda: model(torch.randn(2, 3, 16)))
    assert view.norms[0].difference == pytest.approx(1.0)
    assert not any("compute the same" in line for line in view.lines(80))


def test_a_batch_norm_is_apart_by_its_statistics_and_they_do_not_move() -> None:
    model = small(block=BlockConfig(norm="batch"))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    view = norm(model, lambda: model(IDS, IDS, src_mask=MASK, tgt_mask=MASK))
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    first = model.encoder.layers[0].attn_norm
    with torch.no_grad():
        real = model.encoder.embedding(IDS)[MASK]
        mean, var = real.mean(0), real.var(0, correction=0)
        trained = (real - mean) / (var + first.eps).sqrt() * first.weight + first.bias
        rested = (real - first.running_mean) / (first.running_var + first.eps).sqrt() * first.weight + first.bias
    one = view.norms[0]
    assert one.name == "encoder.layers.0.attn_norm"
    expected = (trained - rested).square().mean().sqrt() / rested.square().mean().sqrt()
    assert one.difference == pytest.approx(float(expected), rel=1e-4)
    assert one.running is not None
    assert one.running.batch_mean.mean == pytest.approx(float(mean.mean()), abs=1e-5)
    assert one.running.var.mean == pytest.approx(float(first.running_var.mean()), abs=1e-5)
    assert one.input.mean == pytest.approx(float(real.mean()), abs=1e-5), "padding is in the statistics"
    assert any("running statistics" in line for line in view.lines(80))


def test_gamma_and_beta_over_checkpoints() -> None:
    model = small_gpt()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    later = {name: tensor + 1 for name, tensor in weights.items()}
    view = norm(model, lambda: model(IDS), checkpoints=iter([(100, weights), (200, later)]))
    for moments in view.history.values():
        assert [one.step for one in moments] == [100, 200]
        assert moments[1].gamma.mean - moments[0].gamma.mean == pytest.approx(1, abs=1e-6)
    assert any("gamma over training" in line for line in view.lines(80))
    alone = norm(model, lambda: model(IDS), checkpoints=[(100, weights)])
    assert any("one checkpoint only" in line for line in alone.lines(80))


def test_errors_leave_no_hook() -> None:
    model = small_gpt()
    with pytest.raises(IndexError):
        norm(model, lambda: model(IDS + 100))
    assert not any(one._forward_hooks for one in model.modules())
    with pytest.raises(ModelError, match="norm: a Linear has none"):
        norm(nn.Linear(2, 2), lambda: None)
