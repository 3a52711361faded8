"""Forecasts the memory, FLOPs and time of a recipe on one device or several, before anything is trained."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.config import Tree, shown
from clearhead.errors import ClearheadError, UsageError
from clearhead.tasks.room import by_depth, grown, in_units
from clearhead.training.config import MachineConfig, TrainConfig
from clearhead.training.device import KEPT_SHARE, can_keep, free_memory, memory_limit, pick_device, resident
from clearhead.training.distributed import ranks
from clearhead.training.job import GradientJob, Recipe
from clearhead.training.simulation import Simulated, simulate, without_step
from clearhead.verbs.example import Example, example_of, example_of_job

MOST_LAYERS = 48  # of a stack, and positions of a batch, up to which the step itself is taken: some seconds
MOST_POSITIONS = 2**17
MOST_MEMORY = 2**60
"""Bytes of a device, far beyond any."""


@dataclass(frozen=True)
class Devices:
    """The devices that a run is planned for."""

    count: int = 1
    memory: int | None = None
    """Bytes of memory of each device; None if not known."""
    rate: float | None = None
    """FLOP/s that each device reaches; None if not known."""
    bandwidth: float = 25e9
    """Bytes per second between two devices."""
    kept: float = 0.0
    """Fragmentation of the CPU's heap, as a share of the activations; a GPU's allocator has almost none."""
    copied: bool = False
    """Whether a copy of the checkpoint, which is written in the background, is in this memory too."""


@dataclass(frozen=True)
class Plan:
    """The forecast of a run: memory of each device, FLOPs, time and communication."""

    recipe: str
    parameters: int
    devices: int
    parallel: str
    rows: int
    """Rows of the largest batch, over all devices."""
    width: int
    """Positions of a row."""
    tokens_per_step: int
    """Positions, over all devices and batches of a step."""
    memory: dict[str, int]
    """Bytes on one device by use; ``peak`` is less than their sum, as activations are freed while gradients appear."""
    flops_per_step: float | None
    """FLOPs of a step, over all devices; None if not known."""
    seconds_per_step: float | None
    """Time of the FLOPs alone, at the rate of ``Devices``; None without a rate."""
    communication_bytes_per_step: float
    """Bytes that one device sends."""
    communication_seconds_per_step: float
    """Time of the communication if none of it overlaps with computation; in practice much does."""
    available: int | None
    """Bytes of memory of a device; None if not known."""
    process: int | None
    """Peak memory of the whole process, with its libraries and text; None if not known."""
    fits: bool | None
    advice: list[str]
    unknown: str = ""
    """Why activations and FLOPs are not known, so that ``memory`` is without them; empty if they are."""

    def lines(self) -> list[str]:
        """The same as text."""
        memory = _named(self.memory)
        lines = [
            f"{self.recipe}: {self.parameters:,} parameters; a batch of {self.rows:,} rows x {self.width:,}, "
            f"{self.tokens_per_step:,} positions a step",
            f"{self.devices} devices ({self.parallel}), each: {memory}" if self.devices > 1 else f"1 device: {memory}",
        ]
        if self.flops_per_step is not None:
            seconds = f", {self.seconds_per_step:,.3f} s of products" if self.seconds_per_step is not None else ""
            lines.append(f"a step: {self.flops_per_step / 1e12:,.3f} TFLOP in all{seconds}")
        if self.devices > 1:
            lines.append(
                f"between devices: each sends {in_units(int(self.communication_bytes_per_step))} a step, "
                f"{self.communication_seconds_per_step:,.3f} s where nothing else goes on meanwhile"
            )
        if self.fits is not None:
            lines.append("fits" if self.fits else "does not fit")
        return lines + self.advice + ([self.unknown] if self.unknown else [])

    def memory_lines(self) -> list[str]:
        """Returns a line on the memory of a process, and a second one with advice if it does not fit."""
        free = f"; {in_units(self.available)} for it" if self.available is not None else ""
        lines = [f"memory forecast: {_named(self.memory)} (batches of {self.rows:,} rows x {self.width:,}){free}"]
        if self.process is not None:
            lines[0] += f"; the process {in_units(self.process)}, with PyTorch and the text"
        if self.fits is False:
            lines.append(f"warning: memory: that does not fit; {' or '.join(self.advice)}")
        return lines + ([self.unknown] if self.unknown else [])


def plan(tree: Tree, source: str, devices: Devices, *, vocab_size: int | None = None) -> Plan:
    """Forecasts a recipe without its text, for the widest rows and the largest vocabulary that it allows.

    Args:
        tree: the recipe.
        source: what to call it in errors.
        devices: the devices to run on.
        vocab_size: size of the vocabulary; None takes ``tokenizer.vocab_size``.

    Raises:
        UsageError: the recipe is wrong, or its task or model cannot be forecast.
    """
    recipe, example = example_of(tree, source, vocab_size)
    planned = plan_of(recipe, example, devices, name=str(tree.get("name", source)))
    limit = memory_limit(pick_device("auto")) if devices.memory is None else None
    if limit is None or planned.memory["peak"] <= limit:
        return planned
    return replace(planned, advice=[*planned.advice, f"this machine has {in_units(limit)} of memory: it has no room"])


def plan_of(recipe: Recipe, example: Example, devices: Devices, *, name: str) -> Plan:
    """Forecasts a run of ``recipe`` on full batches.

    Args:
        recipe: the recipe, for its optimizer and its training settings.
        example: builds the model and a batch for the simulation.
        devices: the devices to run on.
        name: name of the recipe.
    """
    train = recipe.train
    rows = max(train.batch_tokens // example.width, 1)
    local_rows = max(math.ceil(rows / devices.count), 1)
    simulated = _simulated(recipe, example, local_rows)
    memory = _on_each(simulated, devices, train)
    flops = None if simulated.flops is None else simulated.flops / local_rows * rows * train.grad_accum_steps
    sent = _sent(simulated, devices.count, train)
    fits = None if devices.memory is None else memory["peak"] <= devices.memory
    fits = None if fits and simulated.unknown else fits
    advice = [] if rows >= devices.count else [
        f"a batch has {rows} rows for {devices.count} devices, the rest idles: raise train.batch_tokens to "
        f"{devices.count * example.width} at least"
    ]  # fmt: skip
    if fits is False:
        advice += _advice(recipe, example, devices, local_rows, memory)
    return Plan(
        recipe=name,
        parameters=simulated.parameters,
        devices=devices.count,
        parallel=train.parallel,
        rows=rows,
        width=example.width,
        tokens_per_step=rows * example.width * train.grad_accum_steps,
        memory=memory,
        flops_per_step=flops,
        seconds_per_step=flops / min(devices.count, rows) / devices.rate
        if flops is not None and devices.rate
        else None,
        communication_bytes_per_step=sent,
        communication_seconds_per_step=sent / devices.bandwidth,
        available=devices.memory,
        process=None,
        fits=fits,
        advice=advice,
        unknown=simulated.unknown,
    )


def forecast(job: GradientJob[Any, Any]) -> Plan | None:
    """Forecasts the memory of a prepared run's process, and compares it with the memory of its device.

    Available are the device's free memory and what the run holds already: weights and, if resumed, the optimizer's
    state. All batches are assumed full, with rows as wide as the widest. Draws no random numbers. On a CPU it also
    counts the memory that the heap keeps (see ``keep_freed_memory``), the copy of a checkpoint, and the memory that the
    process has now.

    Returns:
        The forecast; None for a recurrent model.
    """
    example, recipe = example_of_job(job), job.recipe
    if example is None:
        return None
    models = [job.state.model, *([] if job.state.ema is None else [job.state.ema.module])]
    world, free = ranks().world, free_memory(job.device)
    tensors = [tensor for model in models for tensor in model.state_dict().values()]
    held = sum(tensor.nbytes for tensor in [*tensors, *job.state.optimizers.state_tensors().values()])
    held //= world if recipe.train.parallel == "fsdp" else 1
    on_cpu, now = job.device.type == "cpu", resident()
    if on_cpu:
        free, now = free and free + job.kept, now and now - job.kept
    kept = KEPT_SHARE if on_cpu and can_keep() else 0.0
    devices = Devices(world, None if free is None else free + held, kept=kept, copied=on_cpu)
    planned = plan_of(recipe, example, devices, name=recipe.name)
    return replace(planned, process=now - held + planned.memory["peak"]) if now is not None and on_cpu else planned


def _simulated(recipe: Recipe, example: Example, rows: int, **changes: Any) -> Simulated:
    """Takes a step without content; of a very deep model, or a very large batch, steps of two smaller ones instead."""
    most = max(MOST_POSITIONS // example.width, 1)

    def measure(rows: int) -> Simulated:
        return by_depth(lambda shallow: _step(shallow, example, rows, **changes), recipe, most=MOST_LAYERS)

    if rows <= 2 * most:
        return measure(rows)
    fewer, more = measure(most), measure(2 * most)
    return grown(more, fewer, more, (rows - 2 * most) / most)


def _step(recipe: Recipe, example: Example, rows: int, **changes: Any) -> Simulated:
    machine = replace(recipe.train, **changes)

    def loss(model: nn.Module) -> Tensor:
        return example.loss(model, rows)

    try:
        return simulate(partial(example.build, recipe), loss, machine, recipe.optim, batches=machine.grad_accum_steps)
    except Exception as error:  # of a part that needs content, such as somebody's own norm: training can go on
        if example.model is None and isinstance(error, ClearheadError):
            raise
        return without_step(_model_of(recipe, example), recipe.optim, error)


def _model_of(recipe: Recipe, example: Example) -> nn.Module:
    """Returns the model in training, or one without content.

    Raises:
        UsageError: it cannot be built so.
    """
    if example.model is not None:
        return example.model
    try:
        with torch.device("meta"):
            return example.build(recipe)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"the model cannot be forecast: it needs tensors with content: {reason}") from error


def _on_each(simulated: Simulated, devices: Devices, train: MachineConfig) -> dict[str, int]:
    """Returns the memory of one device by use; layers that FSDP gathers for a while count as activations."""
    states = {
        "parameters": simulated.parameter_bytes,
        "gradients": simulated.gradient_bytes,
        "optimizer": simulated.optimizer_bytes,
        "average": simulated.average_bytes,
    }
    activations, peak, count = simulated.activation_bytes, simulated.peak_bytes, devices.count
    if count > 1 and train.parallel == "fsdp":
        # whole, with their gradients: two layers, one in use and one on its way, and what is around the layers
        gathered = 2 * (
            int(2 * _share(train) * simulated.layer_bytes) + simulated.parameter_bytes - simulated.layers_bytes
        )
        parts = {name: math.ceil(value / count) for name, value in states.items()}
        activations += gathered - min(simulated.gradient_bytes, activations)  # whole gradients do not pile up
        peak = sum(parts.values()) + activations
        states = parts
    copied = (
        simulated.parameter_bytes + simulated.optimizer_bytes + simulated.average_bytes
    )  # whole, in the first process
    more = {"kept_by_the_heap": int(devices.kept * activations), "checkpoint_copy": copied if devices.copied else 0}
    more = {name: size for name, size in more.items() if size}
    return {**states, "activations": activations, **more, "peak": peak + sum(more.values())}


def _share(train: MachineConfig) -> float:
    """What FSDP gathers of a layer, over its bytes in float32; the norms, which stay so, are next to nothing."""
    return 1.0 if train.numbers == "float32" else 0.5


def _sent(simulated: Simulated, count: int, train: TrainConfig) -> float:
    """Returns the bytes a device sends in a step; in a ring, a gather or a reduce-scatter sends (n - 1) / n of all."""
    if count == 1:
        return 0.0
    part = (count - 1) / count
    if train.parallel == "ddp":
        return 2 * part * simulated.gradient_bytes
    gathered = simulated.parameter_bytes - (1 - _share(train)) * simulated.layers_bytes
    return part * (2 * train.grad_accum_steps * gathered + simulated.gradient_bytes)


def _advice(recipe: Recipe, example: Example, devices: Devices, rows: int, memory: Mapping[str, int]) -> list[str]:
    """Returns changes of the recipe each of which alone would make the run fit, now that it takes ``memory``."""
    assert devices.memory is not None
    advice, train = [], recipe.train
    for key, value in (("checkpoint_activations", True), ("precision", "bfloat16"), ("parallel", "fsdp")):
        if getattr(train, key) == value or (key == "parallel" and devices.count == 1):
            continue
        changed = _simulated(recipe, example, rows, **({} if key == "parallel" else {key: value}))
        changes: dict[str, Any] = {key: value}
        peak = _on_each(changed, devices, replace(train, **changes))["peak"]
        if peak <= devices.memory:
            shown = str(value).lower() if isinstance(value, bool) else value
            advice.append(f"--set train.{key}={shown}: {in_units(peak)}, fits")
    spare = devices.memory - memory["peak"] + memory["activations"] + memory.get("kept_by_the_heap", 0)
    # into half as many as should do, at first
    parts = 2 ** max(math.ceil(math.log2(max(memory["activations"], 1) / max(spare, 1))) - 1, 1)
    while rows // parts and spare > 0:
        changed = _simulated(recipe, example, rows // parts, grad_accum_steps=train.grad_accum_steps * parts)
        peak = _on_each(changed, devices, train)["peak"]
        if peak <= devices.memory:
            tokens, steps = train.batch_tokens // parts, train.grad_accum_steps * parts
            advice.append(
                f"--set train.batch_tokens={tokens} --set train.grad_accum_steps={steps}: {in_units(peak)}, fits, "
                "the same step"
            )
            break
        parts *= 2
    return advice or ["nothing of train.* makes it fit: a smaller model, or more devices with train.parallel = 'fsdp'"]


def _named(memory: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {in_units(value)}" for name, value in memory.items() if value)


def memory_size(text: str) -> int:
    """Reads ``24GB``, ``80GiB`` or ``512MB`` as bytes; raises UsageError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(i?)B?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"--memory {shown(text)}: expected a size such as 24GB or 80GiB")
    number, unit, binary = match.groups()
    size = float(number) * (1024 if binary else 1000) ** ("KMGT".index(unit.upper()) + 1)
    if not 1 <= size <= MOST_MEMORY:
        raise UsageError(f"--memory {shown(text)}: must be from 1 byte to {in_units(MOST_MEMORY)}")
    return int(size)
