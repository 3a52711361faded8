"""The memory of one training step as a ledger that adds up, beside what was measured."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.drawing.report import Bars, Note, Part, Table, View, amount
from clearhead.inspect.call import Batch, Loss, device_of, mean_output, untouched
from clearhead.meter.live import Live, bytes_of, storage_of
from clearhead.meter.operators import tensors_of
from clearhead.meter.scope import Scope

Optimizers = Sequence[torch.optim.Optimizer]
SAVED, GRADIENTS = "saved activations", "gradients"
SHOWN = 20  # modules in a terminal


@dataclass(frozen=True)
class Moment:
    """What the ledger says of a moment, and what there was."""

    name: str
    ledger: int
    """Bytes of the entries that are there."""
    measured: int
    """Bytes of all storages that live; on a GPU what its allocator has given out."""

    @property
    def gap(self) -> float:
        """What the ledger misses, as a share of what was measured."""
        return (self.measured - self.ledger) / self.measured if self.measured else 0.0


@dataclass(frozen=True)
class MemoryView(View):
    """See ``memory``."""

    entries: dict[str, int]
    """Bytes by entry."""
    activations: dict[str, int]
    """Saved activations by the module that saved them; ``loss`` is outside of the model."""
    moments: list[Moment]
    peak: int
    """Most bytes of tensors at once."""
    peak_at: str
    """In which phase, and in which operator."""
    at_peak: dict[str, int]
    """What they were."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return "memory of one training step"

    def parts(self) -> list[Part]:
        """See ``View``."""
        ledger = Bars(
            "ledger", {k: float(v) for k, v in self.entries.items()}, tuple(map(amount, self.entries.values()))
        )
        rows = [(one.name, amount(one.ledger), amount(one.measured), f"{one.gap:.2%}") for one in self.moments]
        moments = Table("does it add up?", ("moment", ">ledger", ">measured", ">missing"), rows)
        peak = sorted(((size, name) for name, size in self.at_peak.items() if size), reverse=True)
        top = Table("at the peak", ("what", ">bytes"), [(name, amount(size)) for size, name in peak])
        return [ledger, moments, Note(f"peak {amount(self.peak)}, {self.peak_at}"), top, self._by_module()]

    def _by_module(self) -> Table:
        total, alike, times = sum(self.activations.values()), Counter[str](), Counter[str]()
        for name, size in self.activations.items():
            pattern = re.sub(r"\.\d+(?=\.|$)", ".*", name)
            alike[pattern] += size
            times[pattern] += 1
        rows = [
            (name, str(times[name]), amount(size), f"{size / total:.1%}") for name, size in alike.most_common(SHOWN)
        ]
        if len(alike) > SHOWN:
            rest = sum(size for _, size in alike.most_common()[SHOWN:])
            rows.append((f"{len(alike) - SHOWN} more", "", amount(rest), f"{rest / total:.1%}"))
        return Table("saved activations", ("module", ">times", ">bytes", ">share"), rows)


def memory(
    model: nn.Module,
    batch: Batch,
    *,
    loss: Loss = mean_output,
    optimizers: Optimizers = (),
    ema: nn.Module | None = None,
) -> MemoryView:
    """Takes one training step, weights unchanged, and accounts for its memory.

    The watcher holds numbers, no tensors, so that a step takes what it takes unwatched. An optimizer without state gets
    one for the time of the step, which runs with rates and gradients of 0; one with state keeps it and does not run.

    Args:
        model: any module.
        batch: what ``loss`` takes, for the default what ``call`` does.
        loss: gives the scalar that is differentiated.
        optimizers: whose slots count; their rates are put back.
        ema: a copy of the weights that is kept beside them, or the averaging module around it.

    Raises:
        ModelError: the model is compiled, or has no output to differentiate.
    """
    given = tensors_of(_plain(batch))
    with ExitStack() as stack:
        stack.enter_context(untouched(model, training=True))
        has_state = any(part.state for part in optimizers)
        stack.enter_context(_at_rest(optimizers, model, keep=has_state))
        fixed: dict[str, Sequence[Tensor]] = {
            "parameters": list(model.parameters()),
            "buffers": list(model.buffers()),
            **_slots(optimizers),
            "moving average": [] if ema is None else [*ema.parameters(), *ema.buffers()],
            "batch": given,
        }
        return _step(model, batch, loss, () if has_state else optimizers, fixed)


