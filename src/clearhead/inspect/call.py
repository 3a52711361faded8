"""How views call a model, and how they restore everything that the call changed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.errors import ModelError
from clearhead.meter.operators import tensors_of
from clearhead.meter.torch_names import private

VIEWS = str(Path(__file__).resolve().parent)
"""Folder of the views, whose own lines are not shown as lines of the program."""
PURPOSE = "the model cannot be looked at"
Batch = Any
"""What ``forward`` takes: a tensor; several as a tuple or a list; by name as a mapping."""
Loss = Callable[[nn.Module, Any], Tensor]
"""(model, batch) -> the loss of one training step, a scalar."""


def own_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yields the parameters of a module by name, without those of its submodules."""
    return module.named_parameters(recurse=False, remove_duplicate=False)


def own_buffers(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yields the buffers of a module by name, without those of its submodules."""
    return module.named_buffers(recurse=False, remove_duplicate=False)


def no_progress(done: int, total: int) -> None:
    """The default of ``progress`` in views: nobody is told."""


def call(model: nn.Module, batch: Batch) -> Any:
    """Calls ``model`` with one argument, with those of a tuple or list, or with those of a mapping by name."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)


def copied(batch: Batch) -> Batch:
    """Returns a batch with copies of its tensors, which a model may write into; they have no graph behind them."""
    copies: dict[int, Tensor] = {}

    def copy(value: Any) -> Any:
        match value:
            case Tensor():
                if id(value) not in copies:  # a tensor that is there twice stays one
                    copies[id(value)] = value.detach().clone().requires_grad_(value.requires_grad)
                return copies[id(value)]
            case Mapping():
                return {name: copy(its) for name, its in value.items()}
            case tuple() if hasattr(value, "_fields"):  # a named one
                return type(value)(*map(copy, value))
            case tuple() | list():
                return type(value)(map(copy, value))
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{field.name: copy(getattr(value, field.name)) for field in fields(value)})
        return value

    return copy(batch)


def mean_output(model: nn.Module, batch: Batch) -> Tensor:
    """The default loss: the mean of all outputs of the model.

    Raises:
        ModelError: the model returns no floating-point tensor.
    """
    outputs = [output for output in tensors_of(call(model, batch)) if output.is_floating_point()]
    if not outputs:
        raise ModelError("model: returns no floating-point tensor; give the view a loss")
    return torch.stack([leaf.float().mean() for leaf in outputs]).mean()


def check_eager(model: nn.Module) -> None:
    """Checks that hooks on ``model`` will run.

    Raises:
        ModelError: the model, or a part of it, is compiled or scripted.
    """
    _check_eager(model, model.named_modules())


def _check_eager(model: nn.Module, modules: Iterable[tuple[str, nn.Module]]) -> None:
    for name, module in modules:
        compiled = (
            type(module).__name__ == "OptimizedModule" or private(module, "_compiled_call_impl", PURPOSE) is not None
        )
        if compiled or isinstance(module, torch.jit.ScriptModule):
            where = name or type(module).__name__
            raise ModelError(f"model: {where!r} is compiled, where hooks are ignored; inspect the eager model")


def device_of(model: nn.Module) -> torch.device:
    """Returns where the first parameter or buffer is; the CPU for a model without any."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


@contextmanager
def untouched(model: nn.Module, *, training: bool | None = None) -> Iterator[None]:
    """Restores gradients, buffers, modes and random numbers after the block; also after an error.

    Gradients are set aside, not copied; buffers are copied. In the block there are no gradients, and autograd is on.

    Args:
        model: eager.
        training: whether the model is in training mode in the block; None leaves its mode.

    Raises:
        ModelError: see ``check_eager``.
    """
    by_name = list(model.named_modules())  # once: a walk over a large model takes as long as a small layer
    _check_eager(model, by_name)
    modules = [module for _, module in by_name]
    parameters = {id(parameter): parameter for module in modules for _, parameter in own_parameters(module)}
    grads = [(parameter, parameter.grad) for parameter in parameters.values()]
    buffers = [
        (private(module, "_buffers", PURPOSE), name, tensor, None if tensor is None else tensor.clone())
        for module in modules
        for name, tensor in private(module, "_buffers", PURPOSE).items()
    ]
    modes = [(module, module.training) for module in modules]
    device = device_of(model)
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
            for parameter, _ in grads:
                parameter.grad = None
            if training is not None and any(mode is not training for _, mode in modes):
                model.train(training)
            yield
    finally:
        for parameter, grad in grads:
            parameter.grad = grad
        for module, mode in modes:
            if module.training is not mode:
                module.training = mode
        with torch.no_grad():
            for owner, name, tensor, before in buffers:
                owner[name] = tensor if tensor is None or before is None else tensor.copy_(before)
