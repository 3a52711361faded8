"""Which module of a model is running, known from global hooks that are attached to no module."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from clearhead.drawing.report import sizes
from clearhead.meter.operators import tensors_of


def ignore(name: str, value: Any) -> None:
    """The default of what ``Scope`` calls."""


@dataclass(frozen=True)
class Visit:
    """The calls of one module."""

    calls: int
    output: str
    """Shape of what it returned last."""


class Scope:
    """Knows within its ``with`` block which module of a model is in its forward.

    The hooks are PyTorch's global ones, so that no module has a hook: our attention, which chooses its kernel by its
    hooks, computes as it does unwatched. They are gone afterwards, also after an error.

    Args:
        model: whose modules are followed.
        on_enter: called with a module's name and its positional arguments.
        on_leave: called with a module's name and what it returned.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        on_enter: Callable[[str, Any], object] = ignore,
        on_leave: Callable[[str, Any], object] = ignore,
    ) -> None:
        self._on_enter, self._on_leave = on_enter, on_leave
        self.visits: dict[str, Visit] = {}
        self._names = {module: name for name, module in model.named_modules()}
        self._stack: list[str] = []
        self._handles: list[RemovableHandle] = []

    @property
    def current(self) -> str | None:
        """Name of the innermost running module, empty for the model itself; None outside of it."""
        return self._stack[-1] if self._stack else None

    @property
    def active(self) -> set[str]:
        """Names of all running modules."""
        return set(self._stack)

    @property
    def outer(self) -> str | None:
        """Name of the module around the current one, None if there is none."""
        return self._stack[-2] if len(self._stack) > 1 else None

    def __enter__(self) -> "Scope":
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._stack.clear()

    def _enter(self, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():  # a branch of torch.cond is traced before it runs
            return
        name = self._names.get(module)
        if name is not None:
            self._stack.append(name)
            self._on_enter(name, args)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        name = self._names.get(module)
        if name is None or not self._stack:
            return
        self._stack.pop()
        calls = self.visits[name].calls if name in self.visits else 0
        self.visits[name] = Visit(calls + 1, shape_of(output))
        self._on_leave(name, output)


def shape_of(output: Any) -> str:
    """Returns the shapes of all tensors in a value."""
    return ", ".join(sizes(tensor.shape) for tensor in tensors_of(output))
