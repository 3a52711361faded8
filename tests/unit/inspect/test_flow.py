"""Gradients over steps against a training by hand; every weight is put back."""

import copy
import math

import pytest
import torch
from torch import nn

from clearhead.inspect.call import mean_output
from clearhead.inspect.flow import gradients
from tests.families import FAMILIES, assert_no_watcher, assert_unchanged, families


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_put_back(family: str) -> None:
    model, batch = families()[family]
    found = []
    assert_unchanged(model, batch, lambda: found.append(gradients(model, [batch], steps=2)))
    (view,) = found
    assert len(view.losses) == len(view.norms) == 2
    for step, norm in enumerate(view.norms):
        assert norm == pytest.approx(math.sqrt(sum(one.norms[step] ** 2 for one in view.layers)), rel=1e-5)


def test_norms_and_updates_are_those_of_a_training_by_hand() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(8, 4)
    twin = copy.deepcopy(model)
    view = gradients(model, x, optimizer=lambda one: torch.optim.SGD(one.parameters(), lr=0.5), steps=3)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    for step in range(3):
        optimizer.zero_grad()
        loss = mean_output(twin, x)
        loss.backward()
        assert view.losses[step] == pytest.approx(loss.item(), rel=1e-6)
        grads = torch.cat([one.grad.flatten() for one in twin[0].parameters()])  # type: ignore[union-attr]
        assert view.layers[0].norms[step] == pytest.approx(float(grads.norm()), rel=1e-5)
        updates = 0.5 * float(grads.norm()) / view.layers[0].weight_norm
        assert view.layers[0].updates[step] == pytest.approx(updates, rel=1e-3)
        optimizer.step()


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_rate_of_zero_is_said(rate: float) -> None:
    model, x = nn.Linear(4, 1), torch.randn(8, 4)
    view = gradients(model, x, optimizer=lambda one: torch.optim.SGD(one.parameters(), lr=rate), steps=1)
    assert ("no weight moved" in "\n".join(view.lines(80))) == (rate == 0)


class Sick(nn.Module):
    """Two dead units, a layer whose gradient vanishes, one that has none."""

    def __init__(self, factor: float = 1e-6, loud: float = 1.0) -> None:
        super().__init__()
        self.live, self.relu, self.faint, self.never = (
            nn.Linear(4, 6),
            nn.Linear(4, 6),
            nn.Linear(6, 1),
            nn.Linear(2, 2),
        )
        self.relu.weight.data.abs_()  # what goes in is positive, so that all units live but for two
        self.relu.bias.data[:] = 0.1
        self.relu.bias.data[:2] = -100
        self.more = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.factor, self.loud = factor, loud

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.live(x) + torch.relu(self.relu(x))
        for one in self.more:
            y = y + one(y)
        out = self.faint(y).sum()
        return y.sum() + self.factor * out + (self.loud - 1) * self.faint(y.detach()).sum()


def test_dead_units_and_marks() -> None:
    torch.manual_seed(0)
    by_name = {one.name: one for one in gradients(Sick(), torch.rand(8, 4), steps=2).layers}
    assert (by_name["relu"].dead_units, by_name["relu"].units) == (2, 6)
    assert by_name["live"].dead_units == 0
    assert (by_name["faint"].mark, by_name["never"].mark, by_name["live"].mark) == ("vanishing", "none", "")
    loud = {one.name: one.mark for one in gradients(Sick(factor=1.0, loud=1e7), torch.rand(8, 4), steps=1).layers}
    assert loud["faint"] == "exploding"


def test_nan_in_a_weight_is_marked_and_stays() -> None:
    model = nn.Linear(2, 2)
    model.weight.data[0, 0] = float("nan")
    view = gradients(model, torch.ones(1, 2), loss=lambda one, x: one(x).square().sum(), steps=2)
    assert view.layers[0].mark == "not finite"
    assert int(model.weight.isnan().sum()) == 1
    assert view.lines(80)


def test_weights_are_put_back_after_an_error() -> None:
    model, calls = nn.Linear(2, 2), []
    before = model.weight.clone()

    def fails(one: nn.Module, x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("second step")
        return one(x).sum()

    with pytest.raises(ValueError, match="second step"):
        gradients(model, torch.ones(1, 2), loss=fails)
    assert torch.equal(model.weight, before)
    assert_no_watcher(model)


def test_progress() -> None:
    said: list[tuple[int, int]] = []
    gradients(nn.Linear(2, 2), torch.ones(1, 2), steps=2, progress=lambda *done: said.append(done))
    assert said == [(1, 2), (2, 2)]
