"""Tensor layout during one forward: which operators make views of memory, and which copy it."""

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from clearhead.arguments import checked
from clearhead.drawing.report import Note, Part, Table, View, amount, sizes
from clearhead.inspect.call import VIEWS, Batch, call, untouched
from clearhead.messages import Prose
from clearhead.meter.live import storage_of
from clearhead.meter.operators import OperatorMode, tensors_of
from clearhead.meter.scope import Scope
from clearhead.meter.source import caller

# operators that copy numbers and compute nothing; views are known by their schema
MOVES = frozenset(
    "clone copy_ _to_copy cat stack repeat repeat_interleave index_select constant_pad_nd _reshape_copy flip roll "
    "contiguous fill_diagonal_".split()
)
UNSAFE_VIEW = "_unsafe_view"  # a view that its schema does not call one
SHOWN = 40  # rows in a terminal


@dataclass(frozen=True)
class LayoutStep:
    """One operator that changes how a tensor lies in memory."""

    module: str
    line: str
    """Of the program."""
    function: str
    """Function that the program called."""
    operator: str
    """Operator that PyTorch ran for it."""
    before: str
    """Shape and stride of its first tensor."""
    shape: list[int]
    stride: list[int]
    contiguous: bool
    same_storage: bool
    copied: int
    """Bytes written to other memory; 0 for a view."""


@dataclass(frozen=True)
class LayoutView(View):
    """Views and copies of one forward."""

    steps: list[LayoutStep]
    views: int
    copies: int
    copied: int
    """Bytes."""
    kept: int
    """Steps that are in ``steps``."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return "layout of one forward"

    def parts(self) -> list[Part]:
        """See ``View``."""
        copied, times = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
        for step in self.steps:
            what = step.function if step.function in step.operator else f"{step.function}: {step.operator}"
            lies = f"{step.before} -> {_lies(step.shape, step.stride)}"
            key = (what, step.line, lies, _kind(step))
            copied[key] += step.copied
            times[key] += 1
        order = sorted(times, key=lambda key: -copied[key])
        rows = [(*key, str(times[key]), amount(copied[key]) if copied[key] else "") for key in order[:SHOWN]]
        table = Table("views and copies", ("what", "line", "shape (stride)", "", ">times", ">copied"), rows)
        said = f"{self.views:,} views, {self.copies:,} copies, {amount(self.copied)} copied in one forward"
        notes: list[Part] = [Note(said)]
        if len(order) > SHOWN:
            notes.append(Note(f"{len(order) - SHOWN} more kinds, all of them in --json"))
        if self.kept < self.views + self.copies:
            notes.append(Note(f"{self.views + self.copies:,} steps were counted, the first {self.kept:,} are listed"))
        return [table, *notes]


MOST = 20_000  # steps that are listed; more are only counted


@checked
def layout(model: nn.Module, batch: Batch) -> LayoutView:
    """Watches how tensors lie in memory during one forward, without gradients.

    Args:
        model: any module; it runs in evaluation mode.
        batch: see ``call``.

    Raises:
        ModelError: the model is compiled.
    """
    with ExitStack() as stack:
        stack.enter_context(untouched(model, training=False))
        stack.enter_context(torch.no_grad())
        functions = stack.enter_context(_Functions())
        watch = stack.enter_context(_Layout(stack.enter_context(Scope(model)), functions))
        call(model, batch)
    return LayoutView(watch.steps, watch.views, watch.copies, watch.copied, len(watch.steps))


class _Functions(TorchFunctionMode):
    """Knows which function the program called last."""

    def __init__(self) -> None:
        super().__init__()
        self.current = ""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outer, self.current = self.current, (resolve_name(function) or str(function)).rpartition(".")[2]
        try:
            return function(*args, **(kwargs or {}))
        finally:
            self.current = outer


class _Layout(OperatorMode):
    def __init__(self, scope: Scope, functions: _Functions) -> None:
        super().__init__()
        self.steps: list[LayoutStep] = []
        self.views = self.copies = self.copied = 0
        self._scope, self._functions = scope, functions

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operator(*args, **(kwargs or {}))
        name = operator.overloadpacket.__name__
        inputs = tensors_of((args, kwargs))
        if inputs and name != "detach" and (operator.is_view or name in MOVES or name == UNSAFE_VIEW):
            for out in tensors_of(result):
                self._note(name, inputs, out)
        return result

    def _note(self, name: str, inputs: list[Tensor], out: Tensor) -> None:
        same = any(storage_of(tensor) == storage_of(out) for tensor in inputs)
        copied = 0 if same and name != "copy_" else out.numel() * out.element_size()
        self.views, self.copies, self.copied = (
            self.views + (not copied),
            self.copies + bool(copied),
            self.copied + copied,
        )
        if len(self.steps) < MOST:
            first = inputs[1] if name == "copy_" and len(inputs) > 1 else inputs[0]
            self.steps.append(
                LayoutStep(
                    module=self._scope.current or "",
                    line=caller(VIEWS),
                    function=self._functions.current or name,
                    operator=name,
                    before=_lies(list(first.shape), list(first.stride())),
                    shape=list(out.shape),
                    stride=list(out.stride()),
                    contiguous=out.is_contiguous(),
                    same_storage=same,
                    copied=copied,
                )
            )


def _kind(step: LayoutStep) -> Prose:
    return Prose("copy") if step.copied else Prose("view") if step.same_storage else Prose("new")


def _lies(shape: list[int], stride: list[int]) -> str:
    return f"{sizes(shape)} ({','.join(map(str, stride))})"
