"""Private names of PyTorch stand in one list: each is there, is used, and has a way back or ends in a clear line."""

import ast
from typing import NamedTuple

import pytest

from tests.architecture import private_names, source


class Entry(NamedTuple):
    """A line of the list."""

    name: str
    rooms: set[str]
    gone: str
    """What happens when PyTorch no longer has the name."""
    test: str = ""
    """A test that takes it away."""


def listed() -> list[Entry]:
    lines = source.text(private_names.LIST).splitlines()
    fields = [[field.strip() for field in line.split("|")] for line in lines if line and not line.startswith("#")]
    return [Entry(name, set(rooms.split(", ")), *rest) for name, rooms, *rest in fields]


def test_what_the_source_uses_is_listed() -> None:
    used, entries = private_names.used(), {entry.name: entry.rooms for entry in listed()}
    unknown = {name: sorted(rooms) for name, rooms in used.items() if name not in entries}
    assert unknown == {}, "used, but not in private_names.txt: give it a way back, and a line there"
    assert sorted(entries.keys() - used) == [], "in private_names.txt, but no longer used: take these lines out"
    moved = {name: sorted(rooms) for name, rooms in used.items() if rooms != entries[name]}
    assert moved == {}, "these are used in other rooms than private_names.txt says"


def test_no_name_is_listed_twice() -> None:
    names = [entry.name for entry in listed()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [entry.name for entry in listed()])
def test_torch_has_it(name: str) -> None:
    assert private_names.has(name)


@pytest.mark.parametrize("entry", listed(), ids=lambda entry: entry.name)
def test_what_happens_without_it_is_known(entry: Entry) -> None:
    assert entry.gone.startswith(("way back", "clear line"))
    assert "traceback" not in entry.gone
    file, _, test = entry.test.partition("::")
    assert test in {function.name for function in source.functions(source.ROOT / file)}


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import torch\ntorch._foreach_add_([], 1)", {"torch._foreach_add_"}),
        ("import torch as t\nt._C._x.y", {"torch._C._x.y"}),
        ("from torch import nn\nnn.functional._pad_circular", {"torch.nn.functional._pad_circular"}),
        ("from torch.utils._pytree import tree_map", {"torch.utils._pytree.tree_map"}),
        ("import torch.utils._pytree", {"torch.utils._pytree"}),
        ("from torch._C import DispatchKey\nDispatchKey.CPU", {"torch._C.DispatchKey"}),
        ("import torch\ntorch.ops.mkldnn.linear(x)", {"torch.ops.mkldnn.linear"}),
        ("import torch\ntorch.ops.aten.add.Tensor", set()),
        ("f(x)._version", {"Tensor._version"}),
        ("self.layer._forward_hooks.clear()", {"Module._forward_hooks"}),
        ("getattr(x, '_backward_hooks')", {"Module._backward_hooks"}),
        ("if operator.name() == 'aten::_softmax': pass", {"torch.ops.aten._softmax"}),
        ("name.startswith('_saved_')", {"Node._saved_*"}),
        ("private(x, '_schema', 'no')", {"Operator._schema"}),
        ("private_in('torch._C', 'DispatchKey', 'no')", {"torch._C.DispatchKey"}),
        ("x._nobody_has_this", {"?._nobody_has_this"}),
        ("self._own, x._own, row._replace(a=1), '_own'", set()),
        ("class A(nn.Module):\n  def _apply(self): pass", {"Module._apply"}),
        ("class A:\n  def _apply(self): pass", set()),
    ],
)
def test_uses_are_found(code: str, names: set[str]) -> None:
    assert private_names.uses(ast.parse(code), {"_own"}) == names


def test_a_name_that_is_gone_is_seen() -> None:
    for name in ("torch._gone", "torch.ops.mkldnn._gone", "torch._gone.x", "Module._gone", "Node._gone_*"):
        assert not private_names.has(name)
