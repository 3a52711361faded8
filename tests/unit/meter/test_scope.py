"""Which module is at work, without a hook on any."""

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from clearhead.meter.scope import Scope, shape_of


class Nested(nn.Module):
    def __init__(self, seen: list[str | None]) -> None:
        super().__init__()
        self.inner, self.seen, self.scope = nn.Linear(2, 3), seen, [None]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen.append(self.scope[0].current)  # type: ignore[attr-defined]
        return self.inner(x), x


def hooks() -> int:
    return len(torch_module._global_forward_hooks) + len(torch_module._global_forward_pre_hooks)


def test_the_innermost_module_is_named() -> None:
    seen: list[str | None] = []
    nested = Nested(seen)
    model = nn.Sequential(nested, nn.Identity())
    with Scope(model) as scope:
        nested.scope[0] = scope  # type: ignore[call-overload]
        nested(torch.ones(1, 2))
        assert scope.current is None
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        nn.Linear(2, 2)(torch.ones(1, 2))  # of another model
    assert seen == ["0"]
    assert {name: visit.output for name, visit in scope.visits.items()} == {"0": "1x3, 1x2", "0.inner": "1x3"}
    assert hooks() == 0


def test_hooks_are_gone_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(RuntimeError), Scope(model) as scope:
        model(torch.ones(1, 3))
    assert scope.current is None
    assert hooks() == 0


def test_after_a_failed_call_the_stack_is_right() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with Scope(model) as scope:
        with pytest.raises(RuntimeError):
            model(torch.ones(1, 3))
        assert scope.current is None


def test_shapes() -> None:
    assert shape_of({"a": torch.ones(()), "b": [torch.ones(2, 3), "x"]}) == "scalar, 2x3"
