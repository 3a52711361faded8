"""Private names of PyTorch: what counts and views say without them, one name after the other."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import flop_registry

from clearhead.errors import ModelError
from clearhead.inspect.dispatch import ops
from clearhead.inspect.graph import autograd
from clearhead.inspect.modules import model
from clearhead.inspect.strides import layout
from clearhead.meter import operators, torch_names
from clearhead.meter.flops import FlopCount
from clearhead.meter.formulas import known_formulas
from clearhead.meter.live import Live
from clearhead.meter.operators import OperatorMode, tensors_of
from clearhead.optim.build import OptimConfig
from clearhead.training.config import MachineConfig
from clearhead.training.simulation import simulate

LAYER, X = nn.Linear(2, 2), torch.ones(1, 2)


class Box:
    """A container that only PyTorch's trees can open."""


def count(mode: Any) -> None:
    with mode:
        LAYER(X)


def see_graph() -> None:
    autograd(nn.Sequential(LAYER, nn.ReLU()), X)


def see_modules() -> None:
    model(nn.Sequential(nn.BatchNorm1d(2)), torch.ones(2, 2))


def see_operators() -> None:
    ops(LAYER, X, repeats=1)


def forecast() -> None:
    simulate(lambda: nn.Linear(2, 2), lambda module: module(X).sum(), MachineConfig(), OptimConfig())


NAMES: list[tuple[str, Callable[[], object], str]] = [
    ("_schema", lambda: count(FlopCount()), "FLOPs cannot be counted"),
    ("_cdata", lambda: count(Live({})), "memory cannot be counted"),
    ("_compiled_call_impl", see_modules, "the model cannot be looked at"),
    ("_buffers", see_graph, "the model cannot be looked at"),
    ("_input_metadata", see_graph, "the graph of a step cannot be read"),
    ("_sequence_nr", see_graph, "the graph of a step cannot be read"),
    ("_dispatch_dump_table", see_operators, "operators cannot be listed"),
    ("_version", see_graph, "the graph of a step cannot be read"),
    *(
        (name, see_modules, "modules cannot be listed")
        for name in (
            "_modules",
            "_non_persistent_buffers_set",
            "_forward_hooks",
            "_forward_pre_hooks",
            "_backward_hooks",
            "_backward_pre_hooks",
            "_state_dict_hooks",
            "_load_state_dict_pre_hooks",
        )
    ),
]


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize(("name", "need", "purpose"), NAMES, ids=[name for name, _, _ in NAMES])
def test_without_a_name_there_is_one_clear_line(
    name: str, need: Callable[[], object], purpose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(owner: object, wanted: str) -> Any:
        if wanted == name:
            raise AttributeError(wanted)
        return getattr(owner, wanted)

    need()
    monkeypatch.setattr(torch_names, "getattr", without, raising=False)
    with pytest.raises(ModelError, match=rf"^{purpose}: PyTorch .* has no '{name}'; install a version"):
        need()


@pytest.mark.parametrize(
    ("module", "name", "need", "purpose"),
    [
        ("torch._C", "DispatchKey", lambda: count(FlopCount()), "FLOPs cannot be counted"),
        ("torch.utils._pytree", "tree_leaves", lambda: tensors_of(Box()), "tensors in a Box cannot be listed"),
        ("torch._subclasses.fake_tensor", "FakeTensorMode", forecast, "a training step cannot be forecast"),
    ],
)
def test_without_a_module_there_is_one_clear_line(
    module: str, name: str, need: Callable[[], object], purpose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def without(wanted: str) -> Any:
        if wanted == module:
            raise ImportError(wanted)
        return real(wanted)

    monkeypatch.setattr(torch_names.importlib, "import_module", without)
    with pytest.raises(ModelError, match=rf"^{purpose}: PyTorch .* has no '{module}\.{name}'"):
        need()


def copy_of(module: Any) -> Any:
    """Returns a module that is executed anew, beside the one that others have imported."""
    spec = importlib.util.spec_from_file_location("copied", Path(str(module.__file__)))
    assert spec is not None
    assert spec.loader is not None
    copied = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copied)
    return copied


def test_a_base_class_that_is_gone_is_told_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at import: training needs no watcher."""
    monkeypatch.setitem(sys.modules, "torch.utils._python_dispatch", None)
    copied = copy_of(operators)
    with pytest.raises(ModelError, match=r"^operators cannot be watched: .*_python_dispatch\.TorchDispatchMode'"):
        copied.OperatorMode()
    assert copied.tensors_of([X]) == [X]


def test_a_base_class_without_a_guard_watches_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    before = FlopCount()
    count(before)
    monkeypatch.delattr(OperatorMode, "_should_skip_dynamo")
    after = FlopCount()
    count(after)
    assert before.by_operator == after.by_operator != {}


def test_formulas_that_are_not_wrapped_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    before = FlopCount()
    count(before)
    for operator, formula in list(flop_registry.items()):
        plain = lambda *args, formula=formula, **kwargs: formula(*args, **kwargs)  # noqa: E731 has no __wrapped__
        monkeypatch.setitem(flop_registry, operator, plain)
    assert not any(hasattr(formula, "__wrapped__") for formula in flop_registry.values())
    assert known_formulas()
    after = FlopCount()
    count(after)
    assert before.by_operator == after.by_operator != {}


def test_layouts_need_no_operator_of_a_certain_name() -> None:
    """They ask for the name of what runs, never for an operator by its name."""

    class Moves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.aten._unsafe_view(x, [2, 1]).t()

    assert [step.operator for step in layout(Moves(), X).steps] == ["_unsafe_view", "t"]
