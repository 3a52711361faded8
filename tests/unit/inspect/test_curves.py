"""Curves against autograd and finite differences, dead units against a count by hand."""

from typing import get_args

import pytest
import torch
from torch import nn

from clearhead.inspect.curves import activations, schedule
from clearhead.nn.activation import Elementwise, build_activation
from clearhead.optim.schedule import ScheduleName, lr_factor
from tests.families import FAMILIES, assert_unchanged, families


def test_slopes_are_differences() -> None:
    view = activations()
    x = torch.tensor(view.x, dtype=torch.float64)
    for name, slopes in view.slopes.items():
        away = (x.abs() > 0.06).nonzero()[:, 0]  # from the corner of relu
        act = build_activation(name)  # type: ignore[arg-type]
        numeric = (act(x + 1e-5) - act(x - 1e-5)) / 2e-5
        torch.testing.assert_close(torch.tensor(slopes, dtype=torch.float64)[away], numeric[away], atol=1e-4, rtol=0)
    assert set(view.values) == {*get_args(Elementwise)} - {"softmax"}


def test_dead_units_are_counted() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Tanh())
    model[0].weight.data.abs_()  # what goes in is positive, so that all units live but for two
    model[0].bias.data[:] = 0.1
    model[0].bias.data[:2], model[2].bias.data[0] = -100, 100
    view = activations(model, torch.rand(8, 4))
    assert [(one.module, one.dead, one.units) for one in view.used] == [("1", 2, 6), ("3", 1, 3)]
    y = torch.relu(model[0](view_input := torch.rand(8, 4)))
    share = activations(model, view_input).used[0].zero
    assert share == pytest.approx(float((y == 0).float().mean()))


@pytest.mark.parametrize("family", FAMILIES)
def test_looking_changes_nothing(family: str) -> None:
    model, batch = families()[family]
    found = []
    assert_unchanged(model, batch, lambda: found.append(activations(model, batch)))
    assert {one.module.rpartition(".")[2] for one in found[0].used} >= {"activation"}
    with torch.inference_mode():
        assert activations(model, batch).used == found[0].used


def test_schedules_are_the_schedules() -> None:
    view = schedule("cosine", lr=0.5, warmup_steps=10, max_steps=100)
    assert set(view.rates) == set(get_args(ScheduleName))
    for name, rates in view.rates.items():
        expected = [0.5 * lr_factor(name, int(step), warmup_steps=10, max_steps=100) for step in view.step]  # type: ignore[arg-type]
        assert rates == expected
    assert view.lines(80)[0].startswith("this run: cosine")
