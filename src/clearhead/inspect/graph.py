"""The autograd graph of one training step: nodes from the loss to the leaves, saved tensors, in-place conflicts."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.arguments import checked
from clearhead.drawing.report import Note, Part, Table, View, amount, sizes
from clearhead.errors import ModelError
from clearhead.inspect.call import VIEWS, Batch, Loss, copied, device_of, mean_output, untouched
from clearhead.messages import Prose
from clearhead.meter.live import storage_of
from clearhead.meter.operators import OperatorMode, tensors_of
from clearhead.meter.scope import Scope
from clearhead.meter.source import caller
from clearhead.meter.torch_names import private

PURPOSE = "the graph of a step cannot be read"
SHOWN = 60  # nodes in a terminal


@dataclass(frozen=True)
class SavedTensor:
    """A tensor that a node saves for the backward pass."""

    name: str
    shape: list[int]
    bytes: int
    line: str
    """Line of the program that saved it."""
    parameter: bool
    """Whether it is a parameter, which needs no further memory."""


@dataclass(frozen=True)
class GraphNode:
    """One node of the backward pass."""

    number: int
    """Counted from the loss, which is 0; a node comes before those that it passes gradients to."""
    operator: str
    """Name of its ``grad_fn``."""
    module: str
    """Module in whose forward it was made; ``loss`` is outside of the model."""
    shapes: list[list[int]]
    """Of the gradients that it receives."""
    depth: int
    """0 on the trunk, which goes back the furthest; 1 on branches off it, and so on."""
    inputs: list[int]
    """Numbers of the nodes that it passes gradients to."""
    leaves: list[str]
    """Parameters whose ``.grad`` it adds to."""
    saved: list[SavedTensor]


@dataclass(frozen=True)
class Conflict:
    """A tensor that was saved for the backward pass and then overwritten."""

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
    """The autograd graph of one training step, with what each node saved."""

    nodes: list[GraphNode]
    saved_bytes: int
    """Of all saved tensors but parameters, each storage counted once."""
    kept: list[str]
    """Parameters whose gradient is kept."""
    unreached: list[str]
    """Parameters with ``requires_grad`` that got no gradient."""
    frozen: list[str]
    """Parameters without ``requires_grad``."""
    conflicts: list[Conflict] = field(default_factory=list)
    error: str = ""
    """Message with which the backward pass failed; empty if it did not."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return "autograd graph of one training step"

    def parts(self) -> list[Part]:
        """See ``View``."""
        parts: list[Part] = [
            Note(
                f"in-place conflict: {conflict.saved_by} saved {sizes(conflict.shape)} at {conflict.saved_at}; "
                f"{conflict.overwritten_by} overwrote it at {conflict.overwritten_at}",
                marked=True,
            )
            for conflict in self.conflicts
        ]
        if self.error:
            parts.append(Note(f"the way back fails: {self.error}", marked=True))
        parts.append(self._tree())
        if len(self.nodes) > SHOWN:
            parts.append(Note(f"{len(self.nodes) - SHOWN} more nodes, all of them in --json"))
        parts.append(self._operators())
        parts.append(Note(f"{len(self.nodes)} nodes, {amount(self.saved_bytes)} saved"))
        parts.append(Note(f"{len(self.kept)} leaves keep their gradient in .grad; all others are freed on the way"))
        parts += [Note(f"not reached, no gradient: {name}", marked=True) for name in self.unreached]
        return parts + [Note(f"requires_grad is False: {name}") for name in self.frozen]

    def _tree(self) -> Table:
        rows = []
        for node in self.nodes[:SHOWN]:
            to = ", ".join(f"#{number}" for number in node.inputs) + ("" if not node.leaves else " +")
            kept = sum(tensor.bytes for tensor in node.saved if not tensor.parameter)
            name = "  " * node.depth + f"#{node.number} {node.operator}"
            shape = ", ".join(sizes(shape) for shape in node.shapes)
            module = Prose(node.module) if node.module == "loss" else node.module
            rows.append((name, module, shape, to, amount(kept) if kept else ""))
            rows += [(Prose("leaf".rjust(7 + 2 * node.depth)), leaf, "", ".grad", "") for leaf in node.leaves]
        return Table("from the loss to the leaves", ("node", "module", "gradient of", "goes to", ">saved"), rows)

    def _operators(self) -> Table:
        by_name: dict[str, list[int]] = {}
        for node in self.nodes:
            own = [tensor.bytes for tensor in node.saved if not tensor.parameter]
            count, tensors, size = by_name.get(node.operator, [0, 0, 0])
            by_name[node.operator] = [count + 1, tensors + len(own), size + sum(own)]
        order = sorted(by_name.items(), key=lambda item: -item[1][2])
        rows = [(name, str(count), str(tensors), amount(size)) for name, (count, tensors, size) in order]
        return Table("saved by operator", ("node", ">times", ">tensors", ">bytes"), rows)


