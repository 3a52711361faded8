"""The operators of one forward or step: calls, kernels, times, and how near they come to the machine's limits."""

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from clearhead.arguments import checked
from clearhead.drawing.report import Note, Part, Table, View, amount
from clearhead.inspect.call import Batch, Loss, call, device_of, untouched
from clearhead.messages import Prose
from clearhead.meter.flops import FlopCount
from clearhead.meter.limits import Limits, measure_limits
from clearhead.meter.operators import OperatorMode, tensors_of
from clearhead.meter.torch_names import private, private_in

ATEN = torch.ops.aten
GATHERS = frozenset((ATEN.embedding, ATEN.index_select, ATEN.index, ATEN.gather))  # read only what they write
PURPOSE = "operators cannot be listed"
SHOWN = 20  # operators in a terminal


@dataclass(frozen=True)
class Operator:
    """All calls of one operator."""

    name: str
    calls: int
    seconds: float
    """Of all calls, without operators called inside; on a GPU those of its kernels."""
    share: float
    """Share of the seconds of all operators."""
    device: str
    kernel: str
    """Dispatch key of the kernel that ran, on a GPU its kernels too. An operator without one ``calls others``; one that
    the dispatcher did not show ran ``inside others``, whose kernels call it."""
    flops: int
    bytes: int
    """Of its tensors, each read or written once; 0 for a view."""
    of_limit: float | None
    """Achieved share of the limit in ``bound``; None if the operator has neither FLOPs nor bytes."""
    bound: str
    """``compute`` or ``memory``: the limit that it came closer to."""


@dataclass(frozen=True)
class OpsView(View):
    """Calls, times and limits of every operator of one forward or training step."""

    operators: list[Operator]
    """The longest first."""
    what: str
    seconds: float
    """Of all operators together, in one run."""
    wall: float
    """Of one run without a watcher, Python and waiting included."""
    limits: Limits

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"operators of one {self.what}"

    def parts(self) -> list[Part]:
        """See ``View``."""
        rows = [
            (
                operator.name.removeprefix("aten::"),
                f"{operator.calls:,}",
                f"{1e3 * operator.seconds:.3f}",
                f"{operator.share:.1%}",
                Prose(operator.kernel),
                amount(operator.flops, "FLOP") if operator.flops else "",
                _nearness(operator),
            )
            for operator in self.operators[:SHOWN]
        ]
        columns = ("operator", ">calls", ">ms", ">share", "kernel", ">work", ">of the limit")
        parts: list[Part] = [Table(self.title, columns, rows)]
        if len(self.operators) > SHOWN:
            rest = sum(operator.seconds for operator in self.operators[SHOWN:])
            parts.append(Note(f"{len(self.operators) - SHOWN} more operators, {1e3 * rest:.3f} ms"))
        flops = sum(operator.flops for operator in self.operators)
        most = f"{amount(self.limits.flops, 'FLOP/s')}, {amount(self.limits.bytes, 'B/s')}"
        rate = flops / self.wall
        parts.append(
            Note(f"{1e3 * self.seconds:.3f} ms in operators; unwatched {1e3 * self.wall:.3f} ms, Python included")
        )
        parts.append(
            Note(f"{amount(rate, 'FLOP/s')}: {rate / self.limits.flops:.0%} of this machine, measured: {most}")
        )
        return parts


def _nearness(operator: Operator) -> str:
    if operator.of_limit is None:
        return ""
    share = operator.of_limit
    return Prose(f"{share:.0%} compute") if operator.bound == "compute" else Prose(f"{share:.0%} memory")


@checked
def ops(model: nn.Module, batch: Batch, *, loss: Loss | None = None, repeats: int = 3) -> OpsView:
    """Counts and times the operators of a forward, or of a training step if there is a ``loss``.

    Calls, kernels, FLOPs and bytes are counted in one run under PyTorch's dispatcher; times are measured in other runs
    under its profiler, so that the counting is not timed.

    Args:
        model: any module.
        batch: see ``call``; with ``loss``, what that takes.
        loss: gives the scalar that is differentiated; None: a forward in evaluation mode, without gradients.
        repeats: timed runs; the shortest time of each operator counts.

    Raises:
        ModelError: the model is compiled, or multiplies matrices by an operator whose FLOPs are not known.
    """
    device = device_of(model)
    counter, watch = FlopCount(), _Calls()

    def once() -> None:
        with nullcontext() if loss else torch.no_grad():
            if loss is None:
                call(model, batch)
            else:
                loss(model, batch).backward()

    with ExitStack() as stack:
        stack.enter_context(untouched(model, training=loss is not None))
        with counter, watch:
            once()
        wall = min(_seconds(once, device) for _ in range(max(repeats, 2)))
        kinds = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if device.type == "cuda" else [ProfilerActivity.CPU]
        profiles = []
        for _ in range(repeats):
            with profile(activities=kinds, acc_events=True) as profiler:
                once()
            profiles.append(profiler)
    limits = measure_limits(device)
    timed = _times(profiles, watch.seen, on_gpu=device.type == "cuda")
    return _view(timed, watch.seen, counter.by_operator, limits, wall, "step" if loss else "forward")


