"""Half precision: autocast, the loss scale that keeps small float16 gradients from vanishing, and what ``auto`` is."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.amp.grad_scaler import GradScaler

PrecisionName = Literal["float32", "bfloat16", "float16"]
LEAST_WORK = 1e9
"""Parameters times positions of a batch, below which ``auto`` is float32 without a measurement: what surrounds the
products takes longer there than they do."""
GAIN = 1.1
"""How many times as fast bfloat16 has to be for ``auto`` to choose it."""
ROUNDS, PATIENCE = 4, 4.0
"""How often ``auto`` measures each precision, at most, and the seconds after which it goes by what it has measured."""
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Precision:
    """The type of a step's matrix products; weights, norms, losses and gradients of weights stay float32.

    float16 ends at 65,504 and has nothing below 6e-8, where many gradients are. So the loss is multiplied by a scale,
    which grows as long as no gradient overflows and is halved when one does (Micikevicius et al. 2018,
    arXiv:1710.03740). bfloat16 has float32's range and needs no scale.

    Args:
        name: float32, bfloat16 or float16.
        device: kind of device: cpu, cuda, mps.
    """

    def __init__(self, name: PrecisionName = "float32", device: str = "cpu") -> None:
        self.name, self.device = name, device
        self.scaler = GradScaler(device, enabled=name == "float16")

    @property
    def kind(self) -> torch.dtype:
        """The type of the products, as torch's."""
        return _TYPES[self.name]

    def autocast(self) -> torch.autocast:
        """Returns the context in which a step computes its forward pass and loss."""
        return torch.autocast(self.device, _TYPES[self.name], enabled=self.name != "float32")

    def state(self) -> dict[str, Any]:
        """Returns the loss scale and the count that decides when it grows; empty without a loss scale."""
        return self.scaler.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Restores the result of ``state``; an empty one leaves the loss scale at its initial value."""
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state)


@dataclass(frozen=True)
class Decision:
    """The precision that ``auto`` stands for in a run."""

    name: PrecisionName
    device: str
    """Kind of device."""
    seconds: tuple[float, float] | None = None
    """What the measurement took in bfloat16 and in float32; None without one."""
    what: Literal["gradient", "product"] = "gradient"
    """That is what was measured."""
    able: bool = True
    """Whether the device has instructions for bfloat16."""

    def lines(self) -> list[str]:
        """Returns the decision, with its reason, as text."""
        if not self.able:
            return [f"precision: float32; this {self.device} has no instructions for bfloat16"]
        if self.seconds is None:
            return ["precision: float32; the batches are too small to gain by bfloat16"]
        half, single = self.seconds
        what = "a gradient" if self.what == "gradient" else "a product"
        return [f"precision: {self.name}; {what} takes {half:.3g} s in bfloat16, {single:.3g} s in float32"]


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16; without them they are slow."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    return any(bool(has) for name, has in torch.cpu.get_capabilities().items() if "bf16" in name)


def decide(
    device: torch.device,
    work: float,
    compute: Callable[[Precision], object],
    what: Literal["gradient", "product"] = "gradient",
) -> Decision:
    """Decides what ``auto`` is: bfloat16 where the device has it and ``compute`` is faster in it, else float32.

    Args:
        device: that trains.
        work: parameters times positions of a batch.
        compute: what is measured, in turns in both precisions; the fastest time of each counts. On a CPU it is computed
            by one thread, whose own time does not depend on what else the machine does.
        what: what that is.
    """
    if not has_bfloat16(device):
        return Decision("float32", device.type, able=False)
    if work < LEAST_WORK:
        return Decision("float32", device.type)
    single = half = float("inf")
    begun, rounds = time.perf_counter(), 0
    while rounds < ROUNDS and (not rounds or time.perf_counter() - begun < PATIENCE):
        single = min(single, _seconds(compute, "float32", device))
        half = min(half, _seconds(compute, "bfloat16", device))
        rounds += 1
    return Decision("bfloat16" if single > GAIN * half else "float32", device.type, (half, single), what)


def multiply(precision: Precision, *, size: int, device: torch.device) -> None:
    """Multiplies square matrices as a step in ``precision`` does, casts included."""
    factor = torch.ones(size, size, device=device)
    with precision.autocast():
        for _ in range(10):
            factor.clone() @ factor


def _seconds(compute: Callable[[Precision], object], name: PrecisionName, device: torch.device) -> float:
    """Returns the seconds that ``compute`` takes: on a CPU those of one thread, whoever else had its core meanwhile."""
    precision = Precision(name, device.type)
    if device.type == "cuda":
        started = time.perf_counter()
        compute(precision)
        torch.cuda.synchronize(device)
        return time.perf_counter() - started
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        started = time.thread_time()
        compute(precision)
        return time.thread_time() - started
    finally:
        torch.set_num_threads(threads)
