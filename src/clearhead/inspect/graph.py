"""The autograd graph of one training step: nodes from the loss to the leaves, what each saved, what was overwritten."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Note, Part, Table, View, amount, sizes
from clearhead.inspect.call import Batch, Loss, device_of, mean_output, untouched
from clearhead.meter.live import storage_of
from clearhead.meter.operators import OperatorMode, tensors_of
from clearhead.meter.scope import Scope
from clearhead.meter.source import caller

SHOWN = 60  # nodes in a terminal


@dataclass(frozen=True)
class SavedTensor:
    """A tensor that a node keeps for the way back."""

    name: str
    shape: list[int]
    bytes: int
    line: str
    """That saved it."""
    parameter: bool
    """Whether it is a parameter, which takes no further memory."""


@dataclass(frozen=True)
class GraphNode:
    """One step of the way back."""

    number: int
    """From the loss, which is 0; each comes before what it passes gradients to."""
    operator: str
    """Name of its ``grad_fn``."""
    module: str
    """In whose forward it was made; ``loss`` is outside of the model."""
    shapes: list[list[int]]
    """Of the outputs whose gradients come in."""
    depth: int
    """0 on the way that goes back the furthest, 1 on what branches off it, and so on."""
    inputs: list[int]
    """Numbers of the nodes that gradients go to."""
    leaves: list[str]
    """Parameters that gradients are added to, in their ``.grad``."""
    saved: list[SavedTensor]


@dataclass(frozen=True)
class Conflict:
    """A tensor that was saved for the way back and then overwritten."""

    shape: list[int]
    saved_at: str
    """Line."""
    saved_by: str
    """Node that needs it."""
    overwritten_at: str
    """Line of the first write after that."""
    overwritten_by: str
    """Operator."""


@dataclass(frozen=True)
class AutogradView(View):
    """See ``autograd``."""

    nodes: list[GraphNode]
    saved_bytes: int
    """Of all saved tensors, each storage once, parameters left out."""
    kept: list[str]
    """Parameters whose gradient is kept."""
    unreached: list[str]
    """Parameters that ask for a gradient and get none."""
    frozen: list[str]
    """Parameters that ask for none."""
    conflicts: list[Conflict] = field(default_factory=list)
    error: str = ""
    """What the way back failed with, if it did."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return "autograd graph of one training step"

    def parts(self) -> list[Part]:
        """See ``View``."""
        found: list[Part] = [
            Note(
                f"in-place conflict: {one.saved_by} saved {sizes(one.shape)} at {one.saved_at}; "
                f"{one.overwritten_by} overwrote it at {one.overwritten_at}",
                marked=True,
            )
            for one in self.conflicts
        ]
        if self.error:
            found.append(Note(f"the way back fails: {self.error}", marked=True))
        found.append(self._tree())
        if len(self.nodes) > SHOWN:
            found.append(Note(f"{len(self.nodes) - SHOWN} more nodes, all of them in --json"))
        found.append(self._operators())
        leaves = (
            f"{len(self.kept)} leaves keep their gradient in .grad; those of all other tensors are freed on the way"
        )
        found.append(Note(f"{len(self.nodes)} nodes, {amount(self.saved_bytes)} saved; {leaves}"))
        for names, word in ((self.unreached, "not reached, no gradient"), (self.frozen, "requires_grad is False")):
            found += [Note(f"{word}: {name}", marked=word[0] == "n") for name in names]
        return found

    def _tree(self) -> Table:
        rows = []
        for node in self.nodes[:SHOWN]:
            to = ", ".join(f"#{number}" for number in node.inputs) + ("" if not node.leaves else " +")
            kept = sum(one.bytes for one in node.saved if not one.parameter)
            name = "  " * node.depth + f"#{node.number} {node.operator}"
            shape = ", ".join(sizes(shape) for shape in node.shapes)
            rows.append((name, node.module, shape, to, amount(kept) if kept else ""))
            rows += [("  " * node.depth + "   leaf", leaf, "", ".grad", "") for leaf in node.leaves]
        return Table("from the loss to the leaves", ("node", "module", "gradient of", "goes to", ">saved"), rows)

    def _operators(self) -> Table:
        by_name: dict[str, list[int]] = {}
        for node in self.nodes:
            own = [one.bytes for one in node.saved if not one.parameter]
            count, tensors, size = by_name.get(node.operator, [0, 0, 0])
            by_name[node.operator] = [count + 1, tensors + len(own), size + sum(own)]
        order = sorted(by_name.items(), key=lambda item: -item[1][2])
        rows = [(name, str(count), str(tensors), amount(size)) for name, (count, tensors, size) in order]
        return Table("saved by operator", ("node", ">times", ">tensors", ">bytes"), rows)


