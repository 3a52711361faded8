"""The mode under the watchers of operators."""

import subprocess
import sys
from collections import OrderedDict, UserDict

import pytest
import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from clearhead.meter.operators import OperatorMode, tensors_of

LOOK = """
import sys
import torch
from clearhead.inspect.modules import model
from clearhead.inspect.strides import layout
net = torch.nn.Linear(2, 2)
assert model(net, torch.ones(1, 2)).flops == 8
assert layout(net, torch.ones(1, 2)).views == 1
print("torch._dynamo" in sys.modules)
"""


def test_it_changes_nothing() -> None:
    x = torch.randn(3, 4)
    with OperatorMode():
        found = torch.add(x, x, alpha=2)
    assert torch.equal(found, torch.add(x, x, alpha=2))
    assert not _get_current_dispatch_mode_stack()


@pytest.mark.long
def test_the_compiler_is_not_loaded() -> None:
    """It takes longer than the view."""
    said = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


def test_tensors_are_those_of_the_tree() -> None:
    a, b, c, d, e = torch.arange(5.0).unbind()
    tree = {
        "x": [a, (b, 3, None, "text")],
        "y": OrderedDict(z=c),
        "w": torch.float32,
        "v": torch.return_types.max((d, e)),
    }
    assert [*map(int, tensors_of(tree))] == [*range(5)]
    assert tensors_of(a) == [a]
    assert tensors_of(UserDict(x=a)) == [a]
