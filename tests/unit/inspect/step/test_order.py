"""Hooks fire in the order in which PyTorch itself calls them, each once a call, and none is left."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clearhead.errors import ModelError, UsageError
from clearhead.inspect.step.order import OF_MODULE, OF_SAVING, OF_STEP, hooks
from tests.families import FAMILIES, assert_no_watcher, assert_unchanged, families


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_of_every_family(family: str) -> None:
    model, batch = families()[family]
    views = []
    assert_unchanged(model, batch, lambda: views.append(hooks(model, batch)))
    (view,) = views
    assert view.module.endswith("layers.0.attn.q_proj")
    assert view.silent == []
    kinds = [fired.kind for fired in view.fired]
    assert set(OF_MODULE) | set(OF_SAVING) | {f"optimizer: {kind}" for kind in OF_STEP} <= set(kinds)
    assert all(fired.times == 1 for fired in view.fired if not fired.kind.startswith("saved tensor"))
    phases = [fired.phase for fired in view.fired]
    assert phases == sorted(phases, key=["forward", "backward", "optimizer step", "saving", "loading"].index)
    assert max(map(len, view.lines(80))) <= 80


def test_the_order_is_that_in_which_a_program_sees_them() -> None:
    """Against hooks that are registered here, one by one, on a layer of its own."""
    seen: list[str] = []
    layer, x = nn.Linear(3, 3), torch.ones(2, 3, requires_grad=True)

    def note(name: str) -> Any:
        return lambda *given: seen.append(name)

    for kind in OF_MODULE:
        getattr(layer, f"register_{kind}")(note(kind))
    layer.weight.register_hook(note("weight: hook"))
    layer.weight.register_post_accumulate_grad_hook(note("weight: post_accumulate_grad_hook"))
    layer.register_forward_hook(lambda module, args, output: output.register_hook(note("output: hook")) and None)
    layer(x).sum().backward()
    view = hooks(nn.Linear(3, 3), x, module="")
    assert [fired.kind for fired in view.fired if fired.kind in seen] == seen
    assert len(seen) == 7


def test_a_layer_that_is_called_twice_and_one_that_is_not() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.lin(self.lin(x))

    model = Twice()
    view = hooks(model, torch.ones(1, 2))
    kinds = [fired.kind for fired in view.fired]
    assert kinds.count("forward_hook") == 2
    assert kinds.count("weight: post_accumulate_grad_hook") == 1, "gradients of both calls are added before"
    view = hooks(model, torch.ones(1, 2), module="unused")
    assert "forward_hook" in view.silent
    assert "not called: forward_hook" in view.lines(80)
    assert {fired.phase for fired in view.fired} == {"optimizer step", "saving", "loading"}


def test_an_output_that_is_overwritten_in_place() -> None:
    """PyTorch refuses that where a full backward hook is, so such hooks are left out and said to be not called."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
    view = hooks(model, torch.ones(1, 2), module="0")
    assert not any("backward" in fired.kind for fired in view.fired)
    assert "output: hook" in {fired.kind for fired in view.fired}
    assert_no_watcher(model)


def test_ids_have_no_gradient_and_modules_may_have_no_weight() -> None:
    model, batch = families()["gpt"]
    view = hooks(model, batch, module="embedding.tokens")
    assert "full_backward_hook" in {fired.kind for fired in view.fired}
    tap = hooks(model, batch, module="layers.0.attn.core.tap")
    assert not any(fired.kind.startswith("weight") for fired in tap.fired)
    assert "forward_hook" in {fired.kind for fired in tap.fired}, "a hook on it takes attention off its fused kernel"


def test_wrong_names_and_errors_leave_nothing() -> None:
    model, batch = families()["gpt"]
    with pytest.raises(UsageError, match=r"module 'layers.0.atn': a GPT has none .*did you mean 'layers.0.attn'"):
        hooks(model, batch, module="layers.0.atn")

    def fails(model: nn.Module, batch: Any) -> Tensor:
        model(batch)
        raise KeyError

    with pytest.raises(KeyError):
        hooks(model, batch, loss=fails)
    assert_no_watcher(model)
    model.compile(backend="eager")
    with pytest.raises(ModelError, match="is compiled"):
        hooks(model, batch)
