"""Training steps on fake tensors, which have a shape but no content: their memory and FLOPs, within seconds."""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clearhead.meter.flops import FlopCount
from clearhead.meter.live import Live
from clearhead.meter.torch_names import private_in
from clearhead.optim.build import OptimConfig, Optimizers, build_optimizers, slots_of
from clearhead.training.arrangement import arrange, layers_of
from clearhead.training.config import MachineConfig
from clearhead.training.precision import Precision
from clearhead.training.step import scale_

PURPOSE = "a training step cannot be forecast"


@dataclass(frozen=True)
class Simulated:
    """Bytes of a training step, and FLOPs of one of its batches."""

    parameters: int
    """How many, those that are not learned included."""
    parameter_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    average_bytes: int
    buffer_bytes: int
    activation_bytes: int
    """The peak less weights, average and optimizer: activations, and the gradients that exist by then."""
    peak_bytes: int
    layer_bytes: int
    """Weights of the largest layer."""
    layers_bytes: int
    """Of all layers."""
    flops: float | None
    """Of a batch, forward and backward; a multiplication with its addition counts 2. None if not known."""
    unknown: str = ""
    """Why there is no step, only the sizes of what it works on: then no activations are in the peak."""


def simulate(
    build: Callable[[], nn.Module],
    loss: Callable[[nn.Module], Tensor],
    machine: MachineConfig,
    optim: OptimConfig,
    *,
    batches: int = 1,
) -> Simulated:
    """Takes one training step on fake tensors, which have shapes and no content, and measures what it holds.

    An update on gradients of zero comes first, so that the optimizer has its state before the step that is measured.

    Args:
        build: makes the model.
        loss: makes a batch and computes the model's loss on it.
        machine: precision and arrangement.
        optim: the optimizer and its average.
        batches: of a step; from the second one on, gradients of the first are in memory.

    Raises:
        ModelError: an operator computes products that cannot be counted (``meter.formulas``).
    """
    with (
        warnings.catch_warnings(),
        _silent(logging.getLogger("torch._subclasses.fake_tensor")),
        private_in("torch._subclasses.fake_tensor", "FakeTensorMode", PURPOSE)(allow_non_fake_inputs=True),
        FlopCount() as counter,
        Live({}) as live,  # the last one: it sees an operator whole that ``FlopCount`` takes apart
    ):
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")
        model = build().train()
        model_bytes = live.total
        ema = build() if optim.ema_decay else None  # not a copy, which crashes PyTorch for what ``torch.tensor`` makes
        average_bytes = live.total - model_bytes
        arrange(model, MachineConfig(checkpoint_activations=machine.checkpoint_activations))
        optimizers = build_optimizers(model, optim, 1e-3)
        optimizer_bytes = _make_optimizer_state(model, optimizers, live)
        flops = _step(model, loss, Precision(machine.numbers), optimizers, live, counter, min(batches, 2))
        del ema  # which was alive meanwhile
        buffer_bytes = _bytes(model.buffers())
        layers = [_bytes(layer.parameters()) for layer in layers_of(model)]
        return Simulated(
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            parameter_bytes=model_bytes - buffer_bytes,
            gradient_bytes=_bytes(_learned(model)),
            optimizer_bytes=optimizer_bytes,
            average_bytes=average_bytes,
            buffer_bytes=buffer_bytes,
            activation_bytes=live.peak - model_bytes - average_bytes - optimizer_bytes,
            peak_bytes=live.peak,
            layer_bytes=max(layers, default=0),
            layers_bytes=sum(layers),
            flops=flops,
        )


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """Keeps PyTorch from logging a traceback, whose tensors a kept log would hold, for an error raised anyway."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def without_step(model: nn.Module, optim: OptimConfig, error: Exception) -> Simulated:
    """Returns what is known of a step that cannot be simulated: the bytes of weights, gradients, optimizer and average.

    Args:
        model: with or without content.
        optim: the optimizer and its average.
        error: what ended the simulation.
    """
    weights, buffers, gradients = (_bytes(part) for part in (model.parameters(), model.buffers(), _learned(model)))
    average = weights if optim.ema_decay else 0
    optimizer = slots_of(optim.name) * gradients
    layers = [_bytes(layer.parameters()) for layer in layers_of(model)]
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return Simulated(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        parameter_bytes=weights,
        gradient_bytes=gradients,
        optimizer_bytes=optimizer,
        average_bytes=average,
        buffer_bytes=buffers,
        activation_bytes=0,
        peak_bytes=weights + buffers + gradients + optimizer + average,
        layer_bytes=max(layers, default=0),
        layers_bytes=sum(layers),
        flops=None,
        unknown=f"the forecast is without activations: the model needs tensors with content: {reason}",
    )


def _make_optimizer_state(model: nn.Module, optimizers: Optimizers, live: Live) -> int:
    """Makes the optimizer's state by an update on gradients of zero; returns its bytes."""
    before = live.total
    for parameter in _learned(model):
        parameter.grad = torch.zeros_like(parameter)
    optimizers.step()
    optimizers.zero_grad()
    return live.total - before


def _step(
    model: nn.Module,
    loss: Callable[[nn.Module], Tensor],
    precision: Precision,
    optimizers: Optimizers,
    live: Live,
    counter: FlopCount,
    batches: int,
) -> float:
    """Takes a step, whose peak is then in ``live``; returns the FLOPs of a batch."""
    optimizers.zero_grad()
    live.restart_peak()
    before = counter.total
    for _ in range(batches):
        with precision.autocast():
            value = loss(model)
        value.backward()
        del value
    flops = (counter.total - before) / batches
    scale_([parameter.grad for parameter in model.parameters() if parameter.grad is not None], 0.5)
    optimizers.step()
    return flops


def _learned(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Returns the bytes of the elements of all tensors."""
    return sum(tensor.nbytes for tensor in tensors)
