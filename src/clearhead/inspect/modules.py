"""The tree of modules: shapes, parameters, buffers, hooks, FLOPs, and tensors that should be registered but are not."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.arguments import checked
from clearhead.drawing.report import Note, Part, Table, View, amount, sizes
from clearhead.inspect.call import Batch, call, own_buffers, own_parameters, untouched
from clearhead.messages import Prose
from clearhead.meter.flops import FlopCount
from clearhead.meter.operators import tensors_of
from clearhead.meter.scope import Scope, Visit
from clearhead.meter.torch_names import private

PURPOSE = "modules cannot be listed"

HOOKS = {
    "_forward_pre_hooks": "before forward",
    "_forward_hooks": "after forward",
    "_backward_pre_hooks": "before backward",
    "_backward_hooks": "after backward",
    "_state_dict_hooks": "state_dict",
    "_load_state_dict_pre_hooks": "load_state_dict",
}
DEPTH = 4  # of nested containers that are searched for unregistered tensors and modules
OF_EVERY_MODULE = frozenset(vars(nn.Module()))  # attributes that every module has


@dataclass(frozen=True)
class BufferInfo:
    """A tensor that moves with the module and has no gradient."""

    name: str
    shape: list[int]
    bytes: int
    persistent: bool
    """Whether ``state_dict`` has it."""


@dataclass(frozen=True)
class ModuleInfo:
    """One module, without its submodules."""

    name: str
    """Empty: the model itself."""
    kind: str
    depth: int
    shared: str | None
    """First name of the same module if it occurs again; then nothing of it is counted again."""
    parameters: int
    """Of its own, without those tied to another module."""
    trainable: int
    tied: dict[str, str]
    """Parameters that it shares with another module: name -> their first name."""
    shapes: dict[str, list[int]]
    """Of its own parameters."""
    dtypes: list[str]
    devices: list[str]
    buffers: list[BufferInfo]
    hooks: list[str]
    """Names of hooks and when they run, in the order of registration."""
    training: bool
    unregistered: list[str]
    """Attributes with tensors or modules that ``.to()`` and ``state_dict`` miss."""
    output: str = ""
    """Shape of what it returned, if it was called."""
    flops: int = 0
    """Of one forward, submodules included."""
    calls: int = 0


@dataclass(frozen=True)
class ModelView(View):
    """All modules of a model, with sums of parameters, bytes and FLOPs."""

    name: str
    modules: list[ModuleInfo]
    parameters: int
    """Each counted once, however many modules share it."""
    trainable: int
    bytes: int
    """Of parameters and buffers."""
    flops: int
    tokens: int
    """Positions in the batch on which FLOPs were counted; 0 without a batch."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"model: {self.name}"

    @property
    def flops_per_token(self) -> float:
        """Of one forward."""
        return self.flops / self.tokens if self.tokens else 0.0

    def as_dict(self) -> dict[str, Any]:
        """See ``View``."""
        return {**super().as_dict(), "flops_per_token": self.flops_per_token}

    def parts(self) -> list[Part]:
        """See ``View``."""
        parts: list[Part] = [self._tree()]
        parts.append(
            Note(f"{self.parameters:,} parameters, {self.trainable:,} trainable; with buffers {amount(self.bytes)}")
        )
        if self.tokens:
            parts.append(Note(f"{amount(self.flops_per_token, 'FLOP')} a token forward"))
        return [*parts, *self._buffers(), *self._remarks()]

    def _tree(self) -> Table:
        rows = []
        for module, more in _folded(self.modules):
            name = "  " * module.depth + (module.name.rpartition(".")[2] or self.name)
            name = Prose(f"{name} (and {more} alike)") if more else name
            kind = module.kind if module.name else ""
            own = f"{module.parameters:,}" if module.parameters else ""
            size = Prose("shared") if module.shared else Prose("tied") if module.tied else own
            rows.append((name, kind, module.output, size, amount(module.flops, "FLOP") if module.flops else ""))
        return Table("modules", ("module", "kind", "output", ">parameters", ">forward"), rows)

    def _buffers(self) -> list[Part]:
        rows = [
            (
                f"{module.name}.{buffer.name}".removeprefix("."),
                sizes(buffer.shape),
                amount(buffer.bytes),
                Prose("in state_dict") if buffer.persistent else Prose("not in state_dict"),
            )
            for module in self.modules
            for buffer in module.buffers
        ]
        return [Table("buffers", ("buffer", "shape", ">bytes", "saved"), rows)] if rows else []

    def _remarks(self) -> list[Part]:
        kinds = sorted({kind for module in self.modules for kind in module.dtypes})
        places = sorted({place for module in self.modules for place in module.devices})
        modes = sorted({"train" if module.training else "eval" for module in self.modules})
        if kinds:
            parts: list[Part] = [Note(f"dtype {', '.join(kinds)}; device {', '.join(places)}; mode {', '.join(modes)}")]
        else:
            parts = [Note(f"no parameters or buffers; mode {', '.join(modes)}")]
        if any(module.parameters and not module.calls for module in self.modules) and self.tokens:
            parts.append(Note("without output: was not called itself; the module around it may use its weights"))
        for module in self.modules:
            where = module.name or self.name
            parts += [Note(f"tied: {where}.{name} is {first}, counted once") for name, first in module.tied.items()]
            if module.shared:
                parts.append(Note(f"shared: {where} is {module.shared}, counted once"))
            if module.hooks:
                parts.append(Note(f"hooks on {where}: {', '.join(module.hooks)}"))
            parts += [
                Note(f"not registered: {where}.{name}; .to() and state_dict miss it", marked=True)
                for name in module.unregistered
            ]
        return parts


