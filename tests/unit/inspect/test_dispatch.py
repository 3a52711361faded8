"""Operators against the profiler's own counts, and FLOPs against the formula."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from clearhead.inspect import dispatch
from clearhead.inspect.call import call, mean_output
from clearhead.inspect.dispatch import ops
from clearhead.meter.limits import Limits
from tests.families import FAMILIES, assert_no_watcher, assert_unchanged, families


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "measure_limits", lambda device: Limits(1e9, 1e9))


@pytest.mark.parametrize("family", FAMILIES)
def test_looking_changes_nothing_and_shares_add_up(family: str) -> None:
    model, batch = families()[family]
    found = []
    assert_unchanged(model, batch, lambda: found.append(ops(model, batch)))
    (view,) = found
    assert sum(one.share for one in view.operators) == pytest.approx(1.0)
    assert sum(one.seconds for one in view.operators) == pytest.approx(view.seconds)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        call(model, batch)
    assert sum(one.flops for one in view.operators) == counter.get_total_flops()


def test_calls_kernels_bytes_and_limits() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
    view = ops(model, torch.ones(4, 8), repeats=2)
    by_name = {one.name: one for one in view.operators}
    addmm, relu = by_name["aten::addmm"], by_name["aten::relu"]
    assert (addmm.calls, addmm.flops, addmm.kernel, addmm.device) == (2, 2 * 2 * 4 * 8 * 16, "CPU", "cpu")
    assert addmm.bytes == 4 * (16 + 4 * 8 + 8 * 16 + 4 * 16 + 8 + 4 * 16 + 16 * 8 + 4 * 8)
    assert relu.bytes == 2 * 4 * 4 * 16
    assert relu.bound == "memory"
    assert relu.of_limit == pytest.approx(relu.bytes / relu.seconds / 1e9)
    assert by_name["aten::t"].of_limit is None
    assert "relu" in "\n".join(view.lines(80))


def test_every_operator_says_where_its_kernel_is() -> None:
    """One that only calls others has none; one that a kernel calls has one, which the dispatcher does not show."""
    model, batch = families()["gpt"]
    kernels = {one.name: one.kernel for one in ops(model, batch, repeats=1).operators}
    assert all(kernels.values())
    assert {kernels["aten::linear"], kernels["aten::layer_norm"]} == {"calls others"}
    assert kernels["aten::as_strided"] == "CPU, inside others"
    assert kernels["aten::addmm"] == "CPU"


def test_a_step_has_the_way_back_too() -> None:
    model, batch = families()["gpt"]
    names = {one.name for one in ops(model, batch, loss=mean_output, repeats=1).operators}
    assert "aten::native_layer_norm_backward" in names
    assert "aten::native_layer_norm_backward" not in {one.name for one in ops(model, batch, repeats=1).operators}


def test_a_table_that_is_looked_up_is_not_read_whole() -> None:
    view = ops(nn.Embedding(1000, 8), torch.tensor([1, 2]), repeats=1)
    assert next(one.bytes for one in view.operators if one.name == "aten::embedding") == 2 * 2 * 8 * 4


def test_modes_are_gone_after_an_error() -> None:
    with pytest.raises(RuntimeError):
        ops(nn.Linear(2, 2), torch.ones(1, 3))
    assert_no_watcher(nn.Linear(2, 2))
