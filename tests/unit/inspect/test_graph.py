"""The graph of a step against autograd itself: nodes, leaves, saved bytes, conflicts that PyTorch refuses."""

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clearhead.errors import ModelError
from clearhead.inspect import graph
from clearhead.inspect.call import mean_output
from clearhead.inspect.graph import autograd
from clearhead.inspect.ledger import memory
from tests.families import FAMILIES, assert_no_watcher, assert_unchanged, families


def nodes_of(root: Any) -> set[Any]:
    found, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node not in found and not hasattr(node, "variable"):
            found.add(node)
            waiting += [following for following, _ in node.next_functions if following is not None]
    return found


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_is_autograds(family: str) -> None:
    model, batch = families()[family]
    found = []
    assert_unchanged(model, batch, lambda: found.append(autograd(model, batch)))
    (view,) = found
    model.train()
    loss = mean_output(model, batch)
    assert len(view.nodes) == len(nodes_of(loss.grad_fn))
    loss.backward()
    assert view.kept == [name for name, one in model.named_parameters() if one.grad is not None]
    assert set(view.kept) == {leaf for node in view.nodes for leaf in node.leaves}
    assert not view.conflicts
    assert not view.error
    assert all(target > node.number for node in view.nodes for target in node.inputs)
    # the ledger leaves out what was there before: parameters and the batch
    ledger = memory(model, batch).entries
    assert view.saved_bytes == pytest.approx(
        ledger["saved activations"], abs=ledger["batch"] + ledger.get("buffers", 0)
    )


def test_nodes_belong_to_the_module_that_made_them() -> None:
    model, batch = families()["gpt"]
    by_operator = {(node.operator, node.module) for node in autograd(model, batch).nodes}
    assert ("Addmm", "layers.0.mlp.up_proj") in by_operator
    assert ("Transpose", "layers.1.attn") in by_operator
    assert ("Add", "layers.0.attn_residual") in by_operator
    assert ("Mean", "loss") in by_operator


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin, self.unused, self.still = nn.Linear(3, 3), nn.Linear(2, 2), nn.Linear(3, 3)
        self.still.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.sigmoid(self.lin(x))
        z = self.still(y)
        y.add_(1)
        y.mul_(2)
        return z.sum() + y.sum()


def test_an_in_place_conflict_names_both_lines() -> None:
    model = InPlace()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        model(torch.ones(2, 3)).backward()
    model.zero_grad()
    first = InPlace.forward.__code__.co_firstlineno
    view = autograd(model, torch.ones(2, 3))
    (conflict,) = view.conflicts
    assert conflict.saved_by == "SigmoidBackward0"
    assert conflict.saved_at.endswith(f"test_graph.py:{first + 1} forward")
    assert conflict.overwritten_by == "aten.add_.Tensor"
    assert conflict.overwritten_at.endswith(f"test_graph.py:{first + 3} forward")
    assert view.lines(200)[0].startswith("in-place conflict: SigmoidBackward0 saved 2x3 at ")


class WritesIntoItsBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin, self.scale = nn.Linear(3, 3), nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.sigmoid(self.lin(x))
        x.mul_(self.scale)
        return (x * y).sum()


def test_a_model_that_writes_into_its_batch_is_given_a_copy_each_time() -> None:
    """The lines of a conflict are found by a second forward, which would meet the graph of the first in the batch."""
    batch = torch.ones(2, 3)
    first = WritesIntoItsBatch.forward.__code__.co_firstlineno
    view = autograd(WritesIntoItsBatch(), batch)
    (conflict,) = view.conflicts
    assert conflict.saved_by == "AddmmBackward0"
    assert conflict.overwritten_at.endswith(f"test_graph.py:{first + 2} forward")
    assert torch.equal(batch, torch.ones(2, 3))
    assert batch.grad_fn is None


def test_what_gets_no_gradient_is_named() -> None:
    view = autograd(InPlace(), torch.ones(2, 3))
    assert view.unreached == ["unused.weight", "unused.bias"]
    assert view.frozen == ["still.weight", "still.bias"]


def test_a_loss_without_a_graph() -> None:
    model = InPlace()
    view = autograd(model, torch.ones(2, 3), loss=lambda model, batch: batch.sum())
    assert view.error == "the loss does not depend on any parameter"
    assert view.lines(80)


def test_a_way_back_that_fails_is_said() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            raise RuntimeError("no way back")

    view = autograd(nn.Linear(2, 2), torch.ones(1, 2), loss=lambda model, batch: Wrong.apply(model(batch)).sum())
    assert view.error == "no way back"


def test_after_an_error_nothing_is_left_and_nothing_leaks() -> None:
    kept: list[weakref.ref[Tensor]] = []

    def fails(model: nn.Module, batch: Tensor) -> Tensor:
        y = torch.sigmoid(model(batch))
        kept.append(weakref.ref(y))
        raise ValueError("in the loss")

    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="in the loss"):
        autograd(model, torch.ones(1, 2), loss=fails)
    assert_no_watcher(model)
    gc.collect()
    assert kept[0]() is None


def test_where_nodes_do_not_show_what_they_saved_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "_saved_names", lambda kind: ())
    with pytest.raises(ModelError, match=r"^autograd: PyTorch .* does not show what a node saved"):
        autograd(nn.Linear(2, 2), torch.ones(1, 2))
