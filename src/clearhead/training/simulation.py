"""Training steps on tensors without content: what they would hold in memory and compute, found in seconds."""

import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from clearhead.optim.build import OptimConfig, Optimizers, build_ema, build_optimizers
from clearhead.training.arrangement import arrange, layers_of
from clearhead.training.config import MachineConfig
from clearhead.training.precision import Precision

_ATTENTION = "aten::_scaled_dot_product_flash_attention_for_cpu"


@dataclass(frozen=True)
class Simulated:
    """Bytes and products of steps; of several batches in a step, those of one."""

    parameters: int
    """Numbers, those that are not learned included."""
    parameter_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    average_bytes: int
    buffer_bytes: int
    activation_bytes: int
    """What is there at the peak besides all of the above, with that part of the gradients that is there by then."""
    peak_bytes: int
    layer_bytes: int
    """Weights of the largest layer."""
    layers_bytes: int
    """Of all layers."""
    flops: float
    """Of a batch, there and back: two for each product and sum."""


class _Ledger(TorchDispatchMode):
    """Adds up the storages that are alive, and the products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live, self.peak, self.flops = 0, 0, 0.0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage())
        if count := flop_registry.get(func._overloadpacket):
            self.flops += float(count(*args, **(kwargs or {}), out_val=out))
        elif func.name() == _ATTENTION:
            self.flops += float(sdpa_flop_count(*(one.shape for one in args[:3])))
        elif func.name() == f"{_ATTENTION}_backward":
            self.flops += float(sdpa_backward_flop_count(*(one.shape for one in args[:4])))
        return out

    def _see(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.live += self._sizes[key]
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.live -= self._sizes.pop(key)


def simulate(
    build: Callable[[], nn.Module],
    loss: Callable[[nn.Module], Tensor],
    machine: MachineConfig,
    optim: OptimConfig,
    *,
    batches: int = 1,
) -> Simulated:
    """Takes a step that has all that a run holds: an update of no gradients has made the optimizer's state before it.

    Args:
        build: makes the model.
        loss: makes a batch and computes the model's loss on it.
        machine: precision and arrangement.
        optim: the optimizer and its average.
        batches: of a step; from the second one on the gradients of the first are there.
    """
    with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True), _Ledger() as ledger:
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # torch's own deepcopy does
        model = build().train()
        parameters = ledger.live
        ema = build_ema(model, optim.ema_decay) if optim.ema_decay else None
        average = ledger.live - parameters
        arrange(model, MachineConfig(checkpoint_activations=machine.checkpoint_activations))
        optimizers = build_optimizers(model, optim, 1e-3)
        precision = Precision(machine.precision)
        learned = [one for one in model.parameters() if one.requires_grad]
        before = ledger.live
        for one in learned:
            one.grad = torch.zeros_like(one)
        optimizers.step()
        optimizers.zero_grad()
        slots = ledger.live - before
        flops = _step(model, loss, precision, optimizers, ledger, min(batches, 2))
        del ema  # which was alive meanwhile
        gradients = sum(one.numel() * one.element_size() for one in learned)
        buffers = sum(one.numel() * one.element_size() for one in model.buffers())
        layers = [sum(one.numel() * one.element_size() for one in layer.parameters()) for layer in layers_of(model)]
        return Simulated(
            parameters=sum(one.numel() for one in model.parameters()),
            parameter_bytes=parameters - buffers,
            gradient_bytes=gradients,
            optimizer_bytes=slots,
            average_bytes=average,
            buffer_bytes=buffers,
            activation_bytes=ledger.peak - parameters - average - slots,
            peak_bytes=ledger.peak,
            layer_bytes=max(layers, default=0),
            layers_bytes=sum(layers),
            flops=flops,
        )


def _step(
    model: nn.Module,
    loss: Callable[[nn.Module], Tensor],
    precision: Precision,
    optimizers: Optimizers,
    ledger: _Ledger,
    batches: int,
) -> float:
    """Takes a step, whose peak is then in ``ledger``; returns the products of a batch."""
    optimizers.zero_grad()
    ledger.peak, ledger.flops = ledger.live, 0.0
    for _ in range(batches):
        with precision.autocast():
            value = loss(model)
        value.backward()
        del value
    flops = ledger.flops / batches
    torch._foreach_mul_([one.grad for one in model.parameters() if one.grad is not None], 0.5)
    optimizers.step()
    return flops
