"""Gradients of unequal batches: equal to those of one batch, unless a norm looks at the batch; zeros against none."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clearhead.errors import UsageError
from clearhead.inspect.step.accumulation import accumulate, gradient_of, idle_step
from clearhead.models.bert import Bert, BertConfig
from clearhead.nn.layer import BlockConfig
from tests.families import assert_unchanged
from tests.small import VOCAB, small_gpt

IDS = torch.randint(4, VOCAB, (5, 8), generator=torch.Generator().manual_seed(0))
PARTS = list(IDS.split([1, 3, 1]))


def loss(model: nn.Module, ids: Tensor) -> tuple[Tensor, int]:
    logits = model(ids)
    return cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="sum"), ids[:, 1:].numel()


def test_gradients_add_up_and_means_do_not() -> None:
    model = small_gpt(dropout=0.5)
    views = []
    assert_unchanged(model, IDS, lambda: views.append(accumulate(model, PARTS, IDS, loss=loss)))
    (view,) = views
    assert view.targets == [7, 21, 7]
    assert max(view.apart, view.worst_apart) < 1e-5
    assert view.worst in dict(model.named_parameters())
    assert view.means > 0.05
    assert view.saved["largest"] < 0.75 * view.saved["all"]
    assert view.held == {"weights": sum(p.nbytes for p in model.parameters()), "zeros": view.held["weights"], "none": 0}
    assert view.moved["none"] == 0.0 < view.moved["zeros"]
    assert max(map(len, view.lines(80))) <= 80


def test_the_gradient_is_autograds() -> None:
    model = small_gpt()
    total, count = loss(model, IDS)
    (total / count).backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    summed = gradient_of(model, PARTS, loss, targets=count)
    assert summed.keys() == expected.keys()
    assert all(torch.allclose(its, expected[name], atol=1e-6) for name, its in summed.items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_norm_over_the_batch_is_seen_and_its_statistics_stay() -> None:
    torch.manual_seed(0)
    config = BertConfig(
        d_model=16, d_ff=24, n_heads=4, n_layers=1, max_seq_len=16, dropout=0.0, block=BlockConfig(norm="batch")
    )
    model = Bert(config, vocab_size=VOCAB).eval()

    def powers(model: nn.Module, ids: Tensor) -> tuple[Tensor, int]:
        return model(ids).exp().sum(), ids.numel()  # a sum of squares would be the same for all normalized states

    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    view = accumulate(model, PARTS, IDS, loss=powers)
    assert view.apart > 0.01
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_one_row_too_many_is_seen() -> None:
    view = accumulate(small_gpt(), [*PARTS, IDS[:1]], IDS, loss=loss)
    assert view.apart > 0.01


def test_the_optimizer_decides_what_zeros_move() -> None:
    def plain(model: nn.Module) -> Any:
        return torch.optim.SGD(model.parameters(), lr=0.1)

    view = accumulate(small_gpt(), PARTS, IDS, loss=loss, optimizer=plain, note="at a rate of 0.1")
    assert view.moved == {"zeros": 0.0, "none": 0.0}
    assert "at a rate of 0.1" in view.lines(80)
    model = nn.Linear(2, 2)
    model.weight.grad = torch.ones(2, 2)
    assert idle_step(model, torch.optim.SGD(model.parameters(), lr=0.5).step) == (16, pytest.approx(0.5))


def test_errors_put_the_weights_back() -> None:
    model = small_gpt()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    class Breaks(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            super().step(closure)
            raise KeyError

    with pytest.raises(KeyError):
        accumulate(model, PARTS, IDS, loss=loss, optimizer=lambda model: Breaks(model.parameters(), lr=1.0))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(UsageError, match="batches: must be two or more, not 1"):
        accumulate(model, [IDS], IDS, loss=loss)
