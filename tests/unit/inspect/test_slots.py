"""Groups and state by name against the optimizer's own; the rate ahead against the schedule."""

import math

import pytest
import torch

from clearhead.inspect.slots import optimizer as look
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.optim.schedule import lr_factor
from tests.families import families


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_groups_and_state_are_the_optimizers(name: str) -> None:
    model, batch = families()["gpt"]
    built = build_optimizers(model, OptimConfig(name=name, weight_decay=0.1), 1e-2)  # type: ignore[arg-type]
    assert look(built.parts, model).slots == []
    model(batch).sum().backward()
    built.step()
    view = look(built.parts, model)
    assert sorted(name for group in view.groups for name in group.names) == sorted(dict(model.named_parameters()))
    assert sum(group.parameters for group in view.groups) == sum(one.numel() for one in model.parameters())
    named = {f"{slot.name}/{slot.parameter}": slot for slot in view.slots}
    own = built.state_tensors()
    assert named.keys() == own.keys()
    assert all(named[key].bytes == own[key].numel() * own[key].element_size() for key in own)
    decays = {name for group in view.groups if group.weight_decay for name in group.names}
    assert decays == {name for name, one in model.named_parameters() if one.ndim >= 2}


def test_the_half_life_halves() -> None:
    model, _ = families()["gpt"]
    view = look(torch.optim.SGD(model.parameters(), lr=0.1), model, ema_decay=0.999)
    assert view.ema_half_life is not None
    assert math.isclose(0.999**view.ema_half_life, 0.5)
    assert any("half-life 693 steps" in line for line in view.lines(80))
    assert view.as_dict()["ema_half_life"] == view.ema_half_life


def test_the_rate_ahead() -> None:
    model, _ = families()["gpt"]
    rate = lambda step: lr_factor("cosine", step, warmup_steps=10, max_steps=500)  # noqa: E731
    view = look(torch.optim.SGD(model.parameters(), lr=0.1), model, step=100, max_steps=500, rate=rate)
    assert (view.ahead["step"][0], view.ahead["step"][-1]) == (101, 500)
    assert view.ahead["lr"] == [rate(int(step)) for step in view.ahead["step"]]