def autograd(model: nn.Module, batch: Batch, *, loss: Loss = mean_output) -> AutogradView:
    """Follows one training step back from its loss; weights and gradients are as before afterwards.

    Args:
        model: any module.
        batch: what ``loss`` takes, for the default what ``call`` does.
        loss: gives the scalar that is differentiated.

    Raises:
        ModelError: the model is compiled, or has no output to differentiate.
    """
    device = device_of(model)
    with untouched(model, training=True):
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            watch = _Watch(model)
            value = watch.forward(batch, loss)
        if value.grad_fn is None:
            return AutogradView([], 0, [], *_by_gradient(model), error="the loss does not depend on any parameter")
        nodes = watch.graph(value.grad_fn)
        error = ""
        try:
            value.backward()
        except RuntimeError as raised:  # whatever a program does wrong on the way back
            error = str(raised).splitlines()[0]
        kept = [name for name, one in model.named_parameters() if one.grad is not None]
        del value
        conflicts = _with_lines(watch, model, batch, loss) if watch.conflicts else []
        return AutogradView(nodes, watch.bytes, kept, *_by_gradient(model), conflicts, error)


def _with_lines(first: "_Watch", model: nn.Module, batch: Batch, loss: Loss) -> list[Conflict]:
    """Repeats a forward that had conflicts with an eye on who writes, which would slow down the ones that have none."""
    watch = _Watch(model)
    with watch.writes:
        value = watch.forward(batch, loss)
    watch.graph(value.grad_fn)
    return watch.conflicts if len(watch.conflicts) == len(first.conflicts) else first.conflicts


def _by_gradient(model: nn.Module) -> tuple[list[str], list[str]]:
    """Returns the names of parameters that got no gradient, and of those that ask for none."""
    named = list(model.named_parameters())
    unreached = [name for name, one in named if one.requires_grad and one.grad is None]
    return unreached, [name for name, one in named if not one.requires_grad]


@dataclass
class _Kept:
    """A saved tensor between the two hooks."""

    tensor: Tensor
    version: int
    line: str
    writes: int
    """In-place writes to any tensor before it."""