@checked
def autograd(model: nn.Module, batch: Batch, *, loss: Loss = mean_output) -> AutogradView:
    """Follows one training step back from its loss; weights and gradients are restored.

    Args:
        model: any module.
        batch: what ``loss`` takes, for the default what ``call`` does.
        loss: gives the scalar that is differentiated.

    Raises:
        ModelError: the model is compiled, or has no output to differentiate; or PyTorch no longer tells what is saved.
    """
    device = device_of(model)
    check_saved_names()
    with untouched(model, training=True):
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            watch = _Watch(model)
            value = watch.forward(copied(batch), loss)
        if value.grad_fn is None:
            return AutogradView([], 0, [], *_by_gradient(model), error="the loss does not depend on any parameter")
        nodes = watch.graph(value.grad_fn)
        error = ""
        try:
            value.backward()
        except RuntimeError as raised:  # any error that the program causes in the backward pass
            error = str(raised).splitlines()[0]
        kept = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
        del value
        conflicts = _with_lines(watch, model, batch, loss) if watch.conflicts else []
        return AutogradView(nodes, watch.bytes, kept, *_by_gradient(model), conflicts, error)


def _with_lines(first: "_Watch", model: nn.Module, batch: Batch, loss: Loss) -> list[Conflict]:
    """Repeats a forward that had conflicts and records all writes; recording always would slow down every view."""
    watch = _Watch(model)
    with watch.writes:
        value = watch.forward(copied(batch), loss)  # the first forward may have written into its own copy
    watch.graph(value.grad_fn)
    return watch.conflicts if len(watch.conflicts) == len(first.conflicts) else first.conflicts


def _by_gradient(model: nn.Module) -> tuple[list[str], list[str]]:
    """Returns the names of parameters that got no gradient, and of those without ``requires_grad``."""
    parameters = list(model.named_parameters())
    unreached = [name for name, parameter in parameters if parameter.requires_grad and parameter.grad is None]
    return unreached, [name for name, parameter in parameters if not parameter.requires_grad]


@dataclass
class _Packed:
    """A saved tensor, between the hook that packs it and the one that unpacks it."""

    tensor: Tensor
    version: int
    line: str
    writes: int
    """Number of in-place writes to any tensor before it was saved."""