@checked
def model(model: nn.Module, batch: Batch = None, *, tokens: int | None = None) -> ModelView:
    """Looks at every module of a model.

    Args:
        model: any module; it is called, without gradients, if there is a batch.
        batch: see ``call``; None leaves out shapes and FLOPs.
        tokens: positions of the batch; None takes those of its first tensor: all of whole numbers, else all but the
            last axis.

    Raises:
        ModelError: the model is compiled, or multiplies matrices by an operator whose FLOPs are not known.
    """
    seen = _Forward() if batch is None else _forward(model, batch)
    every = list(model.modules())
    tensors = _tensors(every)
    infos = list(_walk(model, seen, known={*map(id, every), *tensors}))
    return ModelView(
        name=type(model).__name__,
        modules=infos,
        parameters=sum(info.parameters for info in infos),
        trainable=sum(info.trainable for info in infos),
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
        flops=seen.flops[""],
        tokens=0 if batch is None else _positions(batch) if tokens is None else tokens,
    )


@dataclass(frozen=True)
class _Forward:
    """FLOPs and calls of each module in a forward."""

    flops: Counter[str] = field(default_factory=Counter)
    visits: Mapping[str, Visit] = field(default_factory=dict)

    def of(self, name: str, shared: str | None) -> dict[str, Any]:
        """Returns the fields of ``ModuleInfo`` that need a forward; those of a shared module have its first name."""
        visit = self.visits.get(shared or name)
        return {"output": visit.output, "calls": visit.calls, "flops": self.flops[name]} if visit else {}


def _forward(model: nn.Module, batch: Batch) -> _Forward:
    with ExitStack() as stack:
        stack.enter_context(untouched(model, training=False))
        scope = stack.enter_context(Scope(model))
        stack.enter_context(torch.no_grad())
        counted = stack.enter_context(FlopCount(scope))
        call(model, batch)
    return _Forward(counted.by_module, scope.visits)


def _walk(model: nn.Module, seen: _Forward, known: set[int]) -> Iterator[ModuleInfo]:
    """Yields every module in the order of registration; one that is shared is yielded at each of its places."""
    modules: dict[int, str] = {}
    parameters: dict[int, str] = {}

    def visit(module: nn.Module, name: str, depth: int) -> Iterator[ModuleInfo]:
        shared = modules.get(id(module))
        yield _info(module, name, depth, shared=shared, parameters=parameters, known=known, seen=seen.of(name, shared))
        if shared is None:
            modules[id(module)] = name
            for child, inner in private(module, "_modules", PURPOSE).items():
                if inner is not None:
                    yield from visit(inner, f"{name}.{child}".removeprefix("."), depth + 1)

    yield from visit(model, "", 0)


