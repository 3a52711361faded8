"""How one call of an operator finds its kernel: PyTorch's dispatcher and its keys.

An operator of our own is registered with a kernel for the CPU and one for ``meta``, the device without memory, and each
kernel says that it ran. ``clearhead.inspect.ops`` shows which kernels a feed-forward network of clearhead uses, and a
tensor that intercepts the dispatcher what is left of a call when autograd has had its turn.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Part, Table, sizes
from clearhead.inspect.dispatch import ops
from clearhead.lessons.lesson import Claims, Say
from clearhead.nn.mlp import MLP

LIMITS = {"d_model": (1, 256), "rows": (1, 256)}
RAN: list[str] = []
"""Dispatch keys of the kernels of ``twice`` that ran."""
SEEN: list[str] = []
"""Operators that a ``Watched`` tensor saw."""


def kernel(key: str, compute: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Returns a kernel that says under which key it ran."""

    def run(x: Tensor) -> Tensor:
        RAN.append(key)
        return compute(x)

    return run


@functools.cache
def twice() -> tuple[Any, torch.library.Library]:
    """Returns an operator with two kernels, and the library that keeps it registered."""
    library = torch.library.Library("clearhead_lesson", "FRAGMENT")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", kernel("CPU", lambda x: x + x), "CPU")
    library.impl("twice", kernel("Meta", torch.empty_like), "Meta")
    return torch.ops.clearhead_lesson.twice, library


class Watched(Tensor):
    """A tensor that sees each operator it is given to, below autograd, and hands it the tensor that it wraps."""

    wrapped: Tensor

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """See ``clearhead.meter.operators``, where a mode does the same for all tensors."""
        SEEN.append(str(operator).removesuffix(".default"))
        return operator(*(each.wrapped if isinstance(each, Watched) else each for each in args), **(kwargs or {}))


@dataclass(frozen=True)
class Call:
    """One call of ``twice``."""

    keys: list[str]
    """Of the kernels that ran."""
    shape: list[int]
    error: str


@dataclass(frozen=True)
class Dispatch:
    """What was measured."""

    calls: dict[str, Call]
    """By kind of tensor."""
    kernels: dict[str, str]
    """Operator of the network -> the key of its kernel; empty for ``linear``, which only calls others."""
    forward: list[str]
    """What a watched tensor saw of ``linear``."""
    backward: list[str]
    grad_fn: str
    """Of the output of that ``linear``."""


def run(*, d_model: int = 8, rows: int = 4, seed: int = 0) -> Dispatch:
    """Calls the operator on three kinds of tensors, and looks at a network and at one call of ``linear``."""
    torch.manual_seed(seed)
    x = torch.randn(rows, d_model)
    tensors = {"cpu": x, "meta": x.to("meta"), "cpu, sparse": x.to_sparse()}
    calls = {kind: call(tensor) for kind, tensor in tensors.items()}
    view = ops(MLP(d_model, 4 * d_model, activation=nn.ReLU()), x[None], repeats=1)
    every = {operator.name.removeprefix("aten::"): operator.kernel for operator in view.operators}
    own = {name: kernel for name, kernel in sorted(every.items()) if not kernel.endswith("inside others")}
    kernels = {name: "" if kernel == "calls others" else kernel for name, kernel in own.items()}
    watched, weight = x.as_subclass(Watched), torch.randn(d_model, d_model, requires_grad=True)
    watched.wrapped = x
    SEEN.clear()
    output = nn.functional.linear(watched, weight)
    forward = list(SEEN)
    output.sum().backward()
    grad_fn = "" if output.grad_fn is None else output.grad_fn.name()
    return Dispatch(calls, kernels, forward, SEEN[len(forward) :], grad_fn)


def call(x: Tensor) -> Call:
    """Calls ``twice`` and says what ran."""
    operator, _ = twice()
    RAN.clear()
    try:
        shape = list(operator(x).shape)
        return Call(list(RAN), shape, "")
    except NotImplementedError as error:
        return Call(list(RAN), [], str(error).partition(". ")[0])


def check(measured: Dispatch) -> Claims:
    """Returns whether each sentence of the answer holds."""
    calls, kernels = measured.calls, measured.kernels
    return {
        "device": calls["cpu"].keys == ["CPU"] and calls["meta"].keys == ["Meta"],
        "meta": calls["meta"].shape == calls["cpu"].shape != [],
        "missing": calls["cpu, sparse"].keys == [] and "'SparseCPU' backend" in calls["cpu, sparse"].error,
        "composite": kernels.get("linear") == "" and kernels.get("addmm") == "CPU",
        "views": kernels.get("t") == "any device" and kernels.get("relu") == "CPU",
        "autograd": measured.forward == ["aten.mm"] and measured.grad_fn.startswith("MmBackward"),
        "backward": measured.backward == ["aten.mm"],
    }


def facts(measured: Dispatch) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    calls, seen = measured.calls, ", ".join(measured.forward)
    guess = ", ".join(calls["meta"].keys)
    return {"guess": guess, "error": calls["cpu, sparse"].error, "seen": seen, "grad_fn": measured.grad_fn}


def show(measured: Dispatch, say: Say) -> list[Part]:
    """Returns tables of the calls, of the network's operators, and of what the tensor saw."""
    calls = [
        (kind, *(of.keys or [say("none")]), sizes(of.shape) if of.shape else "") for kind, of in measured.calls.items()
    ]
    kernels = [(name, kernel or say("calls")) for name, kernel in measured.kernels.items()]
    seen = [(say("forward"), ", ".join(measured.forward)), (say("backward"), ", ".join(measured.backward))]
    return [
        Table(say("twice"), (say("tensor"), say("kernel"), say("result")), calls),
        Table(say("network"), (say("operator"), say("kernel")), kernels),
        Table(say("watched"), (say("when"), say("operator")), seen),
    ]
