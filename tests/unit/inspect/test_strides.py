"""Views and copies of one forward against storages and byte counts taken by hand."""

import pytest
import torch
from torch import Tensor, nn

from clearhead.inspect.strides import layout
from tests.families import FAMILIES, assert_no_watcher, assert_unchanged, families


class Moves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(0, 1)
        z = y.reshape(-1)
        w = y.contiguous()
        v = w.view(2, -1).contiguous()
        return torch.cat([z, v.permute(1, 0).flatten()]) + x.expand(2, 4, 6).sum()


def test_every_move_with_its_bytes_and_line() -> None:
    x = torch.ones(4, 6)
    view = layout(Moves(), x)
    said = [(step.function, step.operator, step.same_storage, step.copied) for step in view.steps]
    assert said == [
        ("transpose", "transpose", True, 0),
        ("reshape", "clone", False, 96),
        ("reshape", "_unsafe_view", True, 0),
        ("contiguous", "clone", False, 96),
        ("view", "view", True, 0),
        ("permute", "permute", True, 0),
        ("flatten", "clone", False, 96),
        ("flatten", "_unsafe_view", True, 0),
        ("cat", "cat", False, 192),
        ("expand", "expand", True, 0),
    ]
    assert (view.views, view.copies, view.copied) == (6, 4, 480)
    first = view.steps[0]
    assert (first.before, first.shape, first.stride, first.contiguous) == ("4x6 (6,1)", [6, 4], [1, 6], False)
    assert all("test_strides.py:" in step.line and step.line.endswith(" forward") for step in view.steps)
    assert "480 B copied" in "\n".join(view.lines(80))


def test_a_reshape_that_need_not_copy_is_a_view() -> None:
    class Reshape(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(-1)

    assert layout(Reshape(), torch.ones(4, 6)).copied == 0
    assert layout(Reshape(), torch.ones(4, 6).T).copied == 96


def test_writing_into_a_part_copies() -> None:
    class Fill(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = torch.zeros(4)
            y[:2] = x
            return y

    view = layout(Fill(), torch.ones(2))
    assert [step.copied for step in view.steps if step.operator == "copy_"] == [8]


@pytest.mark.parametrize("family", FAMILIES)
def test_looking_changes_nothing(family: str) -> None:
    model, batch = families()[family]
    found = []
    assert_unchanged(model, batch, lambda: found.append(layout(model, batch)))
    assert found[0].views == sum(not step.copied for step in found[0].steps)
    assert any(step.module.endswith(("attn", "o_proj")) for step in found[0].steps)


def test_modes_are_gone_after_an_error() -> None:
    with pytest.raises(RuntimeError):
        layout(nn.Linear(2, 2), torch.ones(1, 3))
    assert_no_watcher(nn.Linear(2, 2))
    assert not torch.overrides._get_current_function_mode_stack()
