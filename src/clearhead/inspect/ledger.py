"""The memory of one training step as a ledger of entries, whose sum is compared with what was measured."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.arguments import checked
from clearhead.drawing.report import Bars, Note, Part, Table, View, amount
from clearhead.inspect.call import Batch, Loss, device_of, mean_output, untouched
from clearhead.messages import Prose
from clearhead.meter.live import Live, bytes_of, storage_of
from clearhead.meter.operators import tensors_of
from clearhead.meter.scope import Scope

Optimizers = Sequence[torch.optim.Optimizer]
SAVED, GRADIENTS = "saved activations", "gradients"
SHOWN = 20  # modules in a terminal


@dataclass(frozen=True)
class Moment:
    """The sum of the ledger at a moment of the step, and the memory that was measured."""

    name: str
    ledger: int
    """Bytes of the entries that exist at this moment."""
    measured: int
    """Bytes of all live storages; on a GPU those that its allocator has given out."""

    @property
    def gap(self) -> float:
        """Share of the measured bytes that the ledger misses."""
        return (self.measured - self.ledger) / self.measured if self.measured else 0.0


@dataclass(frozen=True)
class MemoryView(View):
    """The memory of one training step: entries, moments and peak."""

    entries: dict[str, int]
    """Bytes by entry."""
    activations: dict[str, int]
    """Saved activations by the module that saved them; ``loss`` is outside of the model."""
    moments: list[Moment]
    peak: int
    """Most bytes of tensors at once."""
    peak_at: str
    """Phase and operator of the peak."""
    at_peak: dict[str, int]
    """Bytes at the peak, by label."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return "memory of one training step"

    def parts(self) -> list[Part]:
        """See ``View``."""
        entries: dict[str, float] = {_word(name): float(size) for name, size in self.entries.items()}
        ledger = Bars("ledger", entries, tuple(map(amount, self.entries.values())))
        rows = [
            (Prose(moment.name), amount(moment.ledger), amount(moment.measured), f"{moment.gap:.2%}")
            for moment in self.moments
        ]
        moments = Table("does it add up?", ("moment", ">ledger", ">measured", ">missing"), rows)
        peak = sorted(((size, name) for name, size in self.at_peak.items() if size), reverse=True)
        top = Table("at the peak", ("what", ">bytes"), [(_word(name), amount(size)) for size, name in peak])
        return [ledger, moments, Note(f"peak {amount(self.peak)}, {self.peak_at}"), top, self._by_module()]

    def _by_module(self) -> Table:
        total, alike, times = sum(self.activations.values()), Counter[str](), Counter[str]()
        for name, size in self.activations.items():
            pattern = re.sub(r"\.\d+(?=\.|$)", ".*", name)
            alike[pattern] += size
            times[pattern] += 1
        rows = [
            (Prose(name) if name == "loss" else name, str(times[name]), amount(size), f"{size / total:.1%}")
            for name, size in alike.most_common(SHOWN)
        ]
        if len(alike) > SHOWN:
            rest = sum(size for _, size in alike.most_common()[SHOWN:])
            rows.append((Prose(f"{len(alike) - SHOWN:,} more"), "", amount(rest), f"{rest / total:.1%}"))
        return Table("saved activations", ("module", ">times", ">bytes", ">share"), rows)


def _word(entry: str) -> Prose:
    """Returns what an entry is called; names of an optimizer's state are PyTorch's."""
    slot = entry.removeprefix("optimizer ")
    return Prose(entry) if slot == entry else Prose(f"optimizer's {slot}")


@checked
def memory(
    model: nn.Module,
    batch: Batch,
    *,
    loss: Loss = mean_output,
    optimizers: Optimizers = (),
    ema: nn.Module | None = None,
) -> MemoryView:
    """Takes one training step, which changes no weight, and accounts for its memory.

    The watcher holds numbers, no tensors, so that the step needs as much memory as without it. An optimizer without
    state gets one for the time of the view, by a step with rates and gradients of 0; one with state does not run.

    Args:
        model: any module.
        batch: what ``loss`` takes, for the default what ``call`` does.
        loss: gives the scalar that is differentiated.
        optimizers: whose state counts; their rates are restored.
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
        parameter.register_post_accumulate_grad_hook(lambda parameter: live.relabel(_grad(parameter), GRADIENTS))
        for parameter in _learning(model)
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
            entries[GRADIENTS] = bytes_of(
                _grad(parameter) for parameter in _learning(model) if parameter.grad is not None
            )
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
    """Bytes that autograd saves for the backward pass, by module; each storage counts once."""

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
            return tensor.detach()  # a node that saves its own output would keep both alive

        return pack

    @staticmethod
    def unpack(tensor: Tensor) -> Tensor:
        """Returns what ``pack`` saved."""
        return tensor


def _unseen(tensors: Sequence[Tensor], seen: set[int]) -> list[Tensor]:
    """Returns the tensors whose storage is not in ``seen``, and adds it to ``seen``."""
    own = [tensor for tensor in tensors if storage_of(tensor) not in seen]
    seen.update(map(storage_of, own))
    return own


def _grad(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _learning(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _plain(batch: Batch) -> Any:
    """Returns the values of a batch that is a dataclass, as a run's loss takes it; else the batch."""
    return list(vars(batch).values()) if hasattr(batch, "__dataclass_fields__") else batch


def _slots(optimizers: Optimizers) -> dict[str, list[Tensor]]:
    slots_by_name: dict[str, list[Tensor]] = {}
    for slots in (slots for part in optimizers for slots in part.state.values()):
        for name, value in slots.items():
            if isinstance(value, Tensor):
                slots_by_name.setdefault(f"optimizer {name}", []).append(value)
    return slots_by_name


def _groups(optimizers: Optimizers) -> list[dict[str, Any]]:
    return [group for part in optimizers for group in part.param_groups]


def _zero(optimizer: torch.optim.Optimizer) -> None:
    for parameter in (parameter for group in _groups([optimizer]) for parameter in group["params"]):
        if parameter.grad is not None:
            parameter.grad.zero_()


@contextmanager
def _at_rest(optimizers: Optimizers, model: nn.Module, *, keep: bool) -> Iterator[None]:
    """Sets rates to 0, and makes state by a step on gradients of 0 unless it is to be kept; all is restored afterwards.

    No weight moves: weight decay subtracts 0 times the weight, and the update is 0 times 0.
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