class _Writes(OperatorMode):
    """Records for each storage the lines that wrote to it in place, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.by_storage: dict[int, list[tuple[int, str, str]]] = {}

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operator(*args, **(kwargs or {}))
        schema = private(operator, "_schema", PURPOSE)
        if schema.is_mutable:
            for argument, value in zip(schema.arguments, args, strict=False):
                if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, Tensor):
                    self.count += 1
                    writes = self.by_storage.setdefault(storage_of(value), [])
                    writes.append((self.count, caller(VIEWS), str(operator)))
        return result


class _Watch:
    """Records what autograd saves and reads, and in which module a node was made."""

    def __init__(self, model: nn.Module) -> None:
        self.writes = _Writes()
        """Records the lines of writes while it is entered."""
        self.conflicts: list[Conflict] = []
        self.bytes = 0
        self._model, self._scope = model, Scope(model, on_enter=self._given, on_leave=self._made)
        self._made_in: dict[Any, str] = {}
        self._read: list[_Packed] | None = None
        self._parameters = {storage_of(parameter): name for name, parameter in model.named_parameters()}
        self._known: set[int] = set(self._parameters)

    def forward(self, batch: Batch, loss: Loss) -> Tensor:
        """Returns the loss."""
        with torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack), self._scope:
            return loss(self._model, batch)

    def _pack(self, tensor: Tensor) -> _Packed:
        """Packs a tensor that is saved, with its version and the line that is running."""
        if tensor.layout == torch.strided and storage_of(tensor) not in self._known:
            self._known.add(storage_of(tensor))
            self.bytes += tensor.untyped_storage().nbytes()
        # detached, since a node that saves its own output would keep both alive
        return _Packed(tensor.detach(), _version(tensor), caller(VIEWS), self.writes.count)

    def _unpack(self, kept: _Packed) -> Tensor:
        """Unpacks a saved tensor; with hooks, autograd itself checks no versions."""
        if self._read is not None:  # not in the backward pass, where it would hold what autograd frees
            self._read.append(kept)
        return kept.tensor

    def graph(self, root: Any) -> list[GraphNode]:
        """Returns the nodes below ``root``; a node comes after all that it receives gradients from."""
        order = _ordered(root)
        numbers = {node: number for number, node in enumerate(order)}
        self._label(root, "loss")
        depths = _depths(order)
        return [self._info(node, numbers, depths[node]) for node in order]

    def _given(self, name: str, args: Any) -> None:
        """Labels the inputs of a module with the module around it."""
        outer = self._scope.outer
        self._made("loss" if outer is None else outer, args)

    def _made(self, name: str, output: Any) -> None:
        """Labels the nodes that were made in a module, unless an inner module has labelled them."""
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
        following = [following_node for following_node, _ in node.next_functions if following_node is not None]
        return GraphNode(
            number=numbers[node],
            operator=_operator(node.name()),
            module=self._made_in.get(node, "loss"),
            shapes=[list(meta.shape) for meta in private(node, "_input_metadata", PURPOSE)],
            depth=depth,
            inputs=[numbers[target] for target in following if target in numbers],
            leaves=[self._leaf(target.variable) for target in following if hasattr(target, "variable")],
            saved=list(self._saved(node)),
        )

    def _leaf(self, tensor: Tensor) -> str:
        return self._parameters.get(storage_of(tensor), f"a tensor {list(tensor.shape)}")

    def _saved(self, node: Any) -> Iterator[SavedTensor]:
        """Reads what a node saved, as the backward pass will, and checks that it has not been overwritten."""
        for name in _saved_names(node.__class__):
            read: list[_Packed] = []
            self._read = read
            getattr(node, name)
            self._read = None
            for kept in read:
                tensor = kept.tensor
                if _version(tensor) != kept.version:
                    self._conflict(node, kept)
                parameter = storage_of(tensor) in self._parameters
                size = tensor.numel() * tensor.element_size()
                yield SavedTensor(name.removeprefix("_saved_"), list(tensor.shape), size, kept.line, parameter)

    def _conflict(self, node: Any, kept: _Packed) -> None:
        writes = self.writes.by_storage.get(storage_of(kept.tensor), [])
        later = [(line, operator) for number, line, operator in writes if number > kept.writes]
        line, operator = later[0] if later else ("a line outside of the step", "something")
        self.conflicts.append(Conflict(list(kept.tensor.shape), kept.line, node.name(), line, operator))


@functools.cache
def _operator(name: str) -> str:
    return re.sub(r"Backward\d*$", "", name).removeprefix("torch::autograd::")


def check_saved_names() -> None:
    """Checks that nodes of the graph still show what they saved under the names that are read here.

    Raises:
        ModelError: they do not, and the graph would seem to save nothing.
    """
    x = torch.ones(1, requires_grad=True)
    node: Any = (x * x).grad_fn
    if not _saved_names(node.__class__):
        raise ModelError(
            f"autograd: PyTorch {torch.__version__} does not show what a node saved; install a version that "
            "this clearhead knows"
        )


@functools.cache
def _saved_names(kind: type) -> tuple[str, ...]:
    """Returns the attributes that hold what a kind of node saved; a ``torch.autograd.Function`` has one."""
    if issubclass(kind, torch.autograd.function.BackwardCFunction):
        return ("saved_tensors",)
    return tuple(name for name in dir(kind) if name.startswith("_saved_"))


def _ordered(root: Any) -> list[Any]:
    """Returns the nodes but leaves, each before those that it passes gradients to; the last made comes first."""
    import heapq

    incoming: dict[Any, int] = {root: 0}
    waiting = [root]
    while waiting:
        for following in _inner(waiting.pop()):
            if following not in incoming:
                incoming[following] = 0
                waiting.append(following)
            incoming[following] += 1
    ready = [(-_order_of(root), 0, root)]
    order: list[Any] = []
    while ready:
        *_, node = heapq.heappop(ready)
        order.append(node)
        for following in _inner(node):
            incoming[following] -= 1
            if not incoming[following]:
                heapq.heappush(ready, (-_order_of(following), len(order) + len(ready), following))
    return order


def _order_of(node: Any) -> int:
    """Returns the number of a node in the order in which the nodes of a forward pass were made."""
    return int(private(node, "_sequence_nr", PURPOSE)())


def _version(tensor: Tensor) -> int:
    """Returns how often the storage of a tensor was written to in place."""
    return int(private(tensor, "_version", PURPOSE))


def _inner(node: Any) -> list[Any]:
    return [
        following
        for following, _ in node.next_functions
        if following is not None and not hasattr(following, "variable")
    ]


def _depths(order: list[Any]) -> dict[Any, int]:
    """Returns how many branches a node is off the trunk; the trunk follows the inputs that were made the earliest."""
    depths: dict[Any, int] = {order[0]: 0}
    for node in order:
        inner = _inner(node)
        trunk = min(inner, key=_order_of, default=None)
        for following in inner:
            depth = depths[node] + (following is not trunk)
            depths[following] = min(depths.get(following, depth), depth)
    return depths
