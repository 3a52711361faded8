"""FLOPs beside PyTorch's own counter, which follows the modules by itself and sees attention as its two products."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from clearhead.inspect.call import call, mean_output
from clearhead.meter.flops import FlopCount
from clearhead.meter.scope import Scope
from tests.families import FAMILIES, families


@pytest.mark.parametrize("family", FAMILIES)
def test_operators_and_modules_are_those_of_pytorch(family: str) -> None:
    model, batch = families()[family]
    with torch.no_grad(), Scope(model) as scope, FlopCount(scope) as found:
        call(model, batch)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as theirs:
        call(model, batch)
    assert found.total == found.by_module[""] == theirs.get_total_flops() > 0
    root = type(model).__name__
    counts = {name: sum(one.values()) for name, one in theirs.get_flop_counts().items() if name != "Global"}
    assert found.by_module == {name.removeprefix(root).removeprefix("."): count for name, count in counts.items()}
    assert found.by_operator["aten::addmm"] == theirs.flop_counts["Global"][torch.ops.aten.addmm]


def test_the_way_back_through_fused_attention_counts() -> None:
    q, k, v = (torch.randn(2, 4, seq, 8, requires_grad=True) for seq in (5, 7, 7))
    forward = 2 * 2 * 4 * 5 * 7 * 16
    with FlopCount() as found:
        nn.functional.scaled_dot_product_attention(q, k, v).sum().backward()
    assert found.total == forward + 5 * forward // 2  # the weights are made once more

    model = families()["gpt"][0]
    with FlopCount() as there:
        loss = mean_output(model, families()["gpt"][1])
    with FlopCount() as back:
        loss.backward()
    assert back.total > there.total


def test_operators_that_come_whole_are_taken_apart() -> None:
    """In inference mode a linear layer reaches the dispatcher as one operator, for which there is no formula."""
    with torch.inference_mode(), FlopCount() as found:
        nn.Linear(8, 16)(torch.ones(2, 3, 8))
    assert found.total == 2 * 6 * 8 * 16


def test_of_two_branches_the_one_that_runs_counts() -> None:
    weight = torch.eye(8)

    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cond(x.sum() > 0, lambda x: x @ weight, lambda x: x @ weight @ weight, (x,))  # type: ignore[no-any-return]

    once, model = 2 * 2 * 8 * 8, Branch()
    for x, times in ((torch.ones(2, 8), 1), (-torch.ones(2, 8), 2)):
        with torch.no_grad(), Scope(model) as scope, FlopCount(scope) as found:
            model(x)
        assert found.total == found.by_module[""] == times * once


BRANCHES = """
import torch
from torch import nn
from clearhead.meter.flops import FlopCount
from clearhead.meter.scope import Scope

class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(8, 8), nn.Linear(8, 16)

    def forward(self, x):
        return torch.cond(x.sum() > 0, self.one, lambda x: self.other(x)[:, :8].clone(), (x,))

model = Branches()
for x in (torch.ones(2, 8), -torch.ones(2, 8)):
    with torch.no_grad(), Scope(model) as scope, FlopCount(scope) as found:
        model(x)
    print(found.total, found.by_module[""])
"""


@pytest.mark.long
def test_a_branch_may_be_a_module() -> None:
    """In a process of its own, since the checks of shapes that tests have on cannot be traced."""
    done = subprocess.run([sys.executable, "-c", BRANCHES], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["256", "256", "512", "512"]