def _step(
    model: nn.Module, batch: Batch, loss: Loss, optimizers: Optimizers, fixed: Mapping[str, Sequence[Tensor]]
) -> MemoryView:
    seen: set[int] = set()
    entries = {name: bytes_of(_unseen(tensors, seen)) for name, tensors in fixed.items() if tensors}
    live, device = Live(fixed), device_of(model)
    saved = _Saved(live, {storage_of(tensor) for tensors in fixed.values() for tensor in tensors})
    elsewhere = 0 if device.type != "cuda" else torch.cuda.memory_allocated(device) - sum(entries.values())

    def measured() -> int:
        return live.total if device.type != "cuda" else torch.cuda.memory_allocated(device) - elsewhere

    state = sum(entries.values())
    moments = [Moment("before", state, measured())]
    grown = [
        one.register_post_accumulate_grad_hook(lambda one: live.relabel(_grad(one), GRADIENTS))
        for one in _learning(model)
    ]
    try:
        with live:
            live.phase = "forward"
            with Scope(model) as scope, torch.autograd.graph.saved_tensors_hooks(saved.pack(scope), saved.unpack):
                value = loss(model, batch)
            activations = sum(saved.by_module.values())
            moments.append(Moment("after forward", state + activations + bytes_of([value]), measured()))
            live.phase = "backward"
            value.backward()
            entries[GRADIENTS] = bytes_of(_grad(one) for one in _learning(model) if one.grad is not None)
            held = state + entries[GRADIENTS] + bytes_of([value])
            moments.append(Moment("after backward", held, measured()))
            live.phase = "optimizer step"
            for part in optimizers:
                _zero(part)
                part.step()
            if optimizers:
                moments.append(Moment("after the optimizer", held, measured()))
    finally:
        for handle in grown:
            handle.remove()
    entries[SAVED] = activations
    where = f"in the {live.peak_phase}" + (f", by {live.peak_operator}" if live.peak_operator else "")
    return MemoryView(entries, dict(saved.by_module), moments, live.peak, where, live.at_peak)


class _Saved:
    """Bytes that autograd keeps for the way back, by module, each storage once."""

    def __init__(self, live: Live, known: set[int]) -> None:
        self.by_module: Counter[str] = Counter()
        self._live, self._known = live, known

    def pack(self, scope: Scope) -> Any:
        """Returns the hook that sees each saved tensor."""

        def pack(tensor: Tensor) -> Tensor:
            if tensor.layout == torch.strided and storage_of(tensor) not in self._known:
                self._known.add(storage_of(tensor))
                self.by_module["loss" if scope.current is None else scope.current or "model"] += bytes_of([tensor])
                self._live.relabel(tensor, SAVED)
            return tensor.detach()  # an output that its own node held would keep both alive

        return pack

    @staticmethod
    def unpack(tensor: Tensor) -> Tensor:
        """Gives back what ``pack`` kept."""
        return tensor


def _unseen(tensors: Sequence[Tensor], seen: set[int]) -> list[Tensor]:
    """Returns the tensors whose storage no entry before has, and adds them to ``seen``."""
    own = [tensor for tensor in tensors if storage_of(tensor) not in seen]
    seen.update(map(storage_of, own))
    return own


def _grad(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _learning(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _plain(batch: Batch) -> Any:
    """A dataclass as its values, which is what the loss of a run takes."""
    return list(vars(batch).values()) if hasattr(batch, "__dataclass_fields__") else batch


def _slots(optimizers: Optimizers) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = {}
    for slots in (slots for part in optimizers for slots in part.state.values()):
        for name, value in slots.items():
            if isinstance(value, Tensor):
                found.setdefault(f"optimizer {name}", []).append(value)
    return found


def _groups(optimizers: Optimizers) -> list[dict[str, Any]]:
    return [group for part in optimizers for group in part.param_groups]


def _zero(optimizer: torch.optim.Optimizer) -> None:
    for parameter in (parameter for group in _groups([optimizer]) for parameter in group["params"]):
        if parameter.grad is not None:
            parameter.grad.zero_()


@contextmanager
def _at_rest(optimizers: Optimizers, model: nn.Module, *, keep: bool) -> Iterator[None]:
    """Rates of 0, and slots where there were none, by a step on gradients of 0; everything is put back afterwards.

    Nothing moves then whatever the weights are: a decay takes 0 times a weight off, and an update is 0 times 0.
    """
    names = ("lr", "eps")
    held = [(group, {name: group[name] for name in names if name in group}) for group in _groups(optimizers)]
    try:
        for group, values in held:
            group.update({"lr": 0.0} | ({"eps": 1.0} if "eps" in values else {}))
        if not keep:
            _make_slots(optimizers)
            for parameter in model.parameters():
                parameter.grad = None
        yield
    finally:
        for group, values in held:
            group.update(values)
        for part in () if keep else optimizers:
            part.state.clear()


def _make_slots(optimizers: Optimizers) -> None:
    for parameter in (parameter for group in _groups(optimizers) for parameter in group["params"]):
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    for part in optimizers:
        part.step()
