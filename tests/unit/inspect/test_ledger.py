"""The ledger of a step against PyTorch's profiler, which sees every allocation; nothing moves, by any optimizer."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from clearhead.inspect.call import mean_output
from clearhead.inspect.ledger import memory
from clearhead.optim.build import OptimConfig, OptimizerName, build_ema, build_optimizers
from tests.families import FAMILIES, assert_no_watcher, assert_unchanged, families


def allocated(work: Callable[[], object]) -> tuple[int, int]:
    """Bytes that stay and the most at once, by the profiler."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    total = peak = 0
    for event in profiler.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            total += event.nbytes()
            peak = max(peak, total)
    return total, peak


@pytest.mark.parametrize("family", FAMILIES)
def test_the_ledger_is_what_the_profiler_measures(family: str) -> None:
    model, batch = families()[family]
    view = memory(model, batch)
    kept: list[Tensor] = []
    model.train()
    forward, _ = allocated(lambda: kept.append(mean_output(model, batch)))
    assert view.entries["saved activations"] == pytest.approx(forward, rel=0.05)
    kept.clear()
    assert sum(view.activations.values()) == view.entries["saved activations"]
    state = view.entries["parameters"] + view.entries.get("buffers", 0) + view.entries["batch"]
    grads, peak = allocated(lambda: mean_output(model, batch).backward())
    assert view.entries["gradients"] == pytest.approx(grads, rel=0.05)
    assert view.peak - state == pytest.approx(peak, rel=0.05)
    assert sum(view.at_peak.values()) == view.peak


@pytest.mark.long_but(every=12)
@pytest.mark.parametrize("name", get_args(OptimizerName))
@pytest.mark.parametrize("family", FAMILIES)
def test_every_moment_adds_up_and_nothing_moves(family: str, name: Any) -> None:
    model, batch = families()[family]
    optimizers = build_optimizers(model, OptimConfig(name=name, weight_decay=0.1), 1e-2)
    rates = [group["lr"] for part in optimizers.parts for group in part.param_groups]
    found = []
    ema = build_ema(model, 0.9)
    assert_unchanged(model, batch, lambda: found.append(memory(model, batch, optimizers=optimizers.parts, ema=ema)))
    (view,) = found
    assert [moment.name for moment in view.moments][-1] == "after the optimizer"
    assert all(abs(moment.gap) < 0.05 for moment in view.moments), view.moments
    assert rates == [group["lr"] for part in optimizers.parts for group in part.param_groups]
    assert optimizers.state_tensors() == {}
    numbers = sum(parameter.numel() for parameter in model.parameters())
    assert view.entries["parameters"] == view.entries["gradients"] == 4 * numbers
    if name in ("adam", "adamw"):
        assert view.entries["optimizer exp_avg"] == view.entries["optimizer exp_avg_sq"] == 4 * numbers
    assert view.entries["moving average"] >= 4 * numbers


def test_a_state_that_is_there_stays_as_it_is() -> None:
    model, batch = families()["gpt"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    mean_output(model, batch).backward()
    optimizer.step()
    before = {name: value.clone() for slots in optimizer.state.values() for name, value in slots.items()}
    view = memory(model, batch, optimizers=[optimizer])
    after = {name: value for slots in optimizer.state.values() for name, value in slots.items()}
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert "optimizer exp_avg" in view.entries
    assert view.moments[-1].name == "after backward"


def test_nan_in_the_weights_stays_where_it_is() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[0].weight.data[0, 0] = float("nan")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    memory(model, torch.ones(2, 3), optimizers=[torch.optim.Adam(model.parameters(), weight_decay=0.1)])
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.nan_to_num(7.0), before[name].nan_to_num(7.0)), name


def test_after_an_error_nothing_is_left() -> None:
    model = nn.Linear(3, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.5)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        memory(model, torch.ones(2, 4), optimizers=[optimizer])
    assert_no_watcher(model)
    assert not optimizer.state
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert model.weight.grad is None


def test_the_watcher_holds_no_tensor() -> None:
    """A step under watch has the peak of one without, to the byte, but for what hooks themselves make."""
    model, batch = families()["gpt"]
    model.train()
    _, unwatched = allocated(lambda: mean_output(model, batch).backward())
    model.zero_grad()
    _, watched = allocated(lambda: memory(model, batch))
    assert watched <= 1.05 * unwatched + 4096