def _tensors(modules: list[nn.Module]) -> dict[int, Tensor]:
    """Returns parameters and buffers by id, so that each is there once."""
    own = (tensor for module in modules for _, tensor in [*own_parameters(module), *own_buffers(module)])
    return {id(tensor): tensor for tensor in own}


def _info(
    module: nn.Module,
    name: str,
    depth: int,
    *,
    shared: str | None,
    parameters: dict[int, str],
    known: set[int],
    seen: dict[str, Any],
) -> ModuleInfo:
    own: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    for key, parameter in own_parameters(module) if shared is None else ():
        first = parameters.setdefault(id(parameter), f"{name}.{key}".removeprefix("."))
        if first == f"{name}.{key}".removeprefix("."):
            own[key] = parameter
        else:
            tied[key] = first
    buffers = dict(own_buffers(module)) if shared is None else {}
    tensors = [*own.values(), *buffers.values()]
    return ModuleInfo(
        name=name,
        kind=type(module).__name__,
        depth=depth,
        shared=shared,
        parameters=sum(tensor.numel() for tensor in own.values()),
        trainable=sum(tensor.numel() for tensor in own.values() if tensor.requires_grad),
        tied=tied,
        shapes={key: list(tensor.shape) for key, tensor in own.items()},
        dtypes=sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors}),
        devices=sorted({str(tensor.device) for tensor in tensors}),
        buffers=[
            BufferInfo(
                key,
                list(buffer.shape),
                buffer.numel() * buffer.element_size(),
                key not in private(module, "_non_persistent_buffers_set", PURPOSE),
            )
            for key, buffer in buffers.items()
        ],
        hooks=[
            f"{getattr(hook, '__qualname__', type(hook).__name__)} ({when})"
            for kind, when in HOOKS.items()
            for hook in private(module, kind, PURPOSE).values()
        ],
        training=module.training,
        unregistered=list(_unregistered(module, known)) if shared is None else [],
        **seen,
    )


def _unregistered(module: nn.Module, known: set[int]) -> Iterator[str]:
    """Yields the attributes of a module with tensors or modules that no part of the model has registered."""
    for key, value in vars(module).items():
        if key not in OF_EVERY_MODULE:
            yield from _hidden(value, key, known, DEPTH)


def _hidden(value: Any, path: str, known: set[int], depth: int) -> Iterator[str]:
    if isinstance(value, Tensor | nn.Module):
        if id(value) not in known:
            shape = f" {list(value.shape)}" if isinstance(value, Tensor) else ""
            yield f"{path} ({type(value).__name__}{shape})"
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for number, inner in enumerate(value):
            yield from _hidden(inner, f"{path}[{number}]", known, depth - 1)
    elif depth and isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _hidden(inner, f"{path}[{key!r}]", known, depth - 1)


def _positions(batch: Batch) -> int:
    tensors = [tensor for tensor in tensors_of(batch) if tensor.ndim]
    if not tensors:
        return 0
    return tensors[0].shape[:-1].numel() if tensors[0].is_floating_point() else tensors[0].numel()


def _folded(modules: list[ModuleInfo]) -> Iterator[tuple[ModuleInfo, int]]:
    """Yields the modules with a number; of adjacent subtrees that are alike only the first, and how many follow it."""
    at = 0
    while at < len(modules):
        size = _size(modules, at)
        look, end, more = _signature(modules[at : at + size]), at + size, 0
        while modules[at].name[-1:].isdigit() and end < len(modules) and modules[end].depth == modules[at].depth:
            following = _size(modules, end)
            if _signature(modules[end : end + following]) != look:
                break
            end, more = end + following, more + 1
        yield modules[at], more
        if more:
            yield from _folded(modules[at + 1 : at + size])
            at = end
        else:
            at += 1


def _size(modules: list[ModuleInfo], at: int) -> int:
    """Returns how many modules the subtree of a module has."""
    return next(
        (n for n, info in enumerate(modules[at + 1 :], 1) if info.depth <= modules[at].depth), len(modules) - at
    )


def _signature(modules: list[ModuleInfo]) -> list[tuple[Any, ...]]:
    root = modules[0].name
    return [
        (
            info.name.removeprefix(root),
            info.kind,
            info.parameters,
            info.trainable,
            info.output,
            info.flops,
            info.training,
        )
        for info in modules
    ]