class _Writes(OperatorMode):
    """Notes for each storage the lines that wrote to it in place, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.by_storage: dict[int, list[tuple[int, str, str]]] = {}

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = operator(*args, **(kwargs or {}))
        if operator._schema.is_mutable:
            for argument, value in zip(operator._schema.arguments, args, strict=False):
                if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, Tensor):
                    self.count += 1
                    writes = self.by_storage.setdefault(storage_of(value), [])
                    writes.append((self.count, caller(), str(operator)))
        return found


class _Watch:
    """Sees what autograd saves and reads, and in which module a node was made."""

    def __init__(self, model: nn.Module) -> None:
        self.writes = _Writes()
        """Knows the lines of conflicts if it is entered."""
        self.conflicts: list[Conflict] = []
        self.bytes = 0
        self._model, self._scope = model, Scope(model, on_enter=self._given, on_leave=self._made)
        self._made_in: dict[Any, str] = {}
        self._read: list[_Kept] | None = None
        self._parameters = {storage_of(one): name for name, one in model.named_parameters()}
        self._known: set[int] = set(self._parameters)

    def forward(self, batch: Batch, loss: Loss) -> Tensor:
        """Returns the loss."""
        with torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack), self._scope:
            return loss(self._model, batch)

    def _pack(self, tensor: Tensor) -> _Kept:
        """Keeps the tensor as it is, with its version and the line that is running."""
        if tensor.layout == torch.strided and storage_of(tensor) not in self._known:
            self._known.add(storage_of(tensor))
            self.bytes += tensor.untyped_storage().nbytes()
        # detached, since an output that its own node held would keep both alive
        return _Kept(tensor.detach(), tensor._version, caller(), self.writes.count)

    def _unpack(self, kept: _Kept) -> Tensor:
        """Gives the tensor back; autograd itself checks no versions where there are hooks."""
        if self._read is not None:  # on the way back nothing is held that autograd lets go
            self._read.append(kept)
        return kept.tensor

    def graph(self, root: Any) -> list[GraphNode]:
        """Returns the graph below ``root``, in an order in which a gradient is whole before it is passed on."""
        order = _ordered(root)
        numbers = {node: number for number, node in enumerate(order)}
        self._label(root, "loss")
        depths = _depths(order)
        return [self._info(node, numbers, depths[node]) for node in order]

    def _given(self, name: str, args: Any) -> None:
        """What a module is given was made outside of it."""
        outer = self._scope.outer
        self._made("loss" if outer is None else outer, args)

    def _made(self, name: str, output: Any) -> None:
        """Gives what was made in a module its name, but for what an inner module has made."""
        for tensor in tensors_of(output):
            if tensor.grad_fn is not None:
                self._label(tensor.grad_fn, name or "model")

    def _label(self, root: Any, name: str) -> None:
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if node not in self._made_in:
                self._made_in[node] = name
                waiting += [following for following, _ in node.next_functions if following is not None]

    def _info(self, node: Any, numbers: dict[Any, int], depth: int) -> GraphNode:
        following = [one for one, _ in node.next_functions if one is not None]
        return GraphNode(
            number=numbers[node],
            operator=_operator(node.name()),
            module=self._made_in.get(node, "loss"),
            shapes=[list(meta.shape) for meta in node._input_metadata],
            depth=depth,
            inputs=[numbers[one] for one in following if one in numbers],
            leaves=[self._leaf(one.variable) for one in following if hasattr(one, "variable")],
            saved=list(self._saved(node)),
        )

    def _leaf(self, tensor: Tensor) -> str:
        return self._parameters.get(storage_of(tensor), f"a tensor {list(tensor.shape)}")

    def _saved(self, node: Any) -> Iterator[SavedTensor]:
        """Reads what a node keeps as the way back will, and checks that it is still what was kept."""
        for name in _saved_names(node.__class__):
            read: list[_Kept] = []
            self._read = read
            getattr(node, name)
            self._read = None
            for kept in read:
                tensor = kept.tensor
                if tensor._version != kept.version:
                    self._conflict(node, kept)
                parameter = storage_of(tensor) in self._parameters
                size = tensor.numel() * tensor.element_size()
                yield SavedTensor(name.removeprefix("_saved_"), list(tensor.shape), size, kept.line, parameter)

    def _conflict(self, node: Any, kept: _Kept) -> None:
        writes = self.writes.by_storage.get(storage_of(kept.tensor), [])
        later = [(line, operator) for number, line, operator in writes if number > kept.writes]
        line, operator = later[0] if later else ("a line outside of the step", "something")
        self.conflicts.append(Conflict(list(kept.tensor.shape), kept.line, node.name(), line, operator))


@functools.cache
def _operator(name: str) -> str:
    return re.sub(r"Backward\d*$", "", name).removeprefix("torch::autograd::")


@functools.cache
def _saved_names(kind: type) -> tuple[str, ...]:
    """The attributes by which a kind of node gives what it saved; the node of a program's own function has one."""
    if issubclass(kind, torch.autograd.function.BackwardCFunction):
        return ("saved_tensors",)
    return tuple(name for name in dir(kind) if name.startswith("_saved_"))


def _ordered(root: Any) -> list[Any]:
    """Returns the nodes without the leaves, each before what it passes gradients to; what was made last comes first."""
    import heapq

    incoming: dict[Any, int] = {root: 0}
    waiting = [root]
    while waiting:
        for following in _inner(waiting.pop()):
            if following not in incoming:
                incoming[following] = 0
                waiting.append(following)
            incoming[following] += 1
    ready = [(-root._sequence_nr(), 0, root)]
    found: list[Any] = []
    while ready:
        *_, node = heapq.heappop(ready)
        found.append(node)
        for following in _inner(node):
            incoming[following] -= 1
            if not incoming[following]:
                heapq.heappush(ready, (-following._sequence_nr(), len(found) + len(ready), following))
    return found


def _inner(node: Any) -> list[Any]:
    return [one for one, _ in node.next_functions if one is not None and not hasattr(one, "variable")]


def _depths(order: list[Any]) -> dict[Any, int]:
    """Returns how many branches off the trunk a node is; the trunk goes on to what was made the earliest."""
    depths: dict[Any, int] = {order[0]: 0}
    for node in order:
        inner = _inner(node)
        trunk = min(inner, key=lambda one: one._sequence_nr(), default=None)
        for following in inner:
            depth = depths[node] + (following is not trunk)
            depths[following] = min(depths.get(following, depth), depth)
    return depths
