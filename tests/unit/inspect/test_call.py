"""Calls by position and by name; everything is put back afterwards, also after an error."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from clearhead.errors import ModelError
from clearhead.inspect.call import call, check_eager, copied, mean_output, untouched


class Sum(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor | None = None) -> dict[str, object]:
        return {"sum": a if b is None else a + b, "name": "x"}


class Pair(NamedTuple):
    x: torch.Tensor
    size: int


@dataclass(frozen=True)
class Laid:
    x: torch.Tensor
    name: str


@pytest.mark.parametrize("batch", [torch.ones(2), (torch.ones(2),), [torch.ones(2)], {"a": torch.ones(2)}])
def test_one_argument(batch: object) -> None:
    assert call(Sum(), batch)["sum"].tolist() == [1.0, 1.0]


def test_several_arguments() -> None:
    assert call(Sum(), (torch.ones(1), torch.ones(1)))["sum"].tolist() == [2.0]
    assert call(Sum(), {"a": torch.ones(1), "b": torch.ones(1)})["sum"].tolist() == [2.0]
    assert float(mean_output(Sum(), torch.tensor([1.0, 3.0]))) == 2.0


def test_copies_have_the_form_of_the_batch_and_nothing_in_common_with_it() -> None:
    leaf = torch.ones(2, requires_grad=True)
    batch: dict[str, Any] = {"named": Pair(leaf, 3), "list": [leaf, None], "laid": Laid(2 * leaf, "text")}
    copy = copied(batch)
    assert isinstance(copy["named"], Pair)
    assert (copy["named"].size, copy["list"][1], copy["laid"].name) == (3, None, "text")
    assert copy["named"].x is copy["list"][0], "one tensor is copied once"
    assert copy["list"][0].requires_grad
    assert copy["laid"].x.is_leaf
    with torch.no_grad():
        copy["list"][0].zero_()
        copy["laid"].x.zero_()
    assert leaf.tolist() == [1.0, 1.0]
    assert batch["laid"].x.tolist() == [2.0, 2.0]


def test_no_floating_output() -> None:
    with pytest.raises(ModelError, match="returns no floating-point tensor"):
        mean_output(Sum(), torch.ones(2, dtype=torch.long))


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(fails: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).eval()
    model[0].train()
    kept = model[0].weight.grad = torch.ones(3, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mean, state = model[1].running_mean, torch.get_rng_state()
    try:
        with untouched(model, training=True):
            assert model[0].weight.grad is None
            model(torch.randn(4, 3)).sum().backward()
            model[1].running_mean = torch.zeros(3) + 5
            assert model[2].training
            if fails:
                raise RuntimeError
    except RuntimeError:
        assert fails
    assert model[0].weight.grad is kept
    assert model[0].bias.grad is None
    assert model[1].running_mean is mean
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model] == [True, False, False]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_within_inference_mode_there_are_gradients() -> None:
    model = nn.Linear(2, 2)
    with torch.inference_mode(), untouched(model):
        loss = model(torch.ones(1, 2)).sum()
        loss.backward()
        assert model.weight.grad is not None


@pytest.mark.long
def test_compiled_models_are_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ModelError, match="'OptimizedModule' is compiled, where hooks are ignored; inspect the eager"):
        check_eager(torch.compile(model))
    model[0].compile()
    with pytest.raises(ModelError, match="'0' is compiled"):
        check_eager(model)