@dataclass
class _Seen:
    device: str
    kernel: str
    bytes: int = 0
    kernels: Counter[str] = field(default_factory=Counter)


class _Calls(OperatorMode):
    """Notes where each operator ran, by which kernel, and how many bytes its tensors have."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, _Seen] = {}

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operator(*args, **(kwargs or {}))
        outputs = tensors_of(result)
        tensors = [*tensors_of((args, kwargs)), *outputs]
        name = private(operator, "_schema", PURPOSE).name
        if name not in self.seen:
            device = tensors[0].device.type if tensors else "cpu"
            self.seen[name] = _Seen(device, _kernel(operator.name(), device))
        if operator.overloadpacket in GATHERS:
            self.seen[name].bytes += 2 * sum(tensor.numel() * tensor.element_size() for tensor in outputs)
        elif not operator.is_view:
            sizes = {id(tensor): tensor.numel() * tensor.element_size() for tensor in tensors}
            self.seen[name].bytes += sum(sizes.values())
        return result


def _kernel(operator: str, device: str) -> str:
    """Returns where PyTorch's table has an operator's kernel for a device from: CPU, CUDA, or one for any device."""
    table = private_in("torch._C", "_dispatch_dump_table", PURPOSE)(operator)
    registered = re.search(rf"^{device.upper()}: .*?Register(\w+?)_?\d*\.cpp", table, re.M)
    if registered is None:
        return Prose("its own")
    return Prose("any device") if registered[1].startswith("Composite") else registered[1]


def _unshown(name: str) -> str:
    """Returns the kernel of an operator of which the dispatcher showed no call, by its name without an overload."""
    namespace, _, short = name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), short, None)
    if packet is None:
        return ""
    operator = getattr(packet, packet.overloads()[0])
    table = private_in("torch._C", "_dispatch_dump_table", PURPOSE)(operator.name())
    if re.search(r"^CPU: .*?CompositeImplicit", table, re.M):
        return Prose("calls others")
    return Prose(f"{_kernel(operator.name(), 'cpu')}, inside others")


def _times(profiles: Sequence[Any], seen: dict[str, _Seen], *, on_gpu: bool) -> dict[str, tuple[int, float]]:
    """Returns calls and shortest seconds of each operator over all profiles; adds names of GPU kernels to ``seen``."""
    for event in profiles[0].events():
        if event.name in seen and event.kernels:
            seen[event.name].kernels.update(kernel.name for kernel in event.kernels)
    timed: dict[str, tuple[int, float]] = {}
    for averages in chain.from_iterable(profiler.key_averages() for profiler in profiles):
        if averages.device_type.name == "CPU" and (averages.key.startswith("aten::") or averages.key in seen):
            seconds = (averages.self_device_time_total if on_gpu else averages.self_cpu_time_total) / 1e6
            timed[averages.key] = averages.count, min(seconds, timed.get(averages.key, (0, seconds))[1])
    return timed


def _view(
    timed: dict[str, tuple[int, float]],
    seen: dict[str, _Seen],
    flops: Mapping[str, int],
    limits: Limits,
    wall: float,
    what: str,
) -> OpsView:
    total = sum(seconds for _, seconds in timed.values())
    operators = []
    for name, (count, seconds) in sorted(timed.items(), key=lambda item: -item[1][1]):
        known = seen[name] if name in seen else _Seen("", _unshown(name))
        shares = {
            "compute": flops.get(name, 0) / seconds / limits.flops if seconds else 0.0,
            "memory": known.bytes / seconds / limits.bytes if seconds else 0.0,
        }
        bound = max(shares, key=shares.__getitem__)
        kernels = ", ".join(kernel for kernel, _ in known.kernels.most_common(2))
        operators.append(
            Operator(
                name=name,
                calls=count,
                seconds=seconds,
                share=seconds / total if total else 0.0,
                device=known.device,
                kernel=f"{known.kernel}: {kernels}" if kernels else known.kernel,
                flops=flops.get(name, 0),
                bytes=known.bytes,
                of_limit=shares[bound] if shares[bound] else None,
                bound=bound if shares[bound] else "",
            )
        )
    return OpsView(operators, what, total, wall, limits)


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
